//! Changes the sample rate of mono sound that arrives in pieces.
//!
//! Called by [`super::decode`] and [`super::playback`]. The conversion is
//! rubato's synchronous FFT resampler: exact in ratio, with a filter that stays
//! flat almost up to the lower of the two Nyquist frequencies.

use rubato::audioadapter_buffers::direct::SequentialSliceOfSlices;
use rubato::{Fft, FixedSync, Resampler as _};

/// Lowest and highest rate that is taken for real. Telephones use 8 kHz, studios
/// 192 kHz; what lies far outside is a broken header, and serving it would let a
/// few bytes ask for a great deal of work.
pub const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

/// Input samples that are transformed at once, about. Larger blocks keep more of
/// the high frequencies and add delay, which does not matter here.
const BLOCK: u32 = 2048;

/// Why sound could not be resampled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ResampleError {
    /// A rate outside [`RATES`].
    #[error("a sample rate of {0} Hz, outside {low} to {high} Hz", low = RATES.start(), high = RATES.end())]
    Rate(u32),
    /// The library refused; says what it said.
    #[error("resampling failed: {0}")]
    Library(String),
}

impl ResampleError {
    fn library(error: impl std::fmt::Display) -> Self {
        Self::Library(error.to_string())
    }
}

/// Converts one stream of mono samples from one rate to another.
///
/// The filter's delay is taken out: sample `n` of the input and sample
/// `n * to / from` of the output are the same moment, and [`Resampler::finish`]
/// makes the lengths agree to within one output sample.
pub struct Resampler {
    from: u32,
    to: u32,
    /// `None` when the rates are equal.
    filter: Option<Filter>,
    received: u64,
    emitted: u64,
}

struct Filter {
    fft: Fft<f32>,
    /// Input that does not yet fill a block.
    pending: Vec<f32>,
    block_out: Vec<f32>,
    /// Output samples still to be dropped because of the filter's delay.
    skip: usize,
}

impl Resampler {
    /// A converter from `from` to `to` samples per second.
    ///
    /// # Errors
    /// [`ResampleError::Rate`] when either lies outside [`RATES`].
    pub fn new(from: u32, to: u32) -> Result<Self, ResampleError> {
        for rate in [from, to] {
            if !RATES.contains(&rate) {
                return Err(ResampleError::Rate(rate));
            }
        }
        let filter = if from == to { None } else { Some(Filter::new(from, to)?) };
        Ok(Self { from, to, filter, received: 0, emitted: 0 })
    }

    /// The input's samples per second.
    #[must_use]
    pub fn from_rate(&self) -> u32 {
        self.from
    }

    /// Takes the next samples and appends what they yield to `out`.
    ///
    /// # Errors
    /// When the library fails, which it does only through a fault of this code.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), ResampleError> {
        let before = out.len();
        self.received += samples.len() as u64;
        match &mut self.filter {
            None => out.extend_from_slice(samples),
            Some(filter) => filter.push(samples, out)?,
        }
        self.emitted += (out.len() - before) as u64;
        Ok(())
    }

    /// Ends the stream: appends what the filter still holds.
    ///
    /// # Errors
    /// As [`Resampler::push`].
    pub fn finish(mut self, out: &mut Vec<f32>) -> Result<(), ResampleError> {
        let (from, to) = (u64::from(self.from), u64::from(self.to));
        let wanted = (self.received * to + from / 2) / from;
        if let Some(filter) = &mut self.filter {
            let silence = vec![0.0; BLOCK as usize];
            while self.emitted < wanted {
                let before = out.len();
                filter.push(&silence, out)?;
                self.emitted += (out.len() - before) as u64;
            }
        }
        let surplus = (self.emitted - wanted) as usize;
        out.truncate(out.len() - surplus);
        Ok(())
    }
}

