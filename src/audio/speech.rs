//! What is done to a model's raw speech before anybody hears it.
//!
//! Called by the voices in `engine`, so that all of them keep the same promise:
//! finite samples within -1 to 1, without silence at either end.

/// Length of the frames in which loudness is measured.
const FRAME_MS: usize = 10;
/// A frame this far below the loudest one is silence: 45 dB, as a factor of power.
const SILENCE: f32 = 3.2e-5;
/// What is kept around the sound, so that soft onsets and endings survive.
const MARGIN_MS: usize = 30;

/// Trims `raw` and keeps it within -1 to 1; `None` if a sample is not a number.
pub fn tidy(raw: &[f32], sample_rate: u32) -> Option<Vec<f32>> {
    if raw.iter().any(|sample| !sample.is_finite()) {
        return None;
    }
    Some(trim(raw, sample_rate).iter().map(|sample| sample.clamp(-1.0, 1.0)).collect())
}

/// `samples` without the silence at both ends; nothing if all of it is silent.
fn trim(samples: &[f32], sample_rate: u32) -> &[f32] {
    let frame = (sample_rate as usize * FRAME_MS / 1000).max(1);
    let power = |frame: &[f32]| frame.iter().map(|x| x * x).sum::<f32>() / frame.len() as f32;
    let loudest = samples.chunks(frame).map(power).fold(0.0, f32::max);
    let heard = |frame: &[f32]| power(frame) > loudest * SILENCE;
    let Some(first) = samples.chunks(frame).position(heard) else { return &[] };
    let last = samples.chunks(frame).rposition(heard).unwrap_or(first);
    let margin = MARGIN_MS / FRAME_MS;
    let start = first.saturating_sub(margin) * frame;
    let end = ((last + 1 + margin) * frame).min(samples.len());
    &samples[start..end]
}

#[cfg(test)]
mod tests {
    use super::tidy;

    fn tone(len: usize) -> Vec<f32> {
        (0..len).map(|i| (i as f32 * 0.3).sin() * 0.5).collect()
    }

    #[test]
    fn silence_at_both_ends_goes_and_the_sound_stays_whole() {
        let sound = tone(8000);
        let raw = [vec![0.0; 16_000], sound.clone(), vec![1e-5; 16_000]].concat();
        let tidied = tidy(&raw, 16_000).expect("all samples are finite");
        assert!(tidied.len() >= sound.len() && tidied.len() <= sound.len() + 2 * 640);
        assert!(tidied.windows(sound.len()).any(|part| part == sound));
    }

    #[test]
    fn samples_that_are_not_numbers_never_leave() {
        assert_eq!(tidy(&[0.1, f32::NAN, 0.2], 16_000), None);
        assert_eq!(tidy(&[0.1, f32::INFINITY], 16_000), None);
    }

    #[test]
    fn loud_samples_are_clamped() {
        let tidied = tidy(&[2.0; 400], 16_000).expect("all samples are finite");
        assert!(tidied.iter().all(|&sample| sample <= 1.0));
    }

    #[test]
    fn silence_alone_gives_nothing() {
        assert_eq!(tidy(&[0.0; 400], 16_000), Some(Vec::new()));
        assert_eq!(tidy(&[], 16_000), Some(Vec::new()));
    }
}
