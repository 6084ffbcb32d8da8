//! Brings speech to one loudness, so that no voice and no language is louder than another.
//!
//! Called by the two speaking stages. Loudness and true peak are those of EBU R 128
//! (ITU-R BS.1770), measured by the crate `ebur128`.

use std::collections::VecDeque;

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
/// Highest sample that the limiter lets out.
const CEILING_DB: f64 = PEAK_DBTP - BETWEEN_SAMPLES_DB;
/// Samples that are metered at once.
const METERED: usize = 4096;
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
    let mut meter = meter(audio)?;
    for _ in 0..repeats(audio) {
        meter.add_frames_f32(&audio.samples).ok()?;
    }
    read(&meter)
}

fn meter(audio: &Audio) -> Option<EbuR128> {
    EbuR128::new(1, audio.sample_rate, Mode::I | Mode::TRUE_PEAK).ok()
}

/// How often a sound must be said so that it is as long as loudness is defined over.
fn repeats(audio: &Audio) -> usize {
    let shortest = audio.sample_rate as usize * 2 / 5;
    shortest.div_ceil(audio.samples.len().max(1)).max(1)
}

fn read(meter: &EbuR128) -> Option<Loudness> {
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
    let most_db = most_gain_db(found);
    let mut gain_db = (TARGET_LUFS - found.lufs).min(most_db);
    let mut level = found;
    for round in 1..=ROUNDS {
        let Some(now) = measure_limited(audio, gain_db) else { return };
        level = now;
        let short_by = TARGET_LUFS - now.lufs;
        if short_by.abs() < TOLERANCE_LU || gain_db >= most_db || round == ROUNDS {
            break;
        }
        gain_db = (gain_db + short_by).min(most_db);
    }
    limit(audio, gain_db);
    // What still rises above the peak between two samples is rare and small.
    let over_db = level.peak_dbtp - PEAK_DBTP;
    if over_db > 0.0 {
        let gain = factor(-over_db);
        audio.samples.iter_mut().for_each(|sample| *sample *= gain);
    }
}

/// Brings sound that comes in pieces to about [`TARGET_LUFS`]: all of it by the gain that its
/// first piece needs, so that what is said softly stays softer, with no peak above the ceiling.
#[derive(Debug, Default)]
pub struct Leveller {
    gain_db: Option<f64>,
}

impl Leveller {
    /// Brings the next piece to its level.
    pub fn level(&mut self, audio: &mut Audio) {
        if self.gain_db.is_none() {
            let found = measure(audio).filter(|it| it.lufs.is_finite() && it.peak_dbtp.is_finite());
            self.gain_db = found.map(|found| (TARGET_LUFS - found.lufs).min(most_gain_db(found)));
        }
        if let Some(gain_db) = self.gain_db {
            limit(audio, gain_db);
        }
    }
}

/// The most by which a sound may be raised.
fn most_gain_db(found: Loudness) -> f64 {
    CEILING_DB + MOST_PRESSED_DB - found.peak_dbtp
}

/// How loud `audio` would be after [`limit`], which does not touch it yet.
fn measure_limited(audio: &Audio, gain_db: f64) -> Option<Loudness> {
    let mut meter = meter(audio)?;
    for _ in 0..repeats(audio) {
        let mut limiter = Limiter::new(gain_db, audio.sample_rate);
        let mut block = Vec::with_capacity(METERED);
        for sample in audio.samples.iter().copied().map(Some).chain(limiter.end()) {
            block.extend(limiter.push(sample));
            if block.len() == METERED {
                meter.add_frames_f32(&block).ok()?;
                block.clear();
            }
        }
        meter.add_frames_f32(&block).ok()?;
    }
    read(&meter)
}

/// Raises `audio` by `gain_db` and presses down what would exceed the ceiling.
fn limit(audio: &mut Audio, gain_db: f64) {
    let mut limiter = Limiter::new(gain_db, audio.sample_rate);
    let end = limiter.end();
    let mut written = 0;
    for index in 0..audio.samples.len() + end.len() {
        // The limiter lags behind, so that what is read has not been written yet.
        if let Some(sample) = limiter.push(audio.samples.get(index).copied()) {
            audio.samples[written] = sample;
            written += 1;
        }
    }
}

/// Samples times a gain that bows before whatever would exceed the ceiling.
///
/// The gain at every sample is the mean, over `reach` samples to either side, of the
/// lowest gain that is needed within `reach` samples of each. So it is never too high,
/// and never changes faster than in a line over that time, which cannot be heard as a click.
/// Memory does not grow with the sound.
struct Limiter {
    gain: f32,
    ceiling: f32,
    reach: usize,
    /// Samples that wait for the gain of those behind them.
    waiting: VecDeque<f32>,
    /// What was pushed, how much of it were samples, and how many of them have a gain.
    pushed: usize,
    samples: usize,
    found: usize,
    /// Places whose needed gains rise: the first is the lowest of the window.
    rising: VecDeque<(usize, f32)>,
    /// The lowest gains over which the mean is taken, and their sum.
    lowest: VecDeque<f32>,
    sum: f64,
}

