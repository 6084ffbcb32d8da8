//! The logarithm of a sum of exponentials, over a whole vocabulary at every token: with the C
//! library's exponential, one after the other, it takes as long as Marian's network.
//!
//! Called by `marian` and `llm`, which choose tokens.

// Functions are compiled into others that may use the instructions of newer processors.
#![allow(clippy::inline_always)]

use std::f32::consts::LOG2_E;

/// Numbers that are computed with at once.
const LANES: usize = 16;

/// The logarithm of the sum of e to the power of `factor` times each number; minus infinity where
/// all are that. `factor` is above 0.
pub(super) fn log_sum_exp(numbers: &[f32], factor: f32) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has it.
            return unsafe { log_sum_exp_avx512(numbers, factor) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { log_sum_exp_avx2(numbers, factor) };
        }
    }
    of(numbers, factor)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,fma")]
fn log_sum_exp_avx512(numbers: &[f32], factor: f32) -> f32 {
    of(numbers, factor)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn log_sum_exp_avx2(numbers: &[f32], factor: f32) -> f32 {
    of(numbers, factor)
}

#[inline(always)]
fn of(numbers: &[f32], factor: f32) -> f32 {
    let (chunks, rest) = numbers.as_chunks::<LANES>();
    let mut highest = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (highest, &number) in highest.iter_mut().zip(chunk) {
            *highest = if number > *highest { number } else { *highest };
        }
    }
    let highest = highest.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    if highest == f32::NEG_INFINITY {
        return highest;
    }
    let mut sums = [0.0_f32; LANES];
    for chunk in chunks {
        for (sum, &number) in sums.iter_mut().zip(chunk) {
            *sum += exp((number - highest) * factor);
        }
    }
    let rest = rest.iter().map(|it| exp((it - highest) * factor));
    (highest * factor) + (sums.iter().sum::<f32>() + rest.sum::<f32>()).ln()
}

/// e to the power of `number`, which is not above 0; within 3e-7 of it, and 0 below 1e-38.
///
/// A power of two, and the series for what is left, which lies within half of the logarithm of 2
/// (Cody and Waite, Software Manual for the Elementary Functions, 1980).
#[inline(always)]
fn exp(number: f32) -> f32 {
    /// Adding and taking away this rounds to whole numbers.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    /// The logarithm of 2 in two parts, the first of which has few digits.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const LOWEST: f32 = -87.0;
    let clamped = if number < LOWEST { LOWEST } else { number };
    let rounded = clamped.mul_add(LOG2_E, ROUND);
    let power = rounded - ROUND;
    let rest = power.mul_add(-LN_2[1], power.mul_add(-LN_2[0], clamped));
    let series = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0]
        .into_iter()
        .fold(0.0, |sum: f32, term: f32| sum.mul_add(rest, term));
    // The last bits of `rounded` are the power, which belongs where a float has its exponent.
    let scale = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    if number < LOWEST { 0.0 } else { series * scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_right_to_six_digits() {
        for at in 0..87_000 {
            let number = at as f32 * -0.001;
            let exact = f64::from(number).exp();
            let off = (f64::from(exp(number)) - exact).abs() / exact;
            assert!(off < 3e-7, "e to {number} is off by {off}");
        }
        assert!(exp(f32::NEG_INFINITY).abs() < f32::MIN_POSITIVE);
        assert!((exp(0.0) - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn the_logarithm_of_a_sum_is_that_of_the_definition() {
        for count in [1, 15, 16, 1000] {
            let numbers: Vec<f32> = (0..count).map(|at| (at * 7919 % 997) as f32 / 40.0).collect();
            for factor in [1.0, 1.5] {
                let exact = numbers.iter().map(|&it| f64::from(it * factor).exp()).sum::<f64>();
                assert!((f64::from(log_sum_exp(&numbers, factor)) - exact.ln()).abs() < 1e-5);
            }
        }
        assert!(log_sum_exp(&[f32::NEG_INFINITY; 20], 1.0) < f32::MIN);
        assert!(log_sum_exp(&[f32::NEG_INFINITY, 0.0], 1.0).abs() < f32::MIN_POSITIVE);
        assert!(log_sum_exp(&[f32::NAN, 0.0], 1.0).is_nan());
    }
}
