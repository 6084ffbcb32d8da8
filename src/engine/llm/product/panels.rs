//! Several tokens at once: sixteen rows of 256 weights at a time are unpacked into a panel, which
//! stays in the fastest cache while all tokens are multiplied by it. That costs a twentieth of the
//! time for a hundred tokens, and saves the rearranged copy that candle keeps of all weights
//! (1.1 GB for Qwen2.5-1.5B).

// Intrinsics have names that nothing else has.
#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;

use candle_core::utils::barrier_pool;

use super::unpack;
use super::{
    BLOCK, Block, Kind, PARTS, Processor, Q4K_BYTES, Q5K_BYTES, Q6K_BYTES, QUADS, ROWS, Tokens,
    Weights, half, prefetch,
};
use crate::engine::disjoint::Disjoint;

/// Sixteen rows of 256 weights. A weight is `scale * value - low`.
#[repr(C, align(64))]
struct Panel {
    /// Four neighbours of each row, without sign.
    quads: [[[u8; 4]; ROWS]; QUADS],
    scales: [[f32; ROWS]; PARTS],
    lows: [[f32; ROWS]; PARTS],
}

impl Panel {
    const ZERO: Self = Self {
        quads: [[[0; 4]; ROWS]; QUADS],
        scales: [[0.0; ROWS]; PARTS],
        lows: [[0.0; ROWS]; PARTS],
    };