impl Limiter {
    fn new(gain_db: f64, sample_rate: u32) -> Self {
        Self {
            gain: factor(gain_db),
            ceiling: factor(CEILING_DB),
            reach: sample_rate as usize * REACH_MS / 1000,
            waiting: VecDeque::new(),
            pushed: 0,
            samples: 0,
            found: 0,
            rising: VecDeque::new(),
            lowest: VecDeque::new(),
            sum: 0.0,
        }
    }

    /// What must be pushed after the last sample so that all come out.
    fn end(&self) -> std::iter::RepeatN<Option<f32>> {
        std::iter::repeat_n(None, 2 * self.reach)
    }

    /// Takes a sample, or nothing after the last; gives the one that came in twice `reach`
    /// before it.
    fn push(&mut self, sample: Option<f32>) -> Option<f32> {
        let at = self.pushed;
        self.pushed += 1;
        if let Some(sample) = sample {
            self.samples += 1;
            self.waiting.push_back(sample);
            let needed = self.ceiling / (sample.abs() * self.gain).max(self.ceiling);
            while self.rising.back().is_some_and(|&(_, last)| last >= needed) {
                self.rising.pop_back();
            }
            self.rising.push_back((at, needed));
        }
        // The window of the place `reach` before this one is complete.
        if at >= self.reach {
            let place = at - self.reach;
            while self.rising.front().is_some_and(|&(first, _)| first + self.reach < place) {
                self.rising.pop_front();
            }
            // Behind the last sample there is no place to find a gain for.
            if let Some(&(_, lowest)) = self.rising.front().filter(|_| place < self.samples) {
                self.lowest.push_back(lowest);
                self.sum += f64::from(lowest);
                self.found += 1;
            }
        }
        if at < 2 * self.reach {
            return None;
        }
        let place = at - 2 * self.reach;
        let sample = self.waiting.pop_front()?;
        // Near the beginning and the end the mean is taken over what there is.
        let from = place.saturating_sub(self.reach);
        while self.found - self.lowest.len() < from {
            self.sum -= f64::from(self.lowest.pop_front()?);
        }
        let mean = self.sum / self.lowest.len() as f64;
        Some(sample * self.gain * mean as f32)
    }
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
    fn the_limiters_gain_is_the_mean_of_the_lowest_around() {
        let samples: Vec<f32> = (0..400).map(|n| (n as f32 * 1.7).sin() * 3.0).collect();
        // A rate at which the reach is 3 samples.
        let mut audio = Audio { sample_rate: 600, samples: samples.clone() };
        limit(&mut audio, 6.0);
        let (gain, ceiling, reach) = (factor(6.0), factor(CEILING_DB), 3);
        let window = |at: usize| at.saturating_sub(reach)..(at + reach + 1).min(samples.len());
        let needed = |at: usize| ceiling / (samples[at].abs() * gain).max(ceiling);
        let lowest = |at: usize| window(at).map(needed).fold(f32::MAX, f32::min);
        for (at, &limited) in audio.samples.iter().enumerate() {
            let mean = window(at).map(lowest).sum::<f32>() / window(at).len() as f32;
            let wanted = samples[at] * gain * mean;
            assert!((limited - wanted).abs() < 1e-4, "{at}: {limited} is not {wanted}");
        }
        for short in 0..9 {
            let mut audio = Audio { sample_rate: 600, samples: samples[..short].to_vec() };
            limit(&mut audio, -6.0);
            let quieter = samples[..short].iter().map(|sample| sample * factor(-6.0));
            assert!(audio.samples.iter().zip(quieter).all(|(a, b)| (a - b).abs() < 1.2));
            assert_eq!(audio.samples.len(), short);
        }
    }

    #[test]
    fn sound_in_pieces_gets_the_gain_of_its_first_piece() {
        let mut leveller = Leveller::default();
        let mut silence = Audio { sample_rate: RATE, samples: Vec::new() };
        leveller.level(&mut silence);
        let (mut first, mut second) = (syllables(0.02), syllables(0.01));
        leveller.level(&mut first);
        leveller.level(&mut second);
        let loudness = |audio: &Audio| measure(audio).expect("a usual rate").lufs;
        assert!((loudness(&first) - TARGET_LUFS).abs() < 1.0, "{}", loudness(&first));
        let softer = loudness(&first) - loudness(&second);
        assert!((softer - 6.0).abs() < 1.0, "{softer}");
    }
}
