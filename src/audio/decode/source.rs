//! One recording being read: container, decoder, and how much of it was good.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_OPUS, CODEC_ID_VORBIS};
use symphonia::core::codecs::audio::{
    AudioCodecParameters, AudioDecoder, AudioDecoderOptions, CODEC_ID_NULL_AUDIO,
};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::well_known::{
    FORMAT_ID_AIFF, FORMAT_ID_CAF, FORMAT_ID_FLAC, FORMAT_ID_ISOMP4, FORMAT_ID_WAVE,
};
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;

use super::{AudioInfo, DecodeError, sniff, vorbis};
use crate::audio::resample::{RATES, ResampleError};

/// Symphonia's decoders and, because it has none of its own, libopus.
static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs.register_audio_decoder::<symphonia_adapter_libopus::OpusDecoder>();
    codecs
});

/// Packets in a row that may yield nothing before the file is given up. Encoders
/// emit a few empty ones; only a broken or hostile file emits thousands.
const MAX_BARREN_PACKETS: usize = 256;

/// Samples of all channels that a decoder may keep room for. Decoders of plain samples make
/// as much room as the header says a packet can hold, which may be gigabytes; real packets
/// hold half a million at most (FLAC, 8 channels).
const MAX_PACKET_SAMPLES: u64 = 1 << 22;

/// Bytes in one packet. Demuxers read as much as the header says and the file has; real
/// packets have two million at most.
const MAX_PACKET_BYTES: usize = 1 << 22;

/// How far a recording may stay behind the length its header promises: encoders
/// count their padding in and out.
const PROMISE_TOLERANCE_MS: u64 = 500;

/// One recording being read.
pub struct Source {
    path: PathBuf,
    reader: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track_id: u32,
    info: AudioInfo,
    /// All channels of one packet.
    interleaved: Vec<f32>,
    good_packets: usize,
    bad_packets: usize,
    decoded_ms: f64,
    has_samples: bool,
}

