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
pub fn write(audio: &Audio, out: impl Write) -> io::Result<()> {
    let mut encoder = encoder().map_err(library)?;
    let skip = encoder.get_look_ahead().map_err(library)?;
    // The decoder drops as many samples as the encoder holds back.
    let mut samples = resampled(audio)?;
    let end = samples.len() + skip as usize;
    samples.resize(end.next_multiple_of(FRAME).max(FRAME), 0.0);

    let mut writer = PacketWriter::new(out);
    let own_page = PacketWriteEndInfo::EndPage;
    writer.write_packet(head(skip, audio.sample_rate), SERIAL, own_page, 0)?;
    writer.write_packet(tags(), SERIAL, own_page, 0)?;
    let frames = samples.len() / FRAME;
    for (index, frame) in samples.chunks_exact(FRAME).enumerate() {
        let mut packet = Vec::with_capacity(MAX_PACKET);
        encoder.encode_float_to_vec(frame, &mut packet).map_err(library)?;
        // The position on the last page says where within the last frame the sound ends.
        let position = ((index + 1) * FRAME).min(end) as u64;
        let place = match index + 1 {
            last if last == frames => PacketWriteEndInfo::EndStream,
            full if full % FRAMES_A_PAGE == 0 => PacketWriteEndInfo::EndPage,
            _ => PacketWriteEndInfo::NormalPacket,
        };
        writer.write_packet(packet, SERIAL, place, position)?;
    }
    writer.into_inner().flush()
}

fn encoder() -> Result<Encoder, ErrorCode> {
    let mut encoder = Encoder::new(Channels::Mono, SampleRate::Hz48000, Application::Audio)?;
    encoder.set_bitrate(Bitrate::Value(BITS_PER_SECOND))?;
    encoder.set_signal(Signal::Voice)?;
    Ok(encoder)
}

fn resampled(audio: &Audio) -> io::Result<Vec<f32>> {
    let mut samples = Vec::new();
    let mut resampler = Resampler::new(audio.sample_rate, RATE).map_err(io::Error::other)?;
    resampler.push(&audio.samples, &mut samples).map_err(io::Error::other)?;
    resampler.finish(&mut samples).map_err(io::Error::other)?;
    Ok(samples)
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