    /// As [`Panel::fill`], sixteen rows at a time.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")]
    fn fill_wide(&mut self, kind: Kind, rows: &[u8], row_bytes: usize, at: usize) {
        // A macro and no closure: see `unpack`.
        macro_rules! fill_quads {
            ($bytes:ident, $values:path) => {{
                let blocks = blocks::<$bytes>(rows, row_bytes, at);
                for (part, quads) in self.quads.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                    let mut values = [_mm512_setzero_si512(); ROWS];
                    for (values, block) in values.iter_mut().zip(blocks) {
                        *values = $values(block, part);
                    }
                    store(&transpose(&values), quads);
                }
            }};
        }
        match kind {
            Kind::Q4K => fill_quads!(Q4K_BYTES, unpack::q4k),
            Kind::Q5K => fill_quads!(Q5K_BYTES, unpack::q5k),
            Kind::Q6K => fill_quads!(Q6K_BYTES, unpack::q6k),
        }
        let mut scales = [_mm512_setzero_si512(); ROWS];
        for (row, scales) in scales.iter_mut().enumerate() {
            let bytes = kind.block_bytes();
            let block = &rows[row * row_bytes + at * bytes..][..bytes];
            *scales = _mm512_castps_si512(unpack::product(match kind {
                Kind::Q4K | Kind::Q5K => unpack::scales_and_lows(block),
                Kind::Q6K => unpack::scales(block),
            }));
        }
        let scales = transpose(&scales);
        let parts = if kind == Kind::Q6K { PARTS } else { PARTS / 2 };
        for part in 0..parts {
            let scale = _mm512_castsi512_ps(scales[part]);
            let low = match kind {
                Kind::Q4K | Kind::Q5K => _mm512_castsi512_ps(scales[part + parts]),
                // The values are 32 too high.
                Kind::Q6K => _mm512_mul_ps(scale, _mm512_set1_ps(32.0)),
            };
            // SAFETY: there are 64 bytes, on a multiple of 64.
            unsafe {
                _mm512_store_ps(self.scales[part].as_mut_ptr(), scale);
                _mm512_store_ps(self.lows[part].as_mut_ptr(), low);
            }
        }
    }

    /// Unpacks the block at `at` of each of sixteen rows; `rows` has `row_bytes` for each.
    #[target_feature(enable = "avx2,fma,f16c")]
    fn fill(&mut self, kind: Kind, rows: &[u8], row_bytes: usize, at: usize) {
        let bytes = kind.block_bytes();
        let mut values = [0; BLOCK];
        for row in 0..ROWS {
            let block = &rows[row * row_bytes + at * bytes..][..bytes];
            match kind {
                Kind::Q4K => self.fill_q4k(block, row, &mut values),
                Kind::Q5K => self.fill_q5k(block, row, &mut values),
                Kind::Q6K => self.fill_q6k(block, row, &mut values),
            }
            for (to, &from) in self.quads.iter_mut().zip(values.as_chunks::<4>().0) {
                to[row] = from;
            }
        }
    }

    /// Scales and lows of 6 bits for eight parts, which Q4_K and Q5_K have in common.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    fn fill_scales(&mut self, block: &[u8], row: usize) {
        let (scale, low) = (half(&block[0..]), half(&block[2..]));
        let packed = &block[4..16];
        for part in 0..8 {
            let (of_scale, of_low) = if part < 4 {
                (packed[part] & 63, packed[part + 4] & 63)
            } else {
                (
                    packed[part + 4] & 15 | packed[part - 4] >> 6 << 4,
                    packed[part + 4] >> 4 | packed[part] >> 6 << 4,
                )
            };
            self.scales[part][row] = scale * f32::from(of_scale);
            self.lows[part][row] = low * f32::from(of_low);
        }
    }

    /// ggml's block_q4_K: two scales, scales of eight parts, 4 bits for each value.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    fn fill_q4k(&mut self, block: &[u8], row: usize, values: &mut [u8; BLOCK]) {
        self.fill_scales(block, row);
        let packed = block[16..].as_chunks::<32>().0;
        for (to, from) in values.as_chunks_mut::<64>().0.iter_mut().zip(packed) {
            for (at, &both) in from.iter().enumerate() {
                to[at] = both & 15;
                to[at + 32] = both >> 4;
            }
        }
    }

    /// ggml's block_q5_K: as block_q4_K, with the fifth bits of all values before the four.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    fn fill_q5k(&mut self, block: &[u8], row: usize, values: &mut [u8; BLOCK]) {
        self.fill_scales(block, row);
        let fifth = &block[16..48];
        let packed = block[48..].as_chunks::<32>().0;
        let chunks = values.as_chunks_mut::<64>().0.iter_mut().zip(packed);
        for (chunk, (to, from)) in chunks.enumerate() {
            for (at, &both) in from.iter().enumerate() {
                let bits = fifth[at] >> (2 * chunk);
                to[at] = both & 15 | (bits & 1) << 4;
                to[at + 32] = both >> 4 | (bits >> 1 & 1) << 4;
            }
        }
    }

    /// ggml's block_q6_K: low 4 bits, high 2 bits, scales of sixteen parts, one scale of those;
    /// values are 32 too high.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    fn fill_q6k(&mut self, block: &[u8], row: usize, values: &mut [u8; BLOCK]) {
        let scale = half(&block[208..]);
        for (part, &of_scale) in block[192..208].iter().enumerate() {
            let scale = scale * f32::from(of_scale.cast_signed());
            self.scales[part][row] = scale;
            self.lows[part][row] = 32.0 * scale;
        }
        for (second, to) in values.as_chunks_mut::<128>().0.iter_mut().enumerate() {
            let low = &block[second * 64..][..64];
            let high = &block[128 + second * 32..][..32];
            for (at, &bits) in high.iter().enumerate() {
                to[at] = low[at] & 15 | (bits & 3) << 4;
                to[at + 32] = low[at + 32] & 15 | (bits >> 2 & 3) << 4;
                to[at + 64] = low[at] >> 4 | (bits >> 4 & 3) << 4;
                to[at + 96] = low[at + 32] >> 4 | (bits >> 6) << 4;
            }
        }
    }
}

