//! Brings speech to one loudness, so that no voice and no language is louder than another.
//!
//! Called by the two speaking stages. Loudness and true peak are those of EBU R 128
//! (ITU-R BS.1770), measured by the crate `ebur128`.

use ebur128::{EbuR128, Mode};

use super::Audio;

/// Loudness that speech is brought to, in LUFS: what podcasts and speech services use.
pub const TARGET_LUFS: f64 = -16.0;
/// Highest true peak that is let out, in dBTP. Lossy encoders need the room.
pub const PEAK_DBTP: f64 = -1.0;
/// By how much single peaks may be pressed down so that the rest can reach
/// [`TARGET_LUFS`]. More would be heard; such a sound stays quieter instead.
const MOST_PRESSED_DB: f64 = 9.0;
/// Room that the limiter leaves below [`PEAK_DBTP`] for what rises between two samples.
const BETWEEN_SAMPLES_DB: f64 = 0.4;
/// How far around a peak the gain goes down and up again, to either side.
const REACH_MS: usize = 5;
/// Pressing peaks makes the whole a little quieter; so many rounds make up for it.
const ROUNDS: usize = 6;
/// Near enough to the target.
const TOLERANCE_LU: f64 = 0.05;

/// How loud a sound is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loudness {
    /// Integrated loudness in LUFS; minus infinity for silence.
    pub lufs: f64,
    /// True peak in dBTP; minus infinity for silence.
    pub peak_dbtp: f64,
}

/// How loud `audio` is, or `None` when its rate is one that cannot be measured.
///
/// A sound shorter than the 400 ms over which loudness is defined is measured as if it
/// were said again and again.
#[must_use]
pub fn measure(audio: &Audio) -> Option<Loudness> {
    let mut meter = EbuR128::new(1, audio.sample_rate, Mode::I | Mode::TRUE_PEAK).ok()?;
    let shortest = audio.sample_rate as usize * 2 / 5;
    let repeats = shortest.div_ceil(audio.samples.len().max(1)).max(1);
    for _ in 0..repeats {
        meter.add_frames_f32(&audio.samples).ok()?;
    }
    let peak = meter.true_peak(0).ok()?;
    Some(Loudness { lufs: meter.loudness_global().ok()?, peak_dbtp: 20.0 * peak.log10() })
}

/// Brings `audio` to [`TARGET_LUFS`] with no peak above [`PEAK_DBTP`].
///
/// Where only single peaks stand in the way they are pressed down by a limiter, by at most
/// 9 dB; a sound that would need more stays quieter than the target. Silence stays silence.
pub fn normalise(audio: &mut Audio) {
    let Some(found) = measure(audio) else { return };
    // Below the gate of the standard there is nothing that could be called loud.
    if !found.lufs.is_finite() || !found.peak_dbtp.is_finite() {
        return;
    }
    let ceiling_db = PEAK_DBTP - BETWEEN_SAMPLES_DB;
    let most_db = ceiling_db + MOST_PRESSED_DB - found.peak_dbtp;
    let mut gain_db = (TARGET_LUFS - found.lufs).min(most_db);
    let reach = audio.sample_rate as usize * REACH_MS / 1000;
    let mut result = Audio::default();
    for _ in 0..ROUNDS {
        result = Audio {
            sample_rate: audio.sample_rate,
            samples: limited(&audio.samples, factor(gain_db), factor(ceiling_db), reach),
        };
        let short_by = measure(&result).map_or(0.0, |now| TARGET_LUFS - now.lufs);
        if short_by.abs() < TOLERANCE_LU || gain_db >= most_db {
            break;
        }
        gain_db = (gain_db + short_by).min(most_db);
    }
    // What still rises above the peak between two samples is rare and small.
    let over_db = measure(&result).map_or(0.0, |now| now.peak_dbtp - PEAK_DBTP);
    if over_db > 0.0 {
        let gain = factor(-over_db);
        result.samples.iter_mut().for_each(|sample| *sample *= gain);
    }
    *audio = result;
}

/// `samples` times `gain`, with a gain that bows before whatever would exceed `ceiling`.
///
/// The gain at every sample is the mean, over `reach` samples to either side, of the
/// lowest gain that is needed within `reach` samples of each. So it is never too high,
/// and never changes faster than in a line over that time, which cannot be heard as a click.
fn limited(samples: &[f32], gain: f32, ceiling: f32, reach: usize) -> Vec<f32> {
    let needed: Vec<f32> =
        samples.iter().map(|sample| ceiling / (sample.abs() * gain).max(ceiling)).collect();
    let lowest = lowest_around(&needed, reach);
    let mut sums = Vec::with_capacity(lowest.len() + 1);
    let mut sum = 0.0_f64;
    sums.push(sum);
    for &value in &lowest {
        sum += f64::from(value);
        sums.push(sum);
    }
    samples
        .iter()
        .enumerate()
        .map(|(index, sample)| {
            let from = index.saturating_sub(reach);
            let to = (index + reach + 1).min(samples.len());
            let mean = (sums[to] - sums[from]) / (to - from) as f64;
            sample * gain * mean as f32
        })
        .collect()
}

