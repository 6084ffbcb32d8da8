//! Sound in and out: recording, decoding, resampling, encoding, playing.
//!
//! Called by `engine`, `stage` and `cli`. Knows nothing of models or jobs.

pub mod capture;
pub mod decode;
pub mod encode;
pub mod join;
pub mod loudness;
pub mod playback;
#[cfg(feature = "sound-device")]
mod quiet_alsa;
pub mod resample;
pub mod speech;
pub mod waveform;

pub use decode::{AudioInfo, DecodeError, DecodeLimits, decode, decode_to, decode_while, probe};
pub use encode::{
    Compression, EncodedStream, PCM_RATE, StreamForm, read_wav, wav_bytes, write_wav,
};

/// Samples per second of all sound that speech recognition gets.
pub const SPEECH_RATE: u32 = 16_000;

/// Mono sound in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Audio {
    /// Samples per second.
    pub sample_rate: u32,
    /// Mono, nominally within -1 to 1.
    pub samples: Vec<f32>,
}

impl Audio {
    /// Length in milliseconds, rounded down.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        if self.sample_rate == 0 {
            return 0;
        }
        self.samples.len() as u64 * 1000 / u64::from(self.sample_rate)
    }
}
