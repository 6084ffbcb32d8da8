//! A made-up sound that resembles speech, and how like it another sound is.

use std::f64::consts::TAU;

/// Length of [`speech_like`].
pub const SECONDS: f64 = 6.0;

/// A gliding voice with syllables and a hiss, [`SECONDS`] long.
///
/// It is a function of time, so that it is the same sound at every rate, and
/// holds nothing above 3.4 kHz, so that even 8 kHz carry all of it.
pub fn speech_like(rate: u32) -> Vec<f32> {
    let count = (f64::from(rate) * SECONDS) as usize;
    (0..count).map(|n| at(n as f64 / f64::from(rate)) as f32).collect()
}

fn at(t: f64) -> f64 {
    // The integral of a pitch that swings between 90 and 150 Hz every two seconds.
    let turns = 120.0 * t - 30.0 / (TAU * 0.5) * (TAU * 0.5 * t).cos();
    let voice: f64 = (1..=20).map(|k| (TAU * f64::from(k) * turns).sin() / f64::from(k)).sum();
    let hiss: f64 = (0..40)
        .map(|k| {
            // A spread of tones without a common period is a noise to any codec.
            let frequency = 300.0 + 3000.0 * (f64::from(k) * 0.618_034).fract();
            (TAU * (frequency * t + f64::from(k) * 0.754_878)).sin()
        })
        .sum();
    let syllables = 0.15 + 0.85 * (TAU * 2.0 * t).sin().powi(2);
    let ends = (t.min(SECONDS - t) / 0.05).clamp(0.0, 1.0);
    (0.2 * voice + 0.004 * hiss) * syllables * ends
}

/// The correlation of two sounds of the same rate, from -1 to 1, after the second
/// was moved by at most `max_lag` samples to fit best.
pub fn correlation(a: &[f32], b: &[f32], max_lag: usize) -> f64 {
    // A second from the middle decides how far to move; the whole decides how alike.
    let middle = a.len().min(b.len()) / 2;
    let half = 8000.min(middle.saturating_sub(max_lag));
    let window = |lag: isize| {
        let start = (middle - half).saturating_add_signed(lag);
        &b[start..(start + 2 * half).min(b.len())]
    };
    let reference = &a[middle - half..middle + half];
    let max_lag = max_lag as isize;
    let lag = (-max_lag..=max_lag)
        .max_by(|&x, &y| alike(reference, window(x)).total_cmp(&alike(reference, window(y))))
        .unwrap_or(0);
    let (a, b) = if lag >= 0 { (a, &b[lag as usize..]) } else { (&a[lag.unsigned_abs()..], b) };
    alike(a, b)
}

/// The normalised product of two sounds, over the length of the shorter.
fn alike(a: &[f32], b: &[f32]) -> f64 {
    let (mut product, mut power_a, mut power_b) = (0.0_f32, 0.0_f32, 0.0_f32);
    for (x, y) in a.iter().zip(b) {
        product += x * y;
        power_a += x * x;
        power_b += y * y;
    }
    f64::from(product) / f64::from(power_a * power_b).sqrt().max(f64::MIN_POSITIVE)
}

/// White noise within -1 to 1, from a linear congruential generator.
pub struct Noise(u32);

impl Noise {
    /// The same seed gives the same noise.
    pub fn new(seed: u32) -> Self {
        Self(seed)
    }

    /// The next sample.
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // The lower bits have short periods.
        (self.0 >> 8) as f32 / (1_u32 << 23) as f32 - 1.0
    }
}