impl Source {
    /// Recognises the file and prepares its decoder.
    pub fn open(path: &Path) -> Result<Self, DecodeError> {
        let io = |error| DecodeError::io(path, error);
        let mut file = File::open(path).map_err(io)?;
        let mut head = Vec::with_capacity(sniff::HEAD);
        file.by_ref().take(sniff::HEAD as u64).read_to_end(&mut head).map_err(io)?;
        file.rewind().map_err(io)?;
        if let Some(found) = sniff::not_audio(&head) {
            return Err(DecodeError::NotAudio { found });
        }

        let stream = MediaSourceStream::new(Box::new(file), MediaSourceStreamOptions::default());
        let reader = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| match error {
                Error::Unsupported(detail) => unrecognised(&head, detail),
                other => failure(path, &other),
            })?;
        let (track, decoder) = decoder_for(reader.as_ref())?;
        let info = AudioInfo {
            container: reader.format_info().short_name,
            codec: decoder.codec_info().short_name,
            duration_ms: duration_ms(track),
        };
        let track_id = track.id;
        Ok(Self {
            path: path.to_owned(),
            reader,
            decoder,
            track_id,
            info,
            interleaved: Vec::new(),
            good_packets: 0,
            bad_packets: 0,
            decoded_ms: 0.0,
            has_samples: false,
        })
    }

    /// What the header told.
    pub fn info(&self) -> AudioInfo {
        self.info.clone()
    }

    /// Fills `mono` with the next samples, all channels averaged, and returns their
    /// rate; `None` at the end.
    pub fn next_block(&mut self, mono: &mut Vec<f32>) -> Result<Option<u32>, DecodeError> {
        let mut barren = 0;
        while barren < MAX_BARREN_PACKETS {
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(None),
                // The file ends within a packet. Whether that matters is for
                // `check_end` to say.
                Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Ok(None);
                }
                Err(Error::ResetRequired) => {
                    barren += 1;
                    let (track, decoder) = decoder_for(self.reader.as_ref())?;
                    self.track_id = track.id;
                    self.decoder = decoder;
                    continue;
                }
                Err(error) => return Err(failure(&self.path, &error)),
            };
            if packet.track_id != self.track_id {
                // The pictures of a film.
                continue;
            }
            if packet.data.len() > MAX_PACKET_BYTES {
                return Err(DecodeError::damaged("one of its parts is impossibly large"));
            }
            barren += 1;
            match self.decoder.decode(&packet) {
                Ok(buffer) => {
                    self.good_packets += 1;
                    let (rate, channels) = (buffer.spec().rate(), buffer.num_planes());
                    if buffer.frames() == 0 || channels == 0 {
                        continue;
                    }
                    if !RATES.contains(&rate) {
                        return Err(ResampleError::Rate(rate).into());
                    }
                    buffer.copy_to_vec_interleaved(&mut self.interleaved);
                    mix(&self.interleaved, channels, mono);
                    self.decoded_ms += mono.len() as f64 * 1000.0 / f64::from(rate);
                    self.has_samples = true;
                    return Ok(Some(rate));
                }
                // One packet is lost; the next may be good.
                Err(Error::DecodeError(detail)) => {
                    tracing::debug!(detail, "a packet of the recording cannot be decoded");
                    self.bad_packets += 1;
                }
                Err(Error::IoError(_)) => self.bad_packets += 1,
                Err(error) => return Err(failure(&self.path, &error)),
            }
        }
        Err(DecodeError::damaged("a long stretch of it holds no sound that can be decoded"))
    }

    /// Judges what was decoded until now.
    ///
    /// # Errors
    /// When it held no sound, or when most of it could not be decoded.
    pub fn check_so_far(&self) -> Result<(), DecodeError> {
        if self.bad_packets > self.good_packets {
            return Err(DecodeError::damaged("most of it cannot be decoded"));
        }
        if !self.has_samples {
            return Err(DecodeError::NoSound { detail: "it is a recording of no length" });
        }
        Ok(())
    }

    /// Judges the recording after its last packet.
    ///
    /// # Errors
    /// As [`Source::check_so_far`], and when the recording ended before the length
    /// that its header promises.
    pub fn check_end(&self) -> Result<(), DecodeError> {
        self.check_so_far()?;
        let decoded_ms = self.decoded_ms as u64;
        match self.promised_ms() {
            Some(promised) if decoded_ms.saturating_add(PROMISE_TOLERANCE_MS) < promised => {
                Err(DecodeError::damaged(format!(
                    "it ends after {:.1} of the {:.1} seconds that its header promises",
                    self.decoded_ms / 1000.0,
                    promised as f64 / 1000.0,
                )))
            }
            _ => Ok(()),
        }
    }

    /// The length in the header, where the container means it as a promise. MP3
    /// files only estimate it; Ogg and WebM are made to be cut anywhere.
    fn promised_ms(&self) -> Option<u64> {
        let promising =
            [FORMAT_ID_WAVE, FORMAT_ID_AIFF, FORMAT_ID_CAF, FORMAT_ID_FLAC, FORMAT_ID_ISOMP4];
        let format = self.reader.format_info().format;
        self.info.duration_ms.filter(|_| promising.contains(&format))
    }
}

