//! Blocks of ggml's K types in AVX-512 registers: 256 values in their order, 64 in each register,
//! and their scales. The layouts are those of ggml-common.h: block_q4_K, block_q5_K, block_q6_K.
//!
//! No closures that hold registers: handed to a function without AVX-512, such as `map` of an array,
//! they are not compiled into it, and every register goes through memory.

// Intrinsics have names that nothing else has.
#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;

use super::{Q4K_BYTES, Q5K_BYTES, Q6K_BYTES};

/// Sixteen numbers of which the first eight are `first` and the others `second`.
pub(super) const fn two(first: i32, second: i32) -> [i32; 16] {
    let mut all = [first; 16];
    let mut at = 8;
    while at < 16 {
        all[at] = second;
        at += 1;
    }
    all
}

/// `numbers` in a register.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn register(numbers: &[i32; 16]) -> __m512i {
    // SAFETY: there are 64 bytes.
    unsafe { _mm512_loadu_si512(numbers.as_ptr().cast()) }
}

/// For each 64 of 256 values, the numbers of their two parts.
pub(super) const PAIRS: [[i32; 16]; 4] = [two(0, 1), two(2, 3), two(4, 5), two(6, 7)];

/// The first 32 bytes of `bytes` twice, shifted to the right by so many bits as `shifts` says. Bits
/// of the next byte may stand above.
#[target_feature(enable = "avx512f")]
#[inline]
fn twice(bytes: &[u8], shifts: &[i32; 16]) -> __m512i {
    let bytes = &bytes[..32];
    // SAFETY: there are 32 bytes.
    let once = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
    _mm512_srlv_epi32(_mm512_broadcast_i64x4(once), register(shifts))
}

/// Values of 4 bits: of the four times 64, those `at`.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
pub(super) fn q4k(block: &[u8; Q4K_BYTES], at: usize) -> __m512i {
    nibbles(&block[16 + 32 * at..])
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn nibbles(bytes: &[u8]) -> __m512i {
    _mm512_and_si512(twice(bytes, &const { two(0, 4) }), _mm512_set1_epi8(15))
}

/// As [`q4k`], of 5 bits.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
pub(super) fn q5k(block: &[u8; Q5K_BYTES], at: usize) -> __m512i {
    // The fifth bit of each 32 values has a place of its own in the bytes before the others.
    let fifth = _mm512_and_si512(twice(&block[16..], &PAIRS[at]), _mm512_set1_epi8(1));
    _mm512_or_si512(nibbles(&block[48 + 32 * at..]), _mm512_slli_epi16(fifth, 4))
}

/// As [`q4k`], of 6 bits; the values are 32 too high.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
pub(super) fn q6k(block: &[u8; Q6K_BYTES], at: usize) -> __m512i {
    let half = at / 2;
    let low = &block[half * 64..][..64];
    // SAFETY: there are 64 bytes.
    let low = unsafe { _mm512_loadu_si512(low.as_ptr().cast()) };
    let (low, places) = if at.is_multiple_of(2) {
        (low, const { two(0, 2) })
    } else {
        (_mm512_srli_epi16(low, 4), const { two(4, 6) })
    };
    let low = _mm512_and_si512(low, _mm512_set1_epi8(15));
    let high = twice(&block[128 + half * 32..], &places);
    let high = _mm512_and_si512(high, _mm512_set1_epi8(3));
    _mm512_or_si512(low, _mm512_slli_epi16(high, 4))
}

/// Of Q4_K and Q5_K: whole numbers for eight scales and eight lows, and what to multiply them by.
#[target_feature(enable = "avx512f,f16c")]
#[inline]
pub(super) fn scales_and_lows(block: &[u8]) -> (__m512i, __m512) {
    let word =
        |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    // 6 bits each in three words.
    let (first, second, third) = (word(4), word(8), word(12));
    let bytes = [
        first & 0x3f3f_3f3f,
        third & 0x0f0f_0f0f | (first >> 6 & 0x0303_0303) << 4,
        second & 0x3f3f_3f3f,
        third >> 4 & 0x0f0f_0f0f | (second >> 6 & 0x0303_0303) << 4,
    ]
    .map(u32::cast_signed);
    let whole = _mm512_cvtepu8_epi32(_mm_set_epi32(bytes[3], bytes[2], bytes[1], bytes[0]));
    let both = _mm_cvtph_ps(_mm_cvtsi32_si128(word(0).cast_signed()));
    let (scale, low) = (both, _mm_movehdup_ps(both));
    let factors =
        _mm512_mask_blend_ps(0xff00, _mm512_broadcastss_ps(scale), _mm512_broadcastss_ps(low));
    (whole, factors)
}

/// Of Q6_K: whole numbers for sixteen scales, and what to multiply them by.
#[target_feature(enable = "avx512f,f16c")]
#[inline]
pub(super) fn scales(block: &[u8]) -> (__m512i, __m512) {
    // SAFETY: there are sixteen bytes.
    let whole = unsafe { _mm_loadu_si128(block[192..208].as_ptr().cast()) };
    let scale = u16::from_le_bytes([block[208], block[209]]);
    let scale = _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(scale)));
    (_mm512_cvtepi8_epi32(whole), _mm512_broadcastss_ps(scale))
}

/// The product of what [`scales_and_lows`] and [`scales`] give.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn product((whole, factors): (__m512i, __m512)) -> __m512 {
    _mm512_mul_ps(_mm512_cvtepi32_ps(whole), factors)
}
