//! Ogg Opus through libopus: small, and what messengers and browsers know.
//!
//! The headers and the counting of samples follow RFC 7845.

use std::io::{self, Write};

use ogg::{PacketWriteEndInfo, PacketWriter};
use opusic_c::{Application, Bitrate, Channels, Encoder, ErrorCode, SampleRate, Signal};

use crate::audio::Audio;
use crate::audio::resample::Resampler;

/// Opus counts time in samples of this rate, whatever is put in.
const RATE: u32 = 48_000;
/// 20 ms, the length that Opus is best at.
const FRAME: usize = 960;
/// The largest packet that 20 ms can become (RFC 6716, section 3.2.1).
const MAX_PACKET: usize = 1275;
/// Enough for speech to sound like the original.
const BITS_PER_SECOND: u32 = 40_000;
/// Frames on a page: one second, so that a player can seek to it.
const FRAMES_A_PAGE: usize = 50;
/// Names the only stream in the file.
const SERIAL: u32 = 1;

/// Writes `audio` as Ogg Opus, mono, about 40 kbit/s.
///
/// # Errors
/// When `out` cannot be written, or the sample rate lies outside
/// [`RATES`](crate::audio::resample::RATES).
pub fn write(audio: &Audio, mut out: impl Write) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut stream = Stream::new(audio.sample_rate)?;
    stream.push(&audio.samples, &mut bytes)?;
    stream.finish(&mut bytes)?;
    out.write_all(&bytes)?;
    out.flush()
}

/// The same, piece by piece.
pub struct Stream {
    encoder: Encoder,
    resampler: Resampler,
    writer: PacketWriter<'static, Vec<u8>>,
    /// Samples at [`RATE`] that are not in a packet yet: at least one frame is held back, because
    /// the last packet is marked as such.
    pending: Vec<f32>,
    /// Samples that the encoder holds back, and that the decoder drops.
    skip: usize,
    /// Frames in packets.
    frames: usize,
}

impl Stream {
    /// For sound with so many samples per second.
    ///
    /// # Errors
    /// When libopus fails or the sample rate lies outside [`RATES`](crate::audio::resample::RATES).
    pub fn new(sample_rate: u32) -> io::Result<Self> {
        let mut encoder = encoder().map_err(library)?;
        let skip = encoder.get_look_ahead().map_err(library)?;
        let mut writer = PacketWriter::new(Vec::new());
        let own_page = PacketWriteEndInfo::EndPage;
        writer.write_packet(head(skip, sample_rate), SERIAL, own_page, 0)?;
        writer.write_packet(tags(), SERIAL, own_page, 0)?;
        let resampler = Resampler::new(sample_rate, RATE).map_err(io::Error::other)?;
        let (pending, skip) = (Vec::new(), skip as usize);
        Ok(Self { encoder, resampler, writer, pending, skip, frames: 0 })
    }

    /// Takes the next samples and appends the pages that are complete to `out`.
    ///
    /// # Errors
    /// When libopus fails.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<u8>) -> io::Result<()> {
        self.resampler.push(samples, &mut self.pending).map_err(io::Error::other)?;
        let whole = self.pending.len().saturating_sub(1) / FRAME;
        let rest = self.pending.split_off(whole * FRAME);
        for frame in std::mem::replace(&mut self.pending, rest).chunks_exact(FRAME) {
            let full = (self.frames + 1).is_multiple_of(FRAMES_A_PAGE);
            let place =
                if full { PacketWriteEndInfo::EndPage } else { PacketWriteEndInfo::NormalPacket };
            self.packet(frame, place, (self.frames + 1) * FRAME)?;
        }
        out.append(self.writer.inner_mut());
        Ok(())
    }

    /// Appends what is still held back.
    ///
    /// # Errors
    /// When libopus fails.
    pub fn finish(mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let resampler = self.resampler;
        self.resampler = Resampler::new(RATE, RATE).map_err(io::Error::other)?;
        resampler.finish(&mut self.pending).map_err(io::Error::other)?;
        // The decoder drops as many samples as the encoder holds back.
        let end = self.frames * FRAME + self.pending.len() + self.skip;
        let padded = (self.pending.len() + self.skip).next_multiple_of(FRAME).max(FRAME);
        let mut pending = std::mem::take(&mut self.pending);
        pending.resize(padded, 0.0);
        let frames = self.frames + padded / FRAME;
        for frame in pending.chunks_exact(FRAME) {
            let place = match self.frames + 1 {
                last if last == frames => PacketWriteEndInfo::EndStream,
                full if full % FRAMES_A_PAGE == 0 => PacketWriteEndInfo::EndPage,
                _ => PacketWriteEndInfo::NormalPacket,
            };
            // The position on the last page says where within the last frame the sound ends.
            self.packet(frame, place, ((self.frames + 1) * FRAME).min(end))?;
        }
        out.append(self.writer.inner_mut());
        Ok(())
    }

    fn packet(
        &mut self,
        frame: &[f32],
        place: PacketWriteEndInfo,
        position: usize,
    ) -> io::Result<()> {
        let mut packet = Vec::with_capacity(MAX_PACKET);
        self.encoder.encode_float_to_vec(frame, &mut packet).map_err(library)?;
        self.writer.write_packet(packet, SERIAL, place, position as u64)?;
        self.frames += 1;
        Ok(())
    }
}

fn encoder() -> Result<Encoder, ErrorCode> {
    let mut encoder = Encoder::new(Channels::Mono, SampleRate::Hz48000, Application::Audio)?;
    encoder.set_bitrate(Bitrate::Value(BITS_PER_SECOND))?;
    encoder.set_signal(Signal::Voice)?;
    Ok(encoder)
}

/// The identification header, RFC 7845 section 5.1.
fn head(skip: u32, original_rate: u32) -> Vec<u8> {
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend_from_slice(&(skip as u16).to_le_bytes());
    head.extend_from_slice(&original_rate.to_le_bytes());
    // No gain, and the mapping of one channel.
    head.extend_from_slice(&[0, 0, 0]);
    head
}

/// The comment header, RFC 7845 section 5.2: the encoder's name and no comments.
fn tags() -> Vec<u8> {
    let vendor = opusic_c::version().as_bytes();
    let mut tags = b"OpusTags".to_vec();
    tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
    tags.extend_from_slice(vendor);
    tags.extend_from_slice(&0_u32.to_le_bytes());
    tags
}

fn library(error: ErrorCode) -> io::Error {
    io::Error::other(error.message())
}
