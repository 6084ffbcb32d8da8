//! Recordings in, mono sound at 16 kHz out.
//!
//! Called by `stage` (to transcribe) and by `web` and `cli` ([`probe`], before a
//! job is queued). What a file is follows from its contents; its name is not
//! asked. Nothing is allocated because a header says so, and what a header says
//! of length is a claim that the decoded sound must bear out.

mod error;
mod sniff;
mod source;
mod vorbis;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

pub use error::{ACCEPTED_FORMATS, DecodeError};

use super::resample::{ResampleError, Resampler};
use super::{Audio, SPEECH_RATE};
use source::Source;

/// Blocks that [`probe`] decodes before it believes that a file is a recording.
const PROBED_BLOCKS: usize = 4;

/// How much [`decode`] may be made to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Longest recording that is decoded, in seconds.
    pub max_audio_s: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_audio_s: 3600 }
    }
}

/// What a recording is, as far as its beginning tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioInfo {
    /// Short name of the container, such as `wave`, `ogg`, `matroska`.
    pub container: &'static str,
    /// Short name of the codec, such as `pcm_s16le`, `opus`, `aac`.
    pub codec: &'static str,
    /// Length by the header's word, which may be wrong. Recordings made in a
    /// browser carry none.
    pub duration_ms: Option<u64>,
}

/// Checks that `path` is a recording and that its beginning can be decoded.
///
/// Takes milliseconds, however long the recording.
///
/// # Errors
/// As [`decode`], for what shows at the beginning of the file.
pub fn probe(path: &Path) -> Result<AudioInfo, DecodeError> {
    guarded(|| {
        let mut source = Source::open(path)?;
        let mut block = Vec::new();
        for _ in 0..PROBED_BLOCKS {
            if source.next_block(&mut block)?.is_none() {
                source.check_end()?;
                return Ok(source.info());
            }
        }
        source.check_so_far()?;
        Ok(source.info())
    })
}

/// Decodes the recording at `path` to mono sound at [`SPEECH_RATE`].
///
/// Channels are averaged. Memory grows with the length of the sound at 16 kHz,
/// four bytes a sample, and not with the size of the file.
///
/// # Errors
/// Every [`DecodeError`]; its message is a sentence for whoever sent the file. A
/// recording cut short is [`DecodeError::Damaged`] where its header says how long
/// it should be; in formats made to be cut (Ogg, WebM, MP3) what is there counts.
pub fn decode(path: &Path, limits: &DecodeLimits) -> Result<Audio, DecodeError> {
    decode_while(path, limits, &|| true)
}

/// As [`decode`], for as long as `wanted` answers yes: an hour of MP3 takes seconds.
///
/// # Errors
/// As [`decode`], and [`DecodeError::Unwanted`] once `wanted` answered no.
pub fn decode_while(
    path: &Path,
    limits: &DecodeLimits,
    wanted: &dyn Fn() -> bool,
) -> Result<Audio, DecodeError> {
    guarded(|| decode_unguarded(path, SPEECH_RATE, *limits, wanted))
}

/// As [`decode`], at another rate: for sound that is to be listened to.
///
/// # Errors
/// As [`decode`].
pub fn decode_to(
    path: &Path,
    sample_rate: u32,
    limits: &DecodeLimits,
) -> Result<Audio, DecodeError> {
    guarded(|| decode_unguarded(path, sample_rate, *limits, &|| true))
}

fn decode_unguarded(
    path: &Path,
    sample_rate: u32,
    limits: DecodeLimits,
    wanted: &dyn Fn() -> bool,
) -> Result<Audio, DecodeError> {
    let max_samples = limits.max_audio_s.saturating_mul(u64::from(sample_rate));
    let mut source = Source::open(path)?;
    let mut samples = Vec::new();
    let mut block = Vec::new();
    let mut resampler: Option<Resampler> = None;
    while let Some(rate) = source.next_block(&mut block)? {
        if !wanted() {
            return Err(DecodeError::Unwanted);
        }
        let mut current = match resampler.take() {
            Some(same) if same.from_rate() == rate => same,
            // Chained Ogg streams may change their rate on the way.
            other => {
                if let Some(ended) = other {
                    ended.finish(&mut samples)?;
                }
                Resampler::new(rate, sample_rate)?
            }
        };
        current.push(&block, &mut samples)?;
        resampler = Some(current);
        if samples.len() as u64 > max_samples {
            return Err(DecodeError::TooLong { max_audio_s: limits.max_audio_s });
        }
    }
    if let Some(ended) = resampler {
        ended.finish(&mut samples)?;
    }
    source.check_end()?;
    Ok(Audio { sample_rate, samples })
}

/// Turns a panic of a demuxer into an error, so that no upload can end a worker.
///
/// Symphonia 0.6.1 multiplies numbers of a WAV header without a check
/// (`read_pcm_fmt`: channels times bytes a sample), which panics in builds that
/// check for overflow. Nothing that `work` touched is used after a panic.
fn guarded<T>(work: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(DecodeError::damaged("its header holds impossible values")))
}

impl From<ResampleError> for DecodeError {
    fn from(error: ResampleError) -> Self {
        match error {
            ResampleError::Rate(_) => Self::Unsupported { what: error.to_string() },
            ResampleError::Library(detail) => Self::Damaged { detail },
        }
    }
}