/// The block at `at` of each of sixteen rows.
#[inline]
fn blocks<const BYTES: usize>(rows: &[u8], row_bytes: usize, at: usize) -> [&[u8; BYTES]; ROWS] {
    std::array::from_fn(|row| &rows[row * row_bytes..][..row_bytes].as_chunks().0[at])
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(columns: &[__m512i; 16], quads: &mut [[[u8; 4]; ROWS]; 16]) {
    for (quad, column) in quads.iter_mut().zip(columns) {
        // SAFETY: there are 64 bytes.
        unsafe { _mm512_storeu_si512(quad.as_mut_ptr().cast(), *column) };
    }
}

/// Makes columns of sixteen rows of sixteen numbers of 32 bits.
#[target_feature(enable = "avx512f")]
#[inline]
fn transpose(rows: &[__m512i; 16]) -> [__m512i; 16] {
    let mut pairs = *rows;
    for (pairs, rows) in pairs.as_chunks_mut::<2>().0.iter_mut().zip(rows.as_chunks::<2>().0) {
        let [a, b] = *rows;
        *pairs = [_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)];
    }
    let mut fours = pairs;
    for (fours, pairs) in fours.as_chunks_mut::<4>().0.iter_mut().zip(pairs.as_chunks::<4>().0) {
        let [a, b, c, d] = *pairs;
        *fours = [
            _mm512_unpacklo_epi64(a, c),
            _mm512_unpackhi_epi64(a, c),
            _mm512_unpacklo_epi64(b, d),
            _mm512_unpackhi_epi64(b, d),
        ];
    }
    // Each quarter of a register now holds four numbers of one column.
    let mut columns = fours;
    for at in 0..4 {
        let (a, b, c, d) = (fours[at], fours[at + 4], fours[at + 8], fours[at + 12]);
        let even = [_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(c, d, 0x88)];
        let odd = [_mm512_shuffle_i32x4(a, b, 0xdd), _mm512_shuffle_i32x4(c, d, 0xdd)];
        columns[at] = _mm512_shuffle_i32x4(even[0], even[1], 0x88);
        columns[at + 4] = _mm512_shuffle_i32x4(odd[0], odd[1], 0x88);
        columns[at + 8] = _mm512_shuffle_i32x4(even[0], even[1], 0xdd);
        columns[at + 12] = _mm512_shuffle_i32x4(odd[0], odd[1], 0xdd);
    }
    columns
}

/// Has the block at `at` of sixteen rows brought near, for the panel after this one: sixteen places
/// far from each other are more than the processor foresees.
fn fetch(kind: Kind, rows: &[u8], row_bytes: usize, at: usize) {
    let bytes = kind.block_bytes();
    for row in rows.chunks_exact(row_bytes).take(ROWS) {
        for line in row[at * bytes..][..bytes].chunks(64) {
            prefetch(line.as_ptr());
        }
    }
}

/// One sum for each row of a panel.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Sums([f32; ROWS]);

/// `tokens` times the matrix: (tokens, outputs).
///
/// # Panics
/// When the shapes do not fit.
pub(in crate::engine::llm) fn multiply(weights: Weights<'_>, tokens: &Tokens) -> Vec<f32> {
    let processor = Processor::this().expect("`Tokens::new` has asked");
    multiply_on(processor, weights, tokens)
}

