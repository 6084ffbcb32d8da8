//! A row of weights times one token with AVX2. The layouts of the blocks are those of ggml-common.h:
//! block_q4_K, block_q5_K, block_q6_K.

// Intrinsics have names that nothing else has.
#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;

use super::super::{Block, Kind, Q4K_BYTES, Q5K_BYTES, Q6K_BYTES, ROWS, half};
use super::prefetch_ahead;

/// The products of sixteen rows.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dots(kind: Kind, rows: &[u8], token: &[Block], sums: &mut [f32]) {
    for (sum, row) in sums.iter_mut().zip(rows.chunks_exact(rows.len() / ROWS)) {
        *sum = match kind {
            Kind::Q4K => dot_q4k(row, token),
            Kind::Q5K => dot_q5k(row, token),
            Kind::Q6K => dot_q6k(row, token),
        };
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn dot_q4k(row: &[u8], token: &[Block]) -> f32 {
    let mut sum = _mm256_setzero_ps();
    for (packed, block) in row.as_chunks::<Q4K_BYTES>().0.iter().zip(token) {
        prefetch_ahead(packed);
        let (scales, lows) = scales_and_lows(&packed[4..16]);
        let mut whole = _mm256_setzero_si256();
        for (at, packed) in packed[16..].as_chunks::<32>().0.iter().enumerate() {
            let [first, second] = nibbles(packed);
            whole = add(whole, first, values(block, 2 * at), eighth(scales, 2 * at));
            whole = add(whole, second, values(block, 2 * at + 1), eighth(scales, 2 * at + 1));
        }
        sum = finish_with_lows(sum, whole, lows, packed, block);
    }
    total(sum)
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn dot_q5k(row: &[u8], token: &[Block]) -> f32 {
    let mut sum = _mm256_setzero_ps();
    for (packed, block) in row.as_chunks::<Q5K_BYTES>().0.iter().zip(token) {
        prefetch_ahead(packed);
        let (scales, lows) = scales_and_lows(&packed[4..16]);
        let mut fifths = bytes(&packed[16..48]);
        let mut whole = _mm256_setzero_si256();
        for (at, packed) in packed[48..].as_chunks::<32>().0.iter().enumerate() {
            let [first, second] = nibbles(packed);
            let bit = _mm256_set1_epi8(16);
            let fifth = _mm256_and_si256(_mm256_slli_epi16::<4>(fifths), bit);
            let first = _mm256_or_si256(first, fifth);
            let fifth = _mm256_and_si256(_mm256_slli_epi16::<3>(fifths), bit);
            let second = _mm256_or_si256(second, fifth);
            whole = add(whole, first, values(block, 2 * at), eighth(scales, 2 * at));
            whole = add(whole, second, values(block, 2 * at + 1), eighth(scales, 2 * at + 1));
            fifths = _mm256_srli_epi16::<2>(fifths);
        }
        sum = finish_with_lows(sum, whole, lows, packed, block);
    }
    total(sum)
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn dot_q6k(row: &[u8], token: &[Block]) -> f32 {
    let mut sum = _mm256_setzero_ps();
    for (packed, block) in row.as_chunks::<Q6K_BYTES>().0.iter().zip(token) {
        prefetch_ahead(packed);
        // SAFETY: there are sixteen bytes.
        let scales = unsafe { _mm_loadu_si128(packed[192..208].as_ptr().cast()) };
        let mut whole = _mm256_setzero_si256();
        for half in 0..2 {
            let low = &packed[64 * half..][..64];
            let high = bytes(&packed[128 + 32 * half..][..32]);
            let ([first, third], [second, fourth]) = (nibbles(&low[..32]), nibbles(&low[32..]));
            let top = _mm256_set1_epi8(48);
            let first = or_masked(first, _mm256_slli_epi16::<4>(high), top);
            let second = or_masked(second, _mm256_slli_epi16::<2>(high), top);
            let third = or_masked(third, high, top);
            let fourth = or_masked(fourth, _mm256_srli_epi16::<2>(high), top);
            let at = 4 * half;
            whole = add(whole, first, values(block, at), sixteenths(scales, at));
            whole = add(whole, second, values(block, at + 1), sixteenths(scales, at + 1));
            whole = add(whole, third, values(block, at + 2), sixteenths(scales, at + 2));
            whole = add(whole, fourth, values(block, at + 3), sixteenths(scales, at + 3));
        }
        let factor = half(&packed[208..]);
        let of_values = _mm256_set1_ps(factor * block.scale);
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), of_values, sum);
        // The values are 32 too high.
        let lows = _mm256_set1_ps(32.0 * factor);
        for (at, of_block) in block.sixteenths.as_chunks::<8>().0.iter().enumerate() {
            let scales = if at == 0 { scales } else { _mm_srli_si128::<8>(scales) };
            let scales = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(scales));
            // SAFETY: there are eight.
            let of_block = unsafe { _mm256_loadu_ps(of_block.as_ptr()) };
            sum = _mm256_fnmadd_ps(_mm256_mul_ps(scales, lows), of_block, sum);
        }
    }
    total(sum)
}