/// For each of `values` the lowest one within `reach` places.
fn lowest_around(values: &[f32], reach: usize) -> Vec<f32> {
    // Places whose values rise: the first is the lowest of the window.
    let mut rising = std::collections::VecDeque::new();
    let mut next = 0;
    (0..values.len())
        .map(|index| {
            while next < values.len() && next <= index + reach {
                while rising.back().is_some_and(|&last: &usize| values[last] >= values[next]) {
                    rising.pop_back();
                }
                rising.push_back(next);
                next += 1;
            }
            while rising.front().is_some_and(|&first| first + reach < index) {
                rising.pop_front();
            }
            values[*rising.front().expect("the window holds at least `index` itself")]
        })
        .collect()
}

/// Decibels as a factor of amplitude.
fn factor(decibels: f64) -> f32 {
    10.0_f64.powf(decibels / 20.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 22_050;

    fn tone(height: f32, seconds: f32) -> Audio {
        let count = (seconds * RATE as f32) as usize;
        let step = std::f32::consts::TAU * 997.0 / RATE as f32;
        let samples = (0..count).map(|n| height * (n as f32 * step).sin()).collect();
        Audio { sample_rate: RATE, samples }
    }

    /// Bursts of a tone with pauses and a sharp attack, as syllables have.
    fn syllables(height: f32) -> Audio {
        let mut audio = tone(height, 4.0);
        for (index, sample) in audio.samples.iter_mut().enumerate() {
            let at = (index % 5000) as f32 / 5000.0;
            *sample *= if at < 0.6 { (-6.0 * at).exp() } else { 0.0 };
        }
        audio
    }

    fn normalised(mut audio: Audio) -> (Audio, Loudness) {
        normalise(&mut audio);
        let loudness = measure(&audio).expect("a usual rate");
        (audio, loudness)
    }

    #[test]
    fn a_full_tone_in_one_channel_is_3_lu_below_full_scale() {
        // ITU-R BS.1770-4, annex 1: a 997 Hz sine at 0 dBFS in one channel reads -3.01 LKFS.
        let found = measure(&tone(1.0, 3.0)).expect("a usual rate");
        assert!((found.lufs + 3.01).abs() < 0.05, "{found:?}");
        assert!(found.peak_dbtp.abs() < 0.1, "{found:?}");
    }

    #[test]
    fn quiet_and_loud_speech_come_out_alike_and_never_above_the_peak() {
        for height in [0.003, 0.02, 0.3, 1.0] {
            let (_, loudness) = normalised(syllables(height));
            assert!((loudness.lufs - TARGET_LUFS).abs() < 0.1, "{height}: {loudness:?}");
            assert!(loudness.peak_dbtp <= PEAK_DBTP + 0.01, "{height}: {loudness:?}");
        }
    }

    #[test]
    fn only_the_peaks_are_pressed() {
        let before = syllables(0.3);
        let (after, _) = normalised(before.clone());
        let quotients: Vec<f32> = before
            .samples
            .iter()
            .zip(&after.samples)
            .filter(|(before, _)| before.abs() > 1e-3)
            .map(|(before, after)| after / before)
            .collect();
        let highest = quotients.iter().copied().fold(0.0, f32::max);
        let lowest = quotients.iter().copied().fold(f32::MAX, f32::min);
        assert!(lowest > 0.0 && highest / lowest <= factor(MOST_PRESSED_DB + 0.1), "{lowest}");
        // Neighbouring gains differ so little that no click can come of it.
        let steepest = quotients.windows(2).map(|two| (two[1] - two[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.03 * highest, "{steepest} of {highest}");
    }

    #[test]
    fn a_sound_of_one_click_stays_quiet() {
        let mut audio = tone(0.001, 3.0);
        audio.samples[20_000] = 1.0;
        let (_, loudness) = normalised(audio);
        assert!(loudness.peak_dbtp <= PEAK_DBTP + 0.01, "{loudness:?}");
        assert!(loudness.lufs < TARGET_LUFS - 6.0, "{loudness:?}");
    }

    #[test]
    fn silence_stays_silence() {
        for samples in [vec![], vec![0.0; 100], vec![0.0; 50_000], vec![1e-6; 50_000]] {
            let (audio, _) = normalised(Audio { sample_rate: RATE, samples: samples.clone() });
            assert_eq!(audio.samples, samples);
        }
    }

    #[test]
    fn a_word_shorter_than_the_standards_block_is_brought_to_the_target() {
        for seconds in [0.02, 0.1, 0.39] {
            let (audio, loudness) = normalised(tone(0.05, seconds));
            assert!((loudness.lufs - TARGET_LUFS).abs() < 0.3, "{seconds} s: {loudness:?}");
            assert_eq!(audio.samples.len(), tone(0.05, seconds).samples.len());
        }
    }

    #[test]
    fn the_lowest_value_around_is_found_at_both_ends_too() {
        let values = [5.0, 4.0, 9.0, 1.0, 7.0, 8.0, 6.0];
        assert_eq!(lowest_around(&values, 1), [4.0, 4.0, 1.0, 1.0, 1.0, 6.0, 6.0]);
        assert_eq!(lowest_around(&values, 0), values);
    }
}