/// As [`multiply`], for a processor that can do as much or less than this one.
pub(super) fn multiply_on(processor: Processor, weights: Weights<'_>, tokens: &Tokens) -> Vec<f32> {
    let (kind, outputs, count) = (weights.kind, weights.outputs, tokens.count);
    let row_bytes = weights.row_bytes(tokens);
    let mut products = vec![0.0; count * outputs];
    let shared = Disjoint(products.as_mut_ptr());
    barrier_pool().execute_chunked(outputs / ROWS, |panels| {
        let mut panel = Panel::ZERO;
        let mut sums = vec![Sums([0.0; ROWS]); count];
        for at in panels {
            let rows = weights.rows(at, row_bytes);
            let next = weights.bytes.get((at + 1) * ROWS * row_bytes..).unwrap_or_default();
            sums.fill(Sums([0.0; ROWS]));
            for (number, blocks) in tokens.blocks.chunks_exact(count).enumerate() {
                // SAFETY: the processor can do what `processor` says.
                unsafe {
                    fetch(kind, next, row_bytes, number);
                    match processor {
                        Processor::Avx512 => panel.fill_wide(kind, rows, row_bytes, number),
                        Processor::Avx2 => panel.fill(kind, rows, row_bytes, number),
                    }
                    match (processor, kind) {
                        (Processor::Avx512, Kind::Q6K) => avx512::<16>(&panel, blocks, &mut sums),
                        (Processor::Avx512, _) => avx512::<8>(&panel, blocks, &mut sums),
                        (Processor::Avx2, Kind::Q4K) => avx2::<8, 8>(&panel, blocks, &mut sums),
                        (Processor::Avx2, Kind::Q5K) => avx2::<8, 4>(&panel, blocks, &mut sums),
                        (Processor::Avx2, Kind::Q6K) => avx2::<16, 2>(&panel, blocks, &mut sums),
                    }
                }
            }
            for (token, sums) in sums.iter().enumerate() {
                // SAFETY: the place lies within `products`, and only this panel writes there.
                let to = unsafe { shared.part(token * outputs + at * ROWS, ROWS) };
                to.copy_from_slice(&sums.0);
            }
        }
    });
    products
}

/// Adds the products of a panel and one block of each token to `sums`. `P` parts have scales.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn avx512<const P: usize>(panel: &Panel, blocks: &[Block], sums: &mut [Sums]) {
    // Eight tokens at once: enough sums in flight to hide how long one instruction takes.
    let (many, rest) = blocks.as_chunks::<8>();
    let (sums_of_many, sums_of_rest) = sums.as_chunks_mut::<8>();
    for (blocks, sums) in many.iter().zip(sums_of_many) {
        avx512_tokens::<P, 8>(panel, blocks, sums);
    }
    for (block, sum) in rest.iter().zip(sums_of_rest) {
        avx512_tokens::<P, 1>(panel, std::array::from_ref(block), std::array::from_mut(sum));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn avx512_tokens<const P: usize, const T: usize>(
    panel: &Panel,
    blocks: &[Block; T],
    sums: &mut [Sums; T],
) {
    let mut scaled: [__m512; T] = [_mm512_setzero_ps(); T];
    let mut lowered: [__m512; T] = [_mm512_setzero_ps(); T];
    // SAFETY (here and below): sums and rows of a panel are 64 bytes on multiples of 64.
    for (lowered, sums) in lowered.iter_mut().zip(sums.iter()) {
        *lowered = unsafe { _mm512_load_ps(sums.0.as_ptr()) };
    }
    for part in 0..P {
        let mut whole: [__m512i; T] = [_mm512_setzero_si512(); T];
        for quad in part * QUADS / P..(part + 1) * QUADS / P {
            let weights = unsafe { _mm512_load_si512(panel.quads[quad].as_ptr().cast()) };
            for (whole, block) in whole.iter_mut().zip(blocks) {
                let values = i32::from_ne_bytes(block.quads[quad].map(i8::cast_unsigned));
                *whole = _mm512_dpbusd_epi32(*whole, weights, _mm512_set1_epi32(values));
            }
        }
        let scale = unsafe { _mm512_load_ps(panel.scales[part].as_ptr()) };
        let low = unsafe { _mm512_load_ps(panel.lows[part].as_ptr()) };
        for token in 0..T {
            scaled[token] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole[token]), scale, scaled[token]);
            let sum = _mm512_set1_ps(part_sum::<P>(&blocks[token], part));
            lowered[token] = _mm512_fnmadd_ps(low, sum, lowered[token]);
        }
    }
    for token in 0..T {
        let scale = _mm512_set1_ps(blocks[token].scale);
        let sum = _mm512_fmadd_ps(scaled[token], scale, lowered[token]);
        unsafe { _mm512_store_ps(sums[token].0.as_mut_ptr(), sum) };
    }
}