/// Adds the products of 32 weights and values, times their scales, to eight sums.
#[target_feature(enable = "avx2")]
#[inline]
fn add(sums: __m256i, weights: __m256i, values: __m256i, scales: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(weights, values);
    _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, scales))
}

/// The sum with what a block of two scales, `d` and `dmin`, adds to it.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn finish_with_lows(
    sum: __m256,
    whole: __m256i,
    lows: __m128i,
    packed: &[u8],
    block: &Block,
) -> __m256 {
    let scale = _mm256_set1_ps(half(packed) * block.scale);
    let sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), scale, sum);
    // SAFETY: there are eight.
    let eighths = unsafe { _mm256_loadu_ps(block.eighths.as_ptr()) };
    let lows = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(lows));
    let lows = _mm256_mul_ps(lows, _mm256_set1_ps(half(&packed[2..])));
    _mm256_fnmadd_ps(lows, eighths, sum)
}

/// The eight scales of 6 bits, as 16-bit numbers in both halves, and the eight lows, in bytes.
#[target_feature(enable = "avx2")]
#[inline]
fn scales_and_lows(packed: &[u8]) -> (__m256i, __m128i) {
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| packed[4 * at + byte]));
    let [first, second, third] = [word(0), word(1), word(2)];
    let (six, four, two) = (0x3f3f_3f3f, 0x0f0f_0f0f, 0x0303_0303);
    let scales = [first & six, third & four | (first >> 6 & two) << 4];
    let lows = [second & six, third >> 4 & four | (second >> 6 & two) << 4];
    let both = |[low, high]: [u32; 2]| i64::from(low) | i64::from(high) << 32;
    let scales = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(both(scales)));
    (_mm256_broadcastsi128_si256(scales), _mm_cvtsi64_si128(both(lows)))
}

/// One of eight 16-bit scales, for all values.
#[target_feature(enable = "avx2")]
#[inline]
fn eighth(scales: __m256i, at: usize) -> __m256i {
    let low = 2 * at as i16;
    _mm256_shuffle_epi8(scales, _mm256_set1_epi16(low | (low + 1) << 8))
}

/// Of sixteen scales in bytes, those of values from `32 * at`: one for each sixteen.
#[target_feature(enable = "avx2")]
#[inline]
fn sixteenths(scales: __m128i, at: usize) -> __m256i {
    let [first, second] = [2 * at as i64, 2 * at as i64 + 1].map(|it| it * 0x0101_0101_0101_0101);
    _mm256_cvtepi8_epi16(_mm_shuffle_epi8(scales, _mm_set_epi64x(second, first)))
}

/// The low and the high 4 bits of 32 bytes.
#[target_feature(enable = "avx2")]
#[inline]
fn nibbles(packed: &[u8]) -> [__m256i; 2] {
    let (packed, mask) = (bytes(packed), _mm256_set1_epi8(15));
    [_mm256_and_si256(packed, mask), _mm256_and_si256(_mm256_srli_epi16::<4>(packed), mask)]
}

#[target_feature(enable = "avx2")]
#[inline]
fn or_masked(low: __m256i, high: __m256i, mask: __m256i) -> __m256i {
    _mm256_or_si256(low, _mm256_and_si256(high, mask))
}

/// Values `32 * at` and what follows.
#[target_feature(enable = "avx2")]
#[inline]
fn values(block: &Block, at: usize) -> __m256i {
    let values = &block.quads[8 * at..][..8];
    // SAFETY: there are 32 bytes.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

/// The first 32 of `bytes`.
#[target_feature(enable = "avx2")]
#[inline]
fn bytes(bytes: &[u8]) -> __m256i {
    let bytes = &bytes[..32];
    // SAFETY: there are as many.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// The sum of eight numbers.
#[target_feature(enable = "avx2")]
#[inline]
fn total(sums: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps::<1>(sums));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}
