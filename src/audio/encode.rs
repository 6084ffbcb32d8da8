//! Sound as 16-bit PCM WAV, the form in which speech is stored, and in the two smaller
//! forms in which it is offered.
//!
//! Called by `jobs`, `web` and `cli`. [`read_wav`] reads what [`write_wav`] wrote,
//! at its own rate; recordings of other origin go through [`super::decode`].

mod mp3;
mod opus;
mod stream;

use std::io::{self, BufWriter, Cursor, Seek, Write};
use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

pub use stream::{EncodedStream, PCM_RATE, StreamForm};

use super::Audio;

/// Samples that are written together.
const AT_ONCE: usize = 16_384;

/// A form that is smaller than WAV and loses a little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// MPEG-1 or MPEG-2 layer III.
    Mp3,
    /// Opus in an Ogg container.
    Opus,
}

impl Compression {
    /// Media type of the result.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Opus => "audio/ogg",
        }
    }

    /// Ending of a file of this form, without a dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Opus => "opus",
        }
    }

    /// Writes `audio` to `out` in this form.
    ///
    /// # Errors
    /// When `out` cannot be written, or the sample rate is one that the form has no place for.
    pub fn write(self, audio: &Audio, out: impl Write) -> io::Result<()> {
        match self {
            Self::Mp3 => mp3::write(audio, out),
            Self::Opus => opus::write(audio, out),
        }
    }
}

/// Writes `audio` to `path` as mono 16-bit WAV. Samples beyond ±1 are clipped.
///
/// # Errors
/// When the file cannot be created or written.
pub fn write_wav(path: &Path, audio: &Audio) -> io::Result<()> {
    let file = std::fs::File::create(path)?;
    write(audio, BufWriter::new(file)).map_err(into_io)
}

/// `audio` as a mono 16-bit WAV file in memory. Samples beyond ±1 are clipped.
#[must_use]
pub fn wav_bytes(audio: &Audio) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(44 + 2 * audio.samples.len());
    write(audio, Cursor::new(&mut bytes)).expect("writing to memory cannot fail");
    bytes
}

/// Reads a 16-bit WAV file, mixing its channels to mono and keeping its rate.
///
/// # Errors
/// When the file cannot be read, or is no 16-bit WAV file (`InvalidData`).
pub fn read_wav(path: &Path) -> io::Result<Audio> {
    let mut reader = WavReader::open(path).map_err(into_io)?;
    let WavSpec { channels, sample_rate, bits_per_sample, sample_format } = reader.spec();
    if bits_per_sample != 16 || sample_format != SampleFormat::Int {
        let found = format!("a WAV file of {bits_per_sample} bits a sample, not of 16");
        return Err(io::Error::new(io::ErrorKind::InvalidData, found));
    }
    let interleaved = reader.samples::<i16>().collect::<Result<Vec<_>, _>>().map_err(into_io)?;
    let samples = interleaved
        .chunks_exact(usize::from(channels.max(1)))
        .map(|frame| {
            let sum: f32 = frame.iter().map(|&sample| f32::from(sample) / 32_768.0).sum();
            sum / frame.len() as f32
        })
        .collect();
    Ok(Audio { sample_rate, samples })
}

fn write(audio: &Audio, sink: impl Write + Seek) -> Result<(), hound::Error> {
    let spec = WavSpec {
        channels: 1,
        sample_rate: audio.sample_rate,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut writer = WavWriter::new(sink, spec)?;
    for samples in audio.samples.chunks(AT_ONCE) {
        // A third of the time that single samples take.
        let mut part = writer.get_i16_writer(samples.len() as u32);
        for &sample in samples {
            part.write_sample(pcm16(sample));
        }
        part.flush()?;
    }
    writer.finalize()
}

/// A sample as 16-bit PCM has it. What is no number becomes 0, which is silence.
fn pcm16(sample: f32) -> i16 {
    let level = sample.clamp(-1.0, 1.0) * 32_767.0;
    // Rounds halves away from zero as `round` does, which is a library call on baseline x86-64.
    (level + 0.5_f32.copysign(level)) as i16
}

fn into_io(error: hound::Error) -> io::Error {
    match error {
        hound::Error::IoError(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wav_file_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("speech.wav");
        let samples = (0..1000).map(|n| (n as f32 / 40.0).sin() * 0.9).collect();
        let audio = Audio { sample_rate: 22_050, samples };
        write_wav(&path, &audio).expect("written");

        let back = read_wav(&path).expect("read");

        assert_eq!(back.sample_rate, 22_050);
        assert_eq!(back.samples.len(), audio.samples.len());
        for (a, b) in back.samples.iter().zip(&audio.samples) {
            assert!((a - b).abs() < 1.0 / 16_000.0, "{a} is not {b}");
        }
        assert_eq!(std::fs::read(&path).expect("read"), wav_bytes(&audio));
    }

    #[test]
    fn samples_beyond_full_scale_are_clipped_and_do_not_wrap() {
        let audio = Audio { sample_rate: 16_000, samples: vec![1.7, -40.0, f32::NAN, 1.0] };
        let bytes = wav_bytes(&audio);
        let (_, data) = bytes.split_at(44);
        let values: Vec<i16> =
            data.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        assert_eq!(values, [32_767, -32_767, 0, 32_767]);
    }

    #[test]
    fn a_file_that_is_no_16_bit_wav_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("text.wav");
        std::fs::write(&path, "not a wave").expect("written");
        assert_eq!(read_wav(&path).map_err(|e| e.kind()), Err(io::ErrorKind::InvalidData));
    }
}
