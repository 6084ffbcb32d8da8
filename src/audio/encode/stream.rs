//! Speech encoded while it is made, for clients that play it as it comes.

use std::io;

use super::{mp3, opus, pcm16};
use crate::audio::resample::Resampler;

/// What is streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamForm {
    /// MPEG layer III.
    Mp3,
    /// Opus in an Ogg container.
    Opus,
    /// 16-bit WAV whose header says that the length is not known.
    Wav,
    /// Bare 16-bit samples, little-endian, mono, at [`PCM_RATE`].
    Pcm,
}

/// Samples per second of [`StreamForm::Pcm`], which has no header to tell them.
pub const PCM_RATE: u32 = 24_000;

impl StreamForm {
    /// Media type of the result.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Opus => "audio/ogg",
            Self::Wav => "audio/wav",
            Self::Pcm => "audio/pcm",
        }
    }
}

/// An encoder that is given sound piece by piece.
pub struct EncodedStream(Encoder);

enum Encoder {
    Mp3(mp3::Stream),
    Opus(Box<opus::Stream>),
    /// The header, until it was given out.
    Wav(Vec<u8>),
    Pcm(Box<Resampler>),
}

impl EncodedStream {
    /// For sound with so many samples per second.
    ///
    /// # Errors
    /// When the encoder cannot be had, or has no place for that sample rate.
    pub fn new(form: StreamForm, sample_rate: u32) -> io::Result<Self> {
        Ok(Self(match form {
            StreamForm::Mp3 => Encoder::Mp3(mp3::Stream::new(sample_rate)?),
            StreamForm::Opus => Encoder::Opus(Box::new(opus::Stream::new(sample_rate)?)),
            StreamForm::Wav => Encoder::Wav(endless_wav_header(sample_rate)),
            StreamForm::Pcm => {
                let resampler = Resampler::new(sample_rate, PCM_RATE);
                Encoder::Pcm(Box::new(resampler.map_err(io::Error::other)?))
            }
        }))
    }

    /// Takes the next samples; gives the bytes that are ready.
    ///
    /// # Errors
    /// When the encoder fails.
    pub fn push(&mut self, samples: &[f32]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match &mut self.0 {
            Encoder::Mp3(stream) => stream.push(samples, &mut bytes)?,
            Encoder::Opus(stream) => stream.push(samples, &mut bytes)?,
            Encoder::Wav(header) => {
                bytes.append(header);
                append_pcm(samples, &mut bytes);
            }
            Encoder::Pcm(resampler) => {
                let mut resampled = Vec::new();
                resampler.push(samples, &mut resampled).map_err(io::Error::other)?;
                append_pcm(&resampled, &mut bytes);
            }
        }
        Ok(bytes)
    }

    /// The bytes that are left.
    ///
    /// # Errors
    /// When the encoder fails.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.0 {
            Encoder::Mp3(stream) => stream.finish(&mut bytes)?,
            Encoder::Opus(stream) => stream.finish(&mut bytes)?,
            Encoder::Wav(header) => bytes = header,
            Encoder::Pcm(resampler) => {
                let mut resampled = Vec::new();
                resampler.finish(&mut resampled).map_err(io::Error::other)?;
                append_pcm(&resampled, &mut bytes);
            }
        }
        Ok(bytes)
    }
}

fn append_pcm(samples: &[f32], bytes: &mut Vec<u8>) {
    bytes.extend(samples.iter().flat_map(|&sample| pcm16(sample).to_le_bytes()));
}

/// The header of a mono 16-bit WAV file whose lengths are the largest there are, which players
/// take for "until it ends".
fn endless_wav_header(sample_rate: u32) -> Vec<u8> {
    let mut header = Vec::with_capacity(44);
    header.extend_from_slice(b"RIFF\xff\xff\xff\xffWAVEfmt ");
    header.extend_from_slice(&16_u32.to_le_bytes());
    // Uncompressed, one channel.
    header.extend_from_slice(&1_u16.to_le_bytes());
    header.extend_from_slice(&1_u16.to_le_bytes());
    header.extend_from_slice(&sample_rate.to_le_bytes());
    header.extend_from_slice(&(2 * sample_rate).to_le_bytes());
    header.extend_from_slice(&2_u16.to_le_bytes());
    header.extend_from_slice(&16_u16.to_le_bytes());
    header.extend_from_slice(b"data\xff\xff\xff\xff");
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Audio, Compression, DecodeLimits, decode_to};

    const RATE: u32 = 22_050;

    fn tone() -> Vec<f32> {
        (0..2 * RATE).map(|n| (n as f32 * 0.1).sin() * 0.5).collect()
    }

    fn streamed(form: StreamForm, samples: &[f32]) -> Vec<u8> {
        let mut stream = EncodedStream::new(form, RATE).expect("an encoder");
        let mut bytes = stream.push(&[]).expect("nothing to encode");
        for piece in samples.chunks(5000) {
            bytes.extend(stream.push(piece).expect("encoded"));
        }
        bytes.extend(stream.finish().expect("the end"));
        bytes
    }

    #[test]
    fn what_is_streamed_can_be_decoded_and_is_as_long_as_it_was() {
        for form in [StreamForm::Mp3, StreamForm::Opus, StreamForm::Wav] {
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), streamed(form, &tone())).expect("written");
            let limits = DecodeLimits::default();
            let audio = decode_to(file.path(), RATE, &limits).expect("it can be decoded");
            // MP3 without its tag has the encoder's padding at both ends.
            let seconds = audio.samples.len() as f32 / RATE as f32;
            assert!((2.0..2.13).contains(&seconds), "{form:?}: {seconds} s");
        }
        assert_eq!(streamed(StreamForm::Pcm, &tone()).len() as u32, 2 * 2 * PCM_RATE);
    }

    #[test]
    fn opus_in_pieces_is_opus_in_one_piece() {
        let audio = Audio { sample_rate: RATE, samples: tone() };
        let mut whole = Vec::new();
        Compression::Opus.write(&audio, &mut whole).expect("written");
        assert_eq!(streamed(StreamForm::Opus, &audio.samples), whole);
    }
}