/// As [`avx512`]. `S` products of a pair of weights and values can be added in 16 bits.
#[target_feature(enable = "avx2,fma")]
fn avx2<const P: usize, const S: usize>(panel: &Panel, blocks: &[Block], sums: &mut [Sums]) {
    let (many, rest) = blocks.as_chunks::<4>();
    let (sums_of_many, sums_of_rest) = sums.as_chunks_mut::<4>();
    for half in 0..2 {
        for (blocks, sums) in many.iter().zip(sums_of_many.iter_mut()) {
            avx2_tokens::<P, S, 4>(panel, half, blocks, sums);
        }
        for (block, sum) in rest.iter().zip(sums_of_rest.iter_mut()) {
            let (block, sum) = (std::array::from_ref(block), std::array::from_mut(sum));
            avx2_tokens::<P, S, 1>(panel, half, block, sum);
        }
    }
}

/// Does eight of the sixteen rows: the first or the second `half`.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn avx2_tokens<const P: usize, const S: usize, const T: usize>(
    panel: &Panel,
    half: usize,
    blocks: &[Block; T],
    sums: &mut [Sums; T],
) {
    let from = half * ROWS / 2;
    let mut scaled: [__m256; T] = [_mm256_setzero_ps(); T];
    let mut lowered: [__m256; T] = [_mm256_setzero_ps(); T];
    // SAFETY (here and below): halves of sums and of a panel's rows are 32 bytes on multiples
    // of 32.
    for (lowered, sums) in lowered.iter_mut().zip(sums.iter()) {
        *lowered = unsafe { _mm256_load_ps(sums.0[from..].as_ptr()) };
    }
    let ones = _mm256_set1_epi16(1);
    for part in 0..P {
        let mut whole: [__m256i; T] = [_mm256_setzero_si256(); T];
        for first in (part * QUADS / P..(part + 1) * QUADS / P).step_by(S) {
            let mut pairs: [__m256i; T] = [_mm256_setzero_si256(); T];
            for quad in first..first + S {
                let weights =
                    unsafe { _mm256_load_si256(panel.quads[quad][from..].as_ptr().cast()) };
                for (pairs, block) in pairs.iter_mut().zip(blocks) {
                    let values = i32::from_ne_bytes(block.quads[quad].map(i8::cast_unsigned));
                    let products = _mm256_maddubs_epi16(weights, _mm256_set1_epi32(values));
                    *pairs = _mm256_add_epi16(*pairs, products);
                }
            }
            for (whole, pairs) in whole.iter_mut().zip(pairs) {
                *whole = _mm256_add_epi32(*whole, _mm256_madd_epi16(pairs, ones));
            }
        }
        let scale = unsafe { _mm256_load_ps(panel.scales[part][from..].as_ptr()) };
        let low = unsafe { _mm256_load_ps(panel.lows[part][from..].as_ptr()) };
        for token in 0..T {
            scaled[token] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole[token]), scale, scaled[token]);
            let sum = _mm256_set1_ps(part_sum::<P>(&blocks[token], part));
            lowered[token] = _mm256_fnmadd_ps(low, sum, lowered[token]);
        }
    }
    for token in 0..T {
        let scale = _mm256_set1_ps(blocks[token].scale);
        let sum = _mm256_fmadd_ps(scaled[token], scale, lowered[token]);
        unsafe { _mm256_store_ps(sums[token].0[from..].as_mut_ptr(), sum) };
    }
}

/// The sum of the values of a part when there are `P`.
#[inline]
fn part_sum<const P: usize>(block: &Block, part: usize) -> f32 {
    const { assert!(P == PARTS || P == PARTS / 2) };
    if P == PARTS { block.sixteenths[part] } else { block.eighths[part] }
}
