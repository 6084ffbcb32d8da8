//! Any recording a person is likely to have, to mono at 16 kHz.
//!
//! Demuxing and decoding are symphonia's, Opus is libopus's. Sound is resampled as it
//! is decoded, so memory does not grow with the file beyond the samples themselves, and
//! nothing is allocated on a header's word.

use std::fs::File;
use std::path::Path;
use std::sync::LazyLock;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::resample::{ResampleError, Resampler};
use super::{Audio, SPEECH_RATE};

/// Formats that are read, for messages.
pub const ACCEPTED: &str = "WAV, MP3, FLAC, Ogg, WebM, M4A, AIFF and CAF";

/// Rates that microphones and files have; beyond them a header is taken to lie.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// More damaged packets in a row than this, and the rest of the file is given up.
const MOST_DAMAGED: usize = 64;

/// How much of a recording is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Longest recording, in seconds.
    pub max_audio_s: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_audio_s: 3600 }
    }
}

/// What a file says it is, and could really be decoded as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioInfo {
    /// Short name of the container, such as `matroska`.
    pub container: String,
    /// Short name of the codec, such as `opus`.
    pub codec: String,
    /// Length, where the container tells.
    pub duration_ms: Option<u64>,
}

/// Why a recording cannot be used; each says what was found and what would do.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file is none of the formats that are read.
    #[error("This file is not a recording that can be read. Accepted are {ACCEPTED}.")]
    NotAudio,
    /// The container is known, what is in it is not.
    #[error("This file holds {what}, which cannot be decoded. Accepted are {ACCEPTED}.")]
    Unsupported {
        /// What was found.
        what: String,
    },
    /// There is no sound in the file.
    #[error("This file holds no sound ({container}).")]
    NoSound {
        /// What was found.
        container: String,
    },
    /// The recording is longer than allowed.
    #[error("This recording is longer than {max_audio_s} seconds, the most that is taken.")]
    TooLong {
        /// The limit.
        max_audio_s: u64,
    },
    /// The file begins well and then breaks.
    #[error("This {container} file is damaged: {why}.")]
    Damaged {
        /// What was found.
        container: String,
        /// What the decoder said.
        why: String,
    },
    /// The system could not read the file.
    #[error("The recording could not be read.")]
    Io(#[source] std::io::Error),
}

/// Symphonia's codecs and libopus.
static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs.register_audio_decoder::<symphonia_adapter_libopus::OpusDecoder>();
    codecs
});

/// Reads a whole recording as mono at [`SPEECH_RATE`].
///
/// # Errors
/// When the file is no recording, is damaged at its beginning, or is too long.
pub fn decode(path: &Path, limits: &DecodeLimits) -> Result<Audio, DecodeError> {
    let mut source = Source::open(path)?;
    let most = limits.max_audio_s as usize * SPEECH_RATE as usize;
    let mut sound: Option<(u32, Resampler)> = None;
    let mut mono = Vec::new();
    while let Some(rate) = source.next(&mut mono)? {
        let resampler = match &mut sound {
            Some((known, resampler)) if *known == rate => resampler,
            Some(_) => return Err(source.damaged("its sample rate changes")),
            None => {
                let resampler = Resampler::new(rate, SPEECH_RATE)
                    .map_err(|error: ResampleError| source.damaged(error))?;
                &mut sound.insert((rate, resampler)).1
            }
        };
        resampler.push(&mono).map_err(|error| source.damaged(error))?;
        if resampler.len() > most {
            return Err(DecodeError::TooLong { max_audio_s: limits.max_audio_s });
        }
    }
    let Some((_, resampler)) = sound else { return Err(source.nothing()) };
    let audio = resampler.finish().map_err(|error| source.damaged(error))?;
    if audio.samples.is_empty() {
        return Err(source.nothing());
    }
    Ok(audio)
}

/// Looks at a file before it is accepted: decodes its first sound, reads no further.
///
/// # Errors
/// As [`decode`], for what can be seen at the beginning.
pub fn probe(path: &Path) -> Result<AudioInfo, DecodeError> {
    let mut source = Source::open(path)?;
    let mut mono = Vec::new();
    loop {
        match source.next(&mut mono)? {
            Some(_) if mono.is_empty() => {}
            Some(_) => return Ok(source.info()),
            None => return Err(source.nothing()),
        }
    }
}

