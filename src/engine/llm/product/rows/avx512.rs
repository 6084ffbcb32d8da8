//! A row of weights times one token with AVX-512.

// Intrinsics have names that nothing else has.
#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;

use super::super::unpack::{self, PAIRS, register};
use super::super::{Block, Kind, Q4K_BYTES, Q5K_BYTES, Q6K_BYTES, ROWS};
use super::prefetch_ahead;

/// The products of sixteen rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")]
pub(super) fn dots(kind: Kind, rows: &[u8], token: &[Block], sums: &mut [f32]) {
    for (sum, row) in sums.iter_mut().zip(rows.chunks_exact(rows.len() / ROWS)) {
        *sum = match kind {
            Kind::Q4K => dot_q4k(row, token),
            Kind::Q5K => dot_q5k(row, token),
            Kind::Q6K => dot_q6k(row, token),
        };
    }
}

/// Makes a function for one row of blocks with eight scales and eight lows. A macro and no function
/// that takes another: see `unpack`.
macro_rules! dot_with_lows {
    ($name:ident, $bytes:ident, $values:path) => {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")]
        #[inline]
        fn $name(row: &[u8], token: &[Block]) -> f32 {
            let mut sum = _mm512_setzero_ps();
            for (packed, block) in row.as_chunks::<$bytes>().0.iter().zip(token) {
                prefetch_ahead(packed);
                let mut weights = [_mm512_setzero_si512(); 4];
                for (at, weights) in weights.iter_mut().enumerate() {
                    *weights = $values(packed, at);
                }
                sum = add_with_lows(unpack::scales_and_lows(packed), weights, block, sum);
            }
            _mm512_reduce_add_ps(sum)
        }
    };
}

dot_with_lows!(dot_q4k, Q4K_BYTES, unpack::q4k);
dot_with_lows!(dot_q5k, Q5K_BYTES, unpack::q5k);

/// Adds the products of a block with eight scales and eight lows to `sum`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")]
#[inline]
fn add_with_lows(
    (scales, factors): (__m512i, __m512),
    weights: [__m512i; 4],
    block: &Block,
    sum: __m512,
) -> __m512 {
    let mut whole = _mm512_setzero_si512();
    for ((weights, values), which) in weights.into_iter().zip(values(block)).zip(&PAIRS) {
        let products = _mm512_dpbusd_epi32(_mm512_setzero_si512(), weights, values);
        let scales = _mm512_permutexvar_epi32(register(which), scales);
        whole = _mm512_add_epi32(whole, _mm512_mullo_epi32(products, scales));
    }
    let scale = _mm512_castps512_ps128(factors);
    let scale = _mm512_mul_ps(_mm512_broadcastss_ps(scale), _mm512_set1_ps(block.scale));
    let sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, sum);
    // The lows stand in the upper half; the lower takes part with zeros.
    // SAFETY: there are eight sums, on a multiple of 32.
    let eighths = unsafe { _mm256_load_ps(block.eighths.as_ptr()) };
    let eighths = _mm512_maskz_broadcast_f32x8(0xff00, eighths);
    _mm512_fnmadd_ps(unpack::product((scales, factors)), eighths, sum)
}

/// One row of ggml's block_q6_K.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")]
#[inline]
fn dot_q6k(row: &[u8], token: &[Block]) -> f32 {
    /// Which scale each sum of four values takes, in the first register; 4 more in the next.
    const WHICH: [i32; 16] = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3];
    let mut sum = _mm512_setzero_ps();
    for (packed, block) in row.as_chunks::<Q6K_BYTES>().0.iter().zip(token) {
        prefetch_ahead(packed);
        let (scales, factor) = unpack::scales(packed);
        let mut whole = _mm512_setzero_si512();
        let mut which = register(&WHICH);
        for (at, values) in values(block).into_iter().enumerate() {
            let weights = unpack::q6k(packed, at);
            let products = _mm512_dpbusd_epi32(_mm512_setzero_si512(), weights, values);
            let scales = _mm512_permutexvar_epi32(which, scales);
            whole = _mm512_add_epi32(whole, _mm512_mullo_epi32(products, scales));
            which = _mm512_add_epi32(which, register(&[4; 16]));
        }
        let of_values = _mm512_mul_ps(factor, _mm512_set1_ps(block.scale));
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), of_values, sum);
        // The values are 32 too high.
        let lows = _mm512_mul_ps(unpack::product((scales, factor)), _mm512_set1_ps(32.0));
        // SAFETY: there are sixteen sums, on a multiple of 64.
        let sixteenths = unsafe { _mm512_load_ps(block.sixteenths.as_ptr()) };
        sum = _mm512_fnmadd_ps(lows, sixteenths, sum);
    }
    _mm512_reduce_add_ps(sum)
}

/// The values of a block, 64 in each of four registers.
#[target_feature(enable = "avx512f")]
#[inline]
fn values(block: &Block) -> [__m512i; 4] {
    let mut values = [_mm512_setzero_si512(); 4];
    for (values, quads) in values.iter_mut().zip(block.quads.as_chunks::<16>().0) {
        // SAFETY: there are 64, on a multiple of 64.
        *values = unsafe { _mm512_load_si512(quads.as_ptr().cast()) };
    }
    values
}