impl Filter {
    fn new(from: u32, to: u32) -> Result<Self, ResampleError> {
        // A block must be a whole number of periods in which both rates meet. An even
        // number puts the middle of the filter on a sample, so that its delay is whole.
        let period = from / greatest_common_divisor(from, to);
        let block_in = period * (BLOCK / period).max(1).next_multiple_of(2);
        let fft =
            Fft::<f32>::new(from as usize, to as usize, block_in as usize, 1, FixedSync::Both)
                .map_err(ResampleError::library)?;
        let block_out = vec![0.0; fft.output_frames_next()];
        let skip = fft.output_delay();
        Ok(Self { fft, pending: Vec::new(), block_out, skip })
    }

    fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), ResampleError> {
        self.pending.extend_from_slice(samples);
        let block_in = self.fft.input_frames_next();
        let mut used = 0;
        while self.pending.len() - used >= block_in {
            let input = [&self.pending[used..used + block_in]];
            let mut output = [self.block_out.as_mut_slice()];
            let frames_out = output[0].len();
            let input = SequentialSliceOfSlices::new(&input, 1, block_in)
                .map_err(ResampleError::library)?;
            let mut output = SequentialSliceOfSlices::new_mut(&mut output, 1, frames_out)
                .map_err(ResampleError::library)?;
            let (_, written) = self
                .fft
                .process_into_buffer(&input, &mut output, None)
                .map_err(ResampleError::library)?;
            let dropped = self.skip.min(written);
            self.skip -= dropped;
            out.extend_from_slice(&self.block_out[dropped..written]);
            used += block_in;
        }
        self.pending.drain(..used);
        Ok(())
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(rate: u32, frequency: f64, seconds: f64) -> Vec<f32> {
        let count = (f64::from(rate) * seconds) as usize;
        (0..count)
            .map(|n| {
                let angle = std::f64::consts::TAU * frequency * n as f64 / f64::from(rate);
                (0.5 * angle.sin()) as f32
            })
            .collect()
    }

    fn resample(samples: &[f32], from: u32, to: u32, piece: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to).expect("the rates are in range");
        let mut out = Vec::new();
        for chunk in samples.chunks(piece) {
            resampler.push(chunk, &mut out).expect("pushing works");
        }
        resampler.finish(&mut out).expect("finishing works");
        out
    }

    #[test]
    fn the_length_stays_within_a_millisecond_at_any_rate() {
        for from in [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 44_101, 48_000, 96_000] {
            let out = resample(&sine(from, 300.0, 1.2345), from, 16_000, 777);
            let off = (out.len() as f64 / 16_000.0 - 1.2345).abs();
            assert!(off < 0.001, "{from} Hz: off by {off} s");
        }
    }

    #[test]
    fn a_tone_keeps_its_place_and_its_height() {
        for from in [8_000, 22_050, 44_100, 48_000] {
            let out = resample(&sine(from, 440.0, 1.0), from, 16_000, 1000);
            let wanted = sine(16_000, 440.0, 1.0);
            // The edges ring, because the tone starts and ends all at once.
            let worst = out[800..15_200]
                .iter()
                .zip(&wanted[800..15_200])
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(worst < 0.01, "{from} Hz: off by {worst}");
        }
    }

    #[test]
    fn what_16_khz_cannot_hold_is_removed_and_not_folded_back() {
        let out = resample(&sine(48_000, 11_000.0, 1.0), 48_000, 16_000, 480);
        let loudest = out[800..15_200].iter().copied().map(f32::abs).fold(0.0, f32::max);
        assert!(loudest < 0.002, "an 11 kHz tone left {loudest}");
    }

    #[test]
    fn the_result_does_not_depend_on_how_the_input_is_cut() {
        let input = sine(44_100, 700.0, 0.7);
        assert_eq!(resample(&input, 44_100, 16_000, 1), resample(&input, 44_100, 16_000, 9_999));
    }

    #[test]
    fn nothing_in_gives_nothing_out() {
        assert!(resample(&[], 44_100, 16_000, 1).is_empty());
    }

    #[test]
    fn impossible_rates_are_refused() {
        for rate in [0, 1, 3_999, 384_001, u32::MAX] {
            assert!(
                matches!(Resampler::new(rate, 16_000), Err(ResampleError::Rate(r)) if r == rate)
            );
        }
    }
}
