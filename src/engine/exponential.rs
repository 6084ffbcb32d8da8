//! Functions made of exponentials, many numbers at a time: with the C library's exponential, one
//! after the other, choosing a token takes as long as Marian's network.
//!
//! Called by `marian` and `llm`, which choose tokens, and by `whisper`.

// Functions are compiled into others that may use the instructions of newer processors.
#![allow(clippy::inline_always)]

use std::f32::consts::LOG2_E;

/// Numbers that are computed with at once.
const LANES: usize = 16;

/// Compiles `$body` for AVX-512, for AVX2 and for any processor, and lets the best one work.
macro_rules! on_any_processor {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? = $body:ident) => {
        $(#[$doc])*
        pub(super) fn $name($($arg: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,fma")]
                fn avx512($($arg: $type),*) $(-> $result)? {
                    $body($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $type),*) $(-> $result)? {
                    $body($($arg),*)
                }
                let fma = is_x86_feature_detected!("fma");
                if fma && is_x86_feature_detected!("avx512f") {
                    // SAFETY: the processor has it.
                    return unsafe { avx512($($arg),*) };
                }
                if fma && is_x86_feature_detected!("avx2") {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body($($arg),*)
        }
    };
}

on_any_processor! {
    /// The logarithm of the sum of e to the power of `factor` times each number; minus infinity
    /// where all are that. `factor` is above 0.
    fn log_sum_exp(numbers: &[f32], factor: f32) -> f32 = of_sum
}

on_any_processor! {
    /// The softmax of each column, but for the division by its sum, which is given back. Each
    /// column has `zeros` more numbers, all 0, that are not in `rows`.
    fn softmax_of_columns(rows: &mut [[f32; LANES]], zeros: usize) -> [f32; LANES] = of_columns
}

on_any_processor! {
    /// Each number times the share of a normal distribution that is below it, as the hyperbolic
    /// tangent gives it nearly (Hendrycks and Gimpel, arXiv:1606.08415).
    fn gelu(numbers: &mut [f32]) = of_gelu
}

#[inline(always)]
fn of_sum(numbers: &[f32], factor: f32) -> f32 {
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

#[inline(always)]
fn of_columns(rows: &mut [[f32; LANES]], zeros: usize) -> [f32; LANES] {
    let mut highest = [if zeros > 0 { 0.0 } else { f32::NEG_INFINITY }; LANES];
    for row in rows.iter() {
        for (highest, &number) in highest.iter_mut().zip(row) {
            *highest = if number > *highest { number } else { *highest };
        }
    }
    let mut sums =
        highest.map(|highest| if zeros > 0 { zeros as f32 * exp(-highest) } else { 0.0 });
    for row in rows {
        for ((number, sum), highest) in row.iter_mut().zip(&mut sums).zip(&highest) {
            *number = exp(*number - highest);
            *sum += *number;
        }
    }
    sums
}

#[inline(always)]
fn of_gelu(numbers: &mut [f32]) {
    /// Twice the root of 2 by pi.
    const SLOPE: f32 = 1.595_769;
    for number in numbers {
        let x = *number;
        let y = SLOPE * x * (x * x).mul_add(0.044_715, 1.0);
        let low = exp(-y.abs());
        let above = if y < 0.0 { low } else { 1.0 };
        *number = x * above / (1.0 + low);
    }
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
    fn the_softmax_of_columns_is_that_of_the_definition() {
        for (count, zeros) in [(1, 0), (40, 0), (40, 7)] {
            // The first column's are all below the zeros.
            let number = |row: usize, column: usize| match column {
                0 => -1.0 - row as f32 % 3.0,
                _ => (row * 31 + column * 7) as f32 % 11.0 - 5.0,
            };
            let rows: Vec<[f32; LANES]> =
                (0..count).map(|row| std::array::from_fn(|column| number(row, column))).collect();
            let mut found = rows.clone();
            let sums = softmax_of_columns(&mut found, zeros);
            for column in 0..LANES {
                let all: f64 = rows.iter().map(|row| f64::from(row[column]).exp()).sum();
                for (row, found) in rows.iter().zip(&found) {
                    let exact = f64::from(row[column]).exp() / (all + zeros as f64);
                    assert!((f64::from(found[column] / sums[column]) - exact).abs() < 1e-6);
                }
            }
        }
    }

    #[test]
    fn gelu_is_that_of_the_definition() {
        let numbers: Vec<f32> = (-600..600).map(|at| at as f32 * 0.02).collect();
        let mut found = numbers.clone();
        gelu(&mut found);
        for (&x, found) in numbers.iter().zip(found) {
            let x = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            assert!((f64::from(found) - 0.5 * x * (1.0 + inner.tanh())).abs() < 2e-6, "of {x}");
        }
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