/// The first track of sound that can be decoded, and its decoder.
fn decoder_for(reader: &dyn FormatReader) -> Result<(&Track, Box<dyn AudioDecoder>), DecodeError> {
    let Some(track) = reader.default_track(TrackType::Audio) else {
        let detail = match reader.tracks() {
            [] => "it is a container without content",
            tracks if tracks.iter().any(|track| track.track_type() == Some(TrackType::Video)) => {
                "it is a video without a sound track"
            }
            _ => "none of its tracks is sound of a known kind",
        };
        return Err(DecodeError::NoSound { detail });
    };
    let Some(CodecParameters::Audio(params)) = &track.codec_params else {
        return Err(DecodeError::NoSound { detail: "none of its tracks is sound of a known kind" });
    };
    let params = corrected(params);
    let channels = params.channels.as_ref().map_or(1, |channels| channels.count() as u64);
    let frames = params.max_frames_per_packet.unwrap_or(0);
    let header = params.extra_data.as_deref().unwrap_or_default();
    if frames.saturating_mul(channels) > MAX_PACKET_SAMPLES
        || (params.codec == CODEC_ID_VORBIS && vorbis::asks_too_much(header))
    {
        return Err(DecodeError::damaged("its header holds impossible values"));
    }
    let decoder =
        CODECS.make_audio_decoder(&params, &AudioDecoderOptions::default()).map_err(|error| {
            let what = if params.codec == CODEC_ID_NULL_AUDIO {
                "a codec that is not known".to_owned()
            } else {
                CODECS.get_audio_decoder(params.codec).map_or_else(
                    || "a codec without a decoder here".to_owned(),
                    |known| format!("an unusual form of {} ({error})", known.codec.info.long_name),
                )
            };
            DecodeError::Unsupported { what }
        })?;
    Ok((track, decoder))
}

/// Opus always decodes at 48 kHz. The rate in the container is that of the
/// original (Ogg) or whatever the recorder thought fit (WebM), and libopus would
/// refuse most of them.
///
/// MP4 stores the numbers of the Opus header the other way round ("Encapsulation of Opus in
/// ISO Base Media File Format", section 4.3.2) and calls its version 0. Symphonia 0.6.1 hands
/// them on as they are, and the decoder would leave out 15 samples instead of 3840.
fn corrected(params: &AudioCodecParameters) -> AudioCodecParameters {
    let mut params = params.clone();
    if params.codec == CODEC_ID_OPUS {
        params.with_sample_rate(48_000);
        if let Some(header) = params.extra_data.as_deref_mut()
            && header.starts_with(b"OpusHead\0")
            && let Some(samples_to_skip) = header.get_mut(10..12)
        {
            samples_to_skip.reverse();
        }
    }
    params
}

fn duration_ms(track: &Track) -> Option<u64> {
    let time = track.time_base?.calc_duration(track.duration?)?;
    u64::try_from(time.as_millis()).ok().filter(|&ms| ms > 0)
}

/// Averages the channels of `interleaved` into `mono`. What is no number becomes
/// silence, and float files that exceed full scale are clipped to it.
fn mix(interleaved: &[f32], channels: usize, mono: &mut Vec<f32>) {
    let scale = 1.0 / channels as f32;
    mono.clear();
    mono.extend(interleaved.chunks_exact(channels).map(|frame| {
        let mean = frame.iter().sum::<f32>() * scale;
        if mean.is_nan() { 0.0 } else { mean.clamp(-1.0, 1.0) }
    }));
}

/// A file in which no demuxer found what it needs.
fn unrecognised(head: &[u8], detail: &str) -> DecodeError {
    let Some(container) = sniff::container(head) else {
        return DecodeError::NotAudio { found: sniff::unknown(head) };
    };
    tracing::debug!(container, detail, "the container cannot be read");
    DecodeError::damaged(format!(
        "its {container} header is incomplete, or of a kind that cannot be read"
    ))
}

/// A demuxer's or decoder's fatal error in our terms. What the library says is for
/// its developers and goes to the log.
fn failure(path: &Path, error: &Error) -> DecodeError {
    tracing::debug!(%error, "the recording cannot be decoded");
    match error {
        Error::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            DecodeError::damaged("it ends before any sound")
        }
        Error::IoError(error) => {
            DecodeError::io(path, std::io::Error::new(error.kind(), error.to_string()))
        }
        Error::Unsupported(what) => DecodeError::Unsupported { what: (*what).to_owned() },
        _ => DecodeError::damaged("its parts do not fit together"),
    }
}
