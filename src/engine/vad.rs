//! Voice activity: where in a recording somebody speaks.
//!
//! Called by `stage::transcribe_audio`. Runs the Silero VAD (version 5 or 6) as
//! ONNX; window, context and hysteresis are those of the package `silero-vad`.

use std::ops::Range;
use std::path::Path;

use ort::session::Session;
use ort::value::Tensor;

use super::{Cancel, EngineError, Hardware, onnx};
use crate::audio::Audio;

/// Samples per second that the model is made for.
const SAMPLE_RATE: u32 = 16_000;
/// New samples in each step: 32 ms.
const WINDOW: usize = 512;
/// Samples of the step before that the model sees again.
const CONTEXT: usize = 64;
/// Numbers in the model's memory, shape `[2, 1, 128]`.
const STATE: [usize; 3] = [2, 1, 128];

/// Speech begins at this probability.
const BEGIN: f32 = 0.5;
/// Silence begins below this one.
const END: f32 = 0.35;
/// Shorter speech is dropped: 250 ms.
const MIN_SPEECH: usize = 4000;
/// Shorter silence does not part speech: 100 ms.
const MIN_SILENCE: usize = 1600;
/// Added at either end of each stretch: 30 ms.
const PAD: usize = 480;

/// A loaded voice activity detector.
pub struct Vad {
    session: Session,
}

impl Vad {
    /// Loads the Silero model at `model`.
    ///
    /// # Errors
    /// When the file is absent or damaged, or ONNX Runtime has not been opened.
    pub fn load(model: &Path) -> Result<Self, EngineError> {
        // The model is so small that a second thread only costs time.
        let session = onnx::session(model, &Hardware { threads: 1, gpu: None })?;
        Ok(Self { session })
    }

    /// The stretches of `audio`, 16 kHz, in which somebody speaks, as ranges of
    /// samples in order of time. None means that nobody speaks at all.
    ///
    /// # Errors
    /// When the sample rate is another or the model fails, and [`EngineError::Canceled`].
    pub fn speech(
        &mut self,
        audio: &Audio,
        cancel: &Cancel,
    ) -> Result<Vec<Range<usize>>, EngineError> {
        if audio.sample_rate != SAMPLE_RATE {
            let detail = format_args!("{} Hz instead of {SAMPLE_RATE} Hz", audio.sample_rate);
            return Err(EngineError::run("Looking for speech", detail));
        }
        let probabilities = self
            .probabilities(&audio.samples, cancel)
            .map_err(|error| EngineError::run("Looking for speech", error))?;
        cancel.check()?;
        Ok(stretches(&probabilities, audio.samples.len()))
    }

    /// The probability of speech in each window, as far as the work was not canceled; the
    /// last one is filled with silence.
    fn probabilities(&mut self, samples: &[f32], cancel: &Cancel) -> ort::Result<Vec<f32>> {
        let mut state = vec![0.0_f32; STATE.iter().product()];
        let mut input = vec![0.0_f32; CONTEXT + WINDOW];
        let mut probabilities = Vec::with_capacity(samples.len().div_ceil(WINDOW));
        for window in samples.chunks(WINDOW).take_while(|_| !cancel.is_canceled()) {
            input.copy_within(WINDOW.., 0);
            input[CONTEXT..CONTEXT + window.len()].copy_from_slice(window);
            input[CONTEXT + window.len()..].fill(0.0);
            let outputs = self.session.run(ort::inputs! {
                "input" => Tensor::from_array(([1, input.len()], input.clone()))?,
                "state" => Tensor::from_array((STATE, state))?,
                "sr" => Tensor::from_array(((), vec![i64::from(SAMPLE_RATE)]))?,
            })?;
            let (_, probability) = outputs["output"].try_extract_tensor::<f32>()?;
            probabilities.extend(probability.first());
            state = outputs["stateN"].try_extract_tensor::<f32>()?.1.to_vec();
        }
        Ok(probabilities)
    }
}

