//! Any sample rate to another, in chunks, so that memory does not grow with the input.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _};

use super::Audio;

/// Input frames that are resampled at a time.
const CHUNK: usize = 1024;

/// The resampler refused its rates or its input.
#[derive(Debug, thiserror::Error)]
#[error("resampling from {from} to {to} samples per second failed: {why}")]
pub struct ResampleError {
    from: u32,
    to: u32,
    why: String,
}

/// Takes mono samples at one rate bit by bit and gives them back at another.
///
/// The delay of the filter is taken off at the start and made up at the end, so the
/// output is as long as the input to within one sample, and lies at the same time.
pub struct Resampler {
    from: u32,
    to: u32,
    /// `None` where both rates are the same.
    filter: Option<Fft<f32>>,
    pending: Vec<f32>,
    output: Vec<f32>,
    /// Output frames still to be dropped: the filter's delay.
    delay: usize,
    frames_in: u64,
}

impl Resampler {
    /// A resampler of mono samples from one rate to another, both in samples per second.
    ///
    /// # Errors
    /// When a rate is zero.
    pub fn new(from: u32, to: u32) -> Result<Self, ResampleError> {
        let filter = if from == to {
            None
        } else {
            let filter = Fft::new(from as usize, to as usize, CHUNK, 1, FixedSync::Input)
                .map_err(|error| ResampleError { from, to, why: error.to_string() })?;
            Some(filter)
        };
        let delay = filter.as_ref().map_or(0, |filter| filter.output_delay());
        Ok(Self {
            from,
            to,
            filter,
            pending: Vec::new(),
            output: Vec::new(),
            delay,
            frames_in: 0,
        })
    }

    /// Takes the next mono samples.
    ///
    /// # Errors
    /// When the filter fails.
    pub fn push(&mut self, samples: &[f32]) -> Result<(), ResampleError> {
        self.frames_in += samples.len() as u64;
        if self.filter.is_none() {
            self.output.extend_from_slice(samples);
            return Ok(());
        }
        self.pending.extend_from_slice(samples);
        self.drain(false)
    }

    /// Frames made so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.output.len()
    }

    /// Whether nothing has been made so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.output.is_empty()
    }

    /// Ends the input and gives back all that was made of it.
    ///
    /// # Errors
    /// When the filter fails.
    pub fn finish(mut self) -> Result<Audio, ResampleError> {
        let expected = self.frames_in * u64::from(self.to) / u64::from(self.from);
        let expected = expected as usize;
        while self.filter.is_some() && self.output.len() < expected {
            // Silence pushes the last frames through the filter.
            self.pending.resize(self.pending.len().max(1), 0.0);
            self.drain(true)?;
        }
        self.output.truncate(expected);
        Ok(Audio { sample_rate: self.to, samples: self.output })
    }

    /// Runs whole chunks of what is pending through the filter; the last, short one too
    /// if `all`.
    fn drain(&mut self, all: bool) -> Result<(), ResampleError> {
        let Some(filter) = &mut self.filter else { return Ok(()) };
        let failed = |why: String| ResampleError { from: self.from, to: self.to, why };
        let mut taken = 0;
        loop {
            let wanted = filter.input_frames_next();
            let left = self.pending.len() - taken;
            if left == 0 || (left < wanted && !all) {
                break;
            }
            let length = left.min(wanted);
            let mut made = vec![0.0; filter.output_frames_next()];
            let capacity = made.len();
            let input = InterleavedSlice::new(&self.pending[taken..taken + length], 1, length)
                .map_err(|error| failed(error.to_string()))?;
            let mut output = InterleavedSlice::new_mut(&mut made, 1, capacity)
                .map_err(|error| failed(error.to_string()))?;
            let indexing = (length < wanted).then(|| Indexing::new().partial_len(length));
            let (_, frames) = filter
                .process_into_buffer(&input, &mut output, indexing.as_ref())
                .map_err(|error| failed(error.to_string()))?;
            let dropped = frames.min(self.delay);
            self.delay -= dropped;
            self.output.extend_from_slice(&made[dropped..frames]);
            taken += length;
        }
        self.pending.drain(..taken);
        Ok(())
    }
}

/// Resamples a whole recording.
///
/// # Errors
/// When a rate is zero.
pub fn resample(audio: &Audio, to: u32) -> Result<Audio, ResampleError> {
    let mut resampler = Resampler::new(audio.sample_rate, to)?;
    resampler.push(&audio.samples)?;
    resampler.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(sample_rate: u32, seconds: f32) -> Audio {
        let count = (seconds * sample_rate as f32) as usize;
        let step = 440.0 * std::f32::consts::TAU / sample_rate as f32;
        Audio { sample_rate, samples: (0..count).map(|n| (n as f32 * step).sin()).collect() }
    }

    #[test]
    fn a_tone_keeps_its_pitch_its_loudness_and_its_place_at_every_rate() {
        let wanted = tone(16_000, 1.0);
        for rate in [8_000, 11_025, 22_050, 24_000, 44_100, 48_000, 96_000] {
            let made = resample(&tone(rate, 1.0), 16_000).unwrap();
            assert_eq!(made.samples.len(), wanted.samples.len(), "{rate}");
            // The ends ring, as a filter does at a hard edge.
            let middle = 1000..15_000;
            let worst = made.samples[middle.clone()]
                .iter()
                .zip(&wanted.samples[middle])
                .map(|(made, wanted)| (made - wanted).abs())
                .fold(0.0, f32::max);
            assert!(worst < 0.01, "{rate}: {worst}");
        }
    }

    #[test]
    fn the_length_is_right_to_a_sample_whatever_the_pieces() {
        for (frames, piece) in [(1, 1), (777, 100), (44_100, 1), (44_100, 5000), (100_001, 1023)] {
            let mut resampler = Resampler::new(44_100, 16_000).unwrap();
            for chunk in vec![0.25; frames].chunks(piece) {
                resampler.push(chunk).unwrap();
            }
            let made = resampler.finish().unwrap().samples.len();
            assert_eq!(made, frames * 16_000 / 44_100, "{frames} in pieces of {piece}");
        }
    }

    #[test]
    fn the_same_rate_changes_nothing() {
        let audio = tone(16_000, 0.1);
        assert_eq!(resample(&audio, 16_000).unwrap(), audio);
    }
}