/// The first audio track of a file, packet by packet.
struct Source {
    reader: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    duration_ms: Option<u64>,
    damaged: usize,
    /// The first thing that was wrong with a packet.
    complaint: Option<String>,
}

impl Source {
    fn open(path: &Path) -> Result<Self, DecodeError> {
        let file = File::open(path).map_err(DecodeError::Io)?;
        let stream = MediaSourceStream::new(Box::new(file), Default::default());
        // No hint: the content decides, since names and media types are often wrong.
        let reader = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| match error {
                Error::IoError(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
                    DecodeError::Io(error)
                }
                _ => DecodeError::NotAudio,
            })?;
        let container = reader.format_info().short_name.to_owned();
        let track = reader
            .default_track(TrackType::Audio)
            .or_else(|| reader.first_track(TrackType::Audio))
            .ok_or_else(|| DecodeError::NoSound { container: container.clone() })?;
        let params = track
            .codec_params
            .as_ref()
            .and_then(|params| params.audio())
            .ok_or_else(|| DecodeError::NoSound { container: container.clone() })?;
        let duration_ms = track
            .time_base
            .zip(track.duration)
            .and_then(|(base, duration)| base.calc_duration(duration))
            .and_then(|time| u64::try_from(time.as_millis()).ok());
        let decoder =
            CODECS.make_audio_decoder(params, &AudioDecoderOptions::default()).map_err(|error| {
                DecodeError::Unsupported { what: format!("sound in {container} ({error})") }
            })?;
        let track = track.id;
        Ok(Self { reader, decoder, track, duration_ms, damaged: 0, complaint: None })
    }

    /// Decodes the next packet into `mono` and returns its sample rate; `None` at the end.
    fn next(&mut self, mono: &mut Vec<f32>) -> Result<Option<u32>, DecodeError> {
        loop {
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(None),
                // A recording that breaks off is used as far as it goes.
                Err(error) => {
                    self.complaint.get_or_insert(error.to_string());
                    return Ok(None);
                }
            };
            if packet.track_id != self.track {
                continue;
            }
            match self.decoder.decode(&packet) {
                Ok(buffer) => {
                    let rate = mix(&buffer, mono);
                    self.damaged = 0;
                    if !RATES.contains(&rate) {
                        return Err(
                            self.damaged(format!("it claims {rate} samples per second"))
                        );
                    }
                    return Ok(Some(rate));
                }
                Err(error) => {
                    self.complaint.get_or_insert(error.to_string());
                    self.damaged += 1;
                    if self.damaged > MOST_DAMAGED {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn info(&self) -> AudioInfo {
        AudioInfo {
            container: self.container(),
            codec: self.decoder.codec_info().short_name.to_owned(),
            duration_ms: self.duration_ms,
        }
    }

    fn container(&self) -> String {
        self.reader.format_info().short_name.to_owned()
    }

    fn damaged(&self, why: impl ToString) -> DecodeError {
        DecodeError::Damaged { container: self.container(), why: why.to_string() }
    }

    /// Why no sound came out.
    fn nothing(&self) -> DecodeError {
        match &self.complaint {
            Some(why) => self.damaged(why),
            None => DecodeError::NoSound { container: self.container() },
        }
    }
}

/// Averages the channels of `buffer` into `mono` and returns the sample rate.
fn mix(buffer: &GenericAudioBufferRef<'_>, mono: &mut Vec<f32>) -> u32 {
    let channels = buffer.num_planes().max(1);
    let mut interleaved = vec![0.0_f32; buffer.samples_interleaved()];
    buffer.copy_to_slice_interleaved(&mut interleaved);
    mono.clear();
    mono.extend(interleaved.chunks_exact(channels).map(|frame| {
        let sum: f32 = frame.iter().sum();
        // A float file may hold anything; what is not a number is silence.
        if sum.is_finite() { sum / channels as f32 } else { 0.0 }
    }));
    buffer.spec().rate()
}
