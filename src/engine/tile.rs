//! Products of 32-bit floats, sixteen outputs and up to twelve rows of numbers at a time.
//!
//! Called by `marian` and `whisper`, which lay their weights out for it.

// Intrinsics have names that nothing else has.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;

/// Outputs of a panel: the weights of sixteen outputs for one input, then for the next.
pub(super) const LANES: usize = 16;

/// Most rows at once: with weights and a value their sums just fit into the registers.
pub(super) const MOST: usize = 12;

/// Products of sixteen outputs with some rows.
pub(super) type Sums = [[f32; LANES]; MOST];

/// Writes the `rows`, each as long as the first, so that the first numbers of all stand together,
/// then the second of all, and so on, with `room` places for each. One after the other, they would
/// lie at distances at which they drive each other from the cache. Places without a row stay as
/// they are.
pub(super) fn interleave<'a>(
    rows: impl Iterator<Item = &'a [f32]>,
    room: usize,
    numbers: &mut [f32],
) {
    for (place, row) in rows.enumerate() {
        for (to, &from) in numbers.chunks_exact_mut(room).zip(row) {
            to[place] = from;
        }
    }
}

/// Adds the products of a panel's weights with the numbers of [interleaved](interleave) rows to
/// `sums`. `room` is 4, 8 or 12.
pub(super) fn add_products(panel: &[[f32; LANES]], numbers: &[f32], room: usize, sums: &mut Sums) {
    #[cfg(target_arch = "x86_64")]
    {
        let fma = is_x86_feature_detected!("fma");
        if fma && is_x86_feature_detected!("avx512f") {
            // SAFETY (here and below): the processor has the instructions.
            return match room {
                4 => unsafe { avx512::<4>(panel, numbers, sums) },
                8 => unsafe { avx512::<8>(panel, numbers, sums) },
                _ => unsafe { avx512::<MOST>(panel, numbers, sums) },
            };
        }
        if fma && is_x86_feature_detected!("avx2") {
            return match room {
                4 => unsafe { avx2::<4, 4>(panel, numbers, sums) },
                8 => unsafe { avx2::<8, 4>(panel, numbers, sums) },
                _ => unsafe { avx2::<MOST, 6>(panel, numbers, sums) },
            };
        }
    }
    portable(panel, numbers, room, sums);
}

fn portable(panel: &[[f32; LANES]], numbers: &[f32], room: usize, sums: &mut Sums) {
    for (weights, numbers) in panel.iter().zip(numbers.chunks_exact(room)) {
        for (sums, number) in sums.iter_mut().zip(numbers) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += weight * number;
            }
        }
    }
}

/// As [`portable`], with room for `T` rows.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512<const T: usize>(panel: &[[f32; LANES]], numbers: &[f32], sums: &mut Sums) {
    let mut lanes = [_mm512_setzero_ps(); T];
    // SAFETY (here and below): rows of panels and sums have sixteen numbers.
    for (lanes, sums) in lanes.iter_mut().zip(sums.iter()) {
        *lanes = unsafe { _mm512_loadu_ps(sums.as_ptr()) };
    }
    for (weights, numbers) in panel.iter().zip(numbers.as_chunks::<T>().0) {
        let weights = unsafe { _mm512_loadu_ps(weights.as_ptr()) };
        for (lanes, &number) in lanes.iter_mut().zip(numbers) {
            *lanes = _mm512_fmadd_ps(weights, _mm512_set1_ps(number), *lanes);
        }
    }
    for (lanes, sums) in lanes.iter().zip(sums) {
        unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), *lanes) };
    }
}

/// As [`avx512`], `G` rows after the other `G`: there are half as many registers, of half the size.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<const T: usize, const G: usize>(panel: &[[f32; LANES]], numbers: &[f32], sums: &mut Sums) {
    for (group, sums) in sums.as_chunks_mut::<G>().0.iter_mut().enumerate().take(T / G) {
        let mut lanes = [[_mm256_setzero_ps(); 2]; G];
        // SAFETY (here and below): rows of panels and sums have sixteen numbers.
        for (lanes, sums) in lanes.iter_mut().zip(sums.iter()) {
            let sums = sums.as_ptr();
            *lanes = unsafe { [_mm256_loadu_ps(sums), _mm256_loadu_ps(sums.add(8))] };
        }
        for (weights, numbers) in panel.iter().zip(numbers.as_chunks::<T>().0) {
            let weights = weights.as_ptr();
            let weights = unsafe { [_mm256_loadu_ps(weights), _mm256_loadu_ps(weights.add(8))] };
            for (lanes, &number) in lanes.iter_mut().zip(&numbers.as_chunks::<G>().0[group]) {
                let number = _mm256_set1_ps(number);
                lanes[0] = _mm256_fmadd_ps(weights[0], number, lanes[0]);
                lanes[1] = _mm256_fmadd_ps(weights[1], number, lanes[1]);
            }
        }
        for (lanes, sums) in lanes.iter().zip(sums) {
            let sums = sums.as_mut_ptr();
            unsafe {
                _mm256_storeu_ps(sums, lanes[0]);
                _mm256_storeu_ps(sums.add(8), lanes[1]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_processor_has_the_same_products() {
        let number = |at: usize| (at * 7919 % 997) as f32 / 498.0 - 1.0;
        let inputs = 40;
        let panel: Vec<[f32; LANES]> =
            (0..inputs).map(|at| std::array::from_fn(|lane| number(at * LANES + lane))).collect();
        let before: [f32; LANES] = std::array::from_fn(|lane| lane as f32);
        for (count, room) in [(1, 4), (4, 4), (7, 8), (12, 12)] {
            let rows: Vec<f32> = (0..count * inputs).map(|at| number(at + 3)).collect();
            let mut numbers = vec![0.0; room * inputs];
            interleave(rows.chunks(inputs), room, &mut numbers);
            let mut exact = [before; MOST];
            portable(&panel, &numbers, room, &mut exact);
            for (row, sums) in rows.chunks(inputs).zip(&exact) {
                let sum: f32 = row.iter().zip(&panel).map(|(a, weights)| a * weights[5]).sum();
                assert!((sums[5] - sum - 5.0).abs() < 1e-4);
            }
            let check = |sums: &Sums| {
                for (sum, exact) in sums.iter().flatten().zip(exact.iter().flatten()) {
                    assert!((sum - exact).abs() < 1e-4, "{sum} and {exact}");
                }
            };
            let mut sums = [before; MOST];
            add_products(&panel, &numbers, room, &mut sums);
            check(&sums);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                let mut sums = [before; MOST];
                // SAFETY: the processor has the instructions.
                match room {
                    4 => unsafe { avx2::<4, 4>(&panel, &numbers, &mut sums) },
                    8 => unsafe { avx2::<8, 4>(&panel, &numbers, &mut sums) },
                    _ => unsafe { avx2::<12, 6>(&panel, &numbers, &mut sums) },
                }
                check(&sums);
            }
        }
    }
}
