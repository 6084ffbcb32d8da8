//! MP3 through LAME: for everything that plays sound at all.

use std::io::{self, Write};

use mp3lame_encoder::{Bitrate, Builder, Encoder, FlushGap, MonoPcm, Quality};

use crate::audio::Audio;

/// Samples that are handed to LAME at once: some seconds.
const PIECE: usize = 100_000;

/// Writes `audio` as MP3, mono, 64 kbit/s at its own rate (or at the nearest that MP3 has).
///
/// # Errors
/// When `out` cannot be written, or LAME refuses the sample rate.
pub fn write(audio: &Audio, mut out: impl Write) -> io::Result<()> {
    let mut encoder = encoder(audio.sample_rate, true)?;
    let mut bytes = Vec::new();
    encode(&mut encoder, &audio.samples, &mut bytes)?;
    flush(&mut encoder, &mut bytes)?;
    write_tag(&encoder, &mut bytes);
    out.write_all(&bytes)
}

/// The same, piece by piece, without the frame that tells the length, which nobody knows yet.
pub struct Stream(Encoder);

impl Stream {
    /// For sound with so many samples per second.
    ///
    /// # Errors
    /// When LAME refuses the sample rate.
    pub fn new(sample_rate: u32) -> io::Result<Self> {
        Ok(Self(encoder(sample_rate, false)?))
    }

    /// Takes the next samples and appends what they yield to `out`.
    ///
    /// # Errors
    /// When LAME fails.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<u8>) -> io::Result<()> {
        encode(&mut self.0, samples, out)
    }

    /// Appends what is still held back.
    ///
    /// # Errors
    /// When LAME fails.
    pub fn finish(mut self, out: &mut Vec<u8>) -> io::Result<()> {
        flush(&mut self.0, out)
    }
}

fn encoder(sample_rate: u32, with_tag: bool) -> io::Result<Encoder> {
    let builder = Builder::new().ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let build = |builder: Builder| {
        builder
            .with_num_channels(1)?
            .with_sample_rate(sample_rate)?
            .with_brate(Bitrate::Kbps64)?
            .with_quality(Quality::NearBest)?
            .with_to_write_vbr_tag(with_tag)?
            .build()
    };
    build(builder).map_err(io::Error::other)
}

fn encode(encoder: &mut Encoder, samples: &[f32], bytes: &mut Vec<u8>) -> io::Result<()> {
    for piece in samples.chunks(PIECE) {
        bytes.reserve(mp3lame_encoder::max_required_buffer_size(piece.len()));
        encoder.encode_to_vec(MonoPcm(piece), bytes).map_err(io::Error::other)?;
    }
    Ok(())
}

fn flush(encoder: &mut Encoder, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.reserve(mp3lame_encoder::max_required_buffer_size(0));
    encoder.flush_to_vec::<FlushGap>(bytes).map_err(io::Error::other)?;
    Ok(())
}

/// Puts the length, and what the encoder added at both ends, into the frame that LAME
/// has left empty for it at the start. Players need it to seek and to cut the padding.
fn write_tag(encoder: &Encoder, bytes: &mut [u8]) {
    let mut tag = Vec::with_capacity(encoder.lame_tag_size());
    if encoder.lame_tag_encode_to_vec(&mut tag).is_some()
        && let Some(place) = bytes.get_mut(..tag.len())
    {
        place.copy_from_slice(&tag);
    }
}