/// Turns the probability of each window into stretches within `len` samples.
fn stretches(probabilities: &[f32], len: usize) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    // Start of the stretch under way, and where it may have ended already.
    let mut start: Option<usize> = None;
    let mut maybe_end: Option<usize> = None;
    for (index, &probability) in probabilities.iter().enumerate() {
        let at = index * WINDOW;
        let Some(from) = start else {
            if probability >= BEGIN {
                start = Some(at);
            }
            continue;
        };
        if probability >= BEGIN {
            maybe_end = None;
        } else if probability < END {
            let end = *maybe_end.get_or_insert(at);
            if at - end >= MIN_SILENCE {
                found.push(from..end);
                (start, maybe_end) = (None, None);
            }
        }
    }
    found.extend(start.map(|from| from..len));
    found.retain(|stretch| stretch.len() > MIN_SPEECH);
    pad(&mut found, len);
    found
}

/// Widens each stretch by [`PAD`]; neighbours that would meet share the gap.
fn pad(stretches: &mut [Range<usize>], len: usize) {
    let gaps: Vec<usize> = stretches.windows(2).map(|two| two[1].start - two[0].end).collect();
    for (index, stretch) in stretches.iter_mut().enumerate() {
        let before = index.checked_sub(1).map_or(PAD, |gap| PAD.min(gaps[gap] / 2));
        let after = gaps.get(index).map_or(PAD, |gap| PAD.min(gap / 2));
        stretch.start = stretch.start.saturating_sub(before);
        stretch.end = (stretch.end + after).min(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(parts: &[(usize, f32)]) -> Vec<f32> {
        parts.iter().flat_map(|&(count, probability)| vec![probability; count]).collect()
    }

    fn found(probabilities: &[f32], len: usize) -> Vec<(usize, usize)> {
        stretches(probabilities, len)
            .into_iter()
            .map(|stretch| (stretch.start, stretch.end))
            .collect()
    }

    #[test]
    fn speech_is_padded_at_both_ends() {
        let speech = windows(&[(10, 0.0), (20, 0.9), (10, 0.0)]);
        assert_eq!(found(&speech, 40 * WINDOW), [(10 * WINDOW - PAD, 30 * WINDOW + PAD)]);
    }

    #[test]
    fn short_silence_does_not_part_speech_and_long_silence_does() {
        let short = windows(&[(20, 0.9), (3, 0.1), (20, 0.9)]);
        assert_eq!(stretches(&short, 43 * WINDOW).len(), 1);
        let long = windows(&[(20, 0.9), (6, 0.1), (20, 0.9)]);
        assert_eq!(stretches(&long, 46 * WINDOW).len(), 2);
    }

    #[test]
    fn a_probability_between_the_thresholds_changes_nothing() {
        let held = windows(&[(10, 0.9), (20, 0.4), (10, 0.9)]);
        assert_eq!(found(&held, 40 * WINDOW), [(0, 40 * WINDOW)]);
        assert!(stretches(&windows(&[(40, 0.4)]), 40 * WINDOW).is_empty());
    }

    #[test]
    fn a_click_is_no_speech() {
        assert!(stretches(&windows(&[(10, 0.0), (7, 0.9), (20, 0.0)]), 37 * WINDOW).is_empty());
    }

    #[test]
    fn speech_up_to_the_end_ends_with_the_recording() {
        let len = 30 * WINDOW - 100;
        assert_eq!(found(&windows(&[(10, 0.0), (20, 0.9)]), len), [(10 * WINDOW - PAD, len)]);
    }

    #[test]
    fn neighbours_share_a_gap_that_is_shorter_than_two_pads() {
        let mut found = vec![1000..9000, 9600..20_000];
        pad(&mut found, 20_100);
        assert_eq!(found, [520..9300, 9300..20_100]);
    }
}
