//! Products of quantised weights, where they lie in their file, with tokens: several at once in
//! `panels`, one alone in `rows`. Used by `mapped` only, on x86-64.
//!
//! Tokens are quantised as ggml does for its K types (block_q8_K: 8 bits, and one scale for 256
//! values); results differ from candle's in the order of additions, and in values that lie half-way
//! between two steps.

mod panels;
mod rows;
mod unpack;

// Intrinsics have names that nothing else has.
#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;

use candle_core::quantized::GgmlDType;

use crate::engine::pool::fill_chunks;

pub(super) use panels::multiply as multiply_many;
pub(super) use rows::{gated, multiply as multiply_one};

/// Weights and values of a token that share their scales.
const BLOCK: usize = 256;
/// Instructions multiply and add four values at once.
const QUADS: usize = BLOCK / 4;
/// Most parts of a block that have a scale of their own.
const PARTS: usize = 16;
/// Rows that one thread does at a time.
const ROWS: usize = 16;

/// A type of weights that can be computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Q4K,
    Q5K,
    Q6K,
}

impl Kind {
    /// The kind of a matrix of `inputs` columns and `outputs` rows, if it and this processor are
    /// of those that can be computed with here.
    pub fn of(dtype: GgmlDType, inputs: usize, outputs: usize) -> Option<Self> {
        let kind = match dtype {
            GgmlDType::Q4K => Self::Q4K,
            GgmlDType::Q5K => Self::Q5K,
            GgmlDType::Q6K => Self::Q6K,
            _ => return None,
        };
        let fits = inputs.is_multiple_of(BLOCK) && outputs.is_multiple_of(ROWS);
        (fits && Processor::this().is_some()).then_some(kind)
    }

    /// Bytes of a block of 256 weights.
    fn block_bytes(self) -> usize {
        match self {
            Self::Q4K => Q4K_BYTES,
            Self::Q5K => Q5K_BYTES,
            Self::Q6K => Q6K_BYTES,
        }
    }
}

const Q4K_BYTES: usize = 144;
const Q5K_BYTES: usize = 176;
const Q6K_BYTES: usize = 210;

/// A matrix, its rows one after the other.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub kind: Kind,
    pub bytes: &'a [u8],
    pub outputs: usize,
}

impl<'a> Weights<'a> {
    /// Bytes of a row, which is as long as a token.
    ///
    /// # Panics
    /// When the matrix does not fit the tokens.
    fn row_bytes(&self, tokens: &Tokens) -> usize {
        let row_bytes = tokens.blocks.len() / tokens.count * self.kind.block_bytes();
        assert_eq!(self.bytes.len(), self.outputs * row_bytes, "the matrix fits the tokens");
        assert!(self.outputs.is_multiple_of(ROWS));
        row_bytes
    }

    /// Sixteen rows, the first of which is `16 * at`.
    fn rows(&self, at: usize, row_bytes: usize) -> &'a [u8] {
        &self.bytes[at * ROWS * row_bytes..][..ROWS * row_bytes]
    }
}

/// What can be computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Processor {
    Avx512,
    Avx2,
}

impl Processor {
    fn this() -> Option<Self> {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        match (avx2, avx512) {
            (true, true) => Some(Self::Avx512),
            (true, false) => Some(Self::Avx2),
            _ => None,
        }
    }
}

/// 256 values of one token in 8 bits.
#[derive(Clone)]
#[repr(C, align(64))]
struct Block {
    quads: [[i8; 4]; QUADS],
    /// Of the values of each sixteenth, times `scale`.
    sixteenths: [f32; PARTS],
    /// Of each eighth.
    eighths: [f32; PARTS / 2],
    scale: f32,
}

impl Block {
    const ZERO: Self = Self {
        quads: [[0; 4]; QUADS],
        sixteenths: [0.0; PARTS],
        eighths: [0.0; PARTS / 2],
        scale: 0.0,
    };

    /// Rounds to the nearest of 255 steps, the largest value being the last of them.
    #[target_feature(enable = "avx2,fma")]
    fn fill(&mut self, values: &[f32; BLOCK]) {
        // In lanes, so that it takes eight values at a time.
        let (mut most, mut least) = ([0.0_f32; 8], [0.0_f32; 8]);
        for values in values.as_chunks::<8>().0 {
            for (lane, &value) in values.iter().enumerate() {
                most[lane] = if value > most[lane] { value } else { most[lane] };
                least[lane] = if value < least[lane] { value } else { least[lane] };
            }
        }
        let most = most.into_iter().fold(0.0, f32::max);
        let least = least.into_iter().fold(0.0, f32::min);
        let largest = if most >= -least { most } else { least };
        if largest == 0.0 {
            return;
        }
        let steps = -127.0 / largest;
        self.scale = 1.0 / steps;
        let (steps, ones) = (_mm256_set1_ps(steps), _mm256_set1_epi8(1));
        let (quads, sums) =
            (self.quads.as_chunks_mut::<8>().0, self.sixteenths.as_chunks_mut::<2>().0);
        for ((quads, sums), values) in quads.iter_mut().zip(sums).zip(values.as_chunks::<32>().0) {
            let mut whole = [_mm256_setzero_si256(); 4];
            for (whole, values) in whole.iter_mut().zip(values.as_chunks::<8>().0) {
                // SAFETY: there are eight.
                let values = unsafe { _mm256_loadu_ps(values.as_ptr()) };
                *whole = _mm256_cvtps_epi32(_mm256_mul_ps(values, steps));
            }
            let pairs =
                [_mm256_packs_epi32(whole[0], whole[1]), _mm256_packs_epi32(whole[2], whole[3])];
            // Both halves of a register are packed for themselves: back into the order of values.
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            let bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(pairs[0], pairs[1]), order);
            // Sums of two, then of four.
            let fours = _mm256_madd_epi16(_mm256_maddubs_epi16(ones, bytes), _mm256_set1_epi16(1));
            let mut of_four = [0_i32; 8];
            // SAFETY: there are 32 bytes of each.
            unsafe {
                _mm256_storeu_si256(quads.as_mut_ptr().cast(), bytes);
                _mm256_storeu_si256(of_four.as_mut_ptr().cast(), fours);
            }
            for (sum, of_four) in sums.iter_mut().zip(of_four.as_chunks::<4>().0) {
                *sum = of_four.iter().sum::<i32>() as f32 * self.scale;
            }
        }
        for (sum, [first, second]) in self.eighths.iter_mut().zip(self.sixteenths.as_chunks().0) {
            *sum = first + second;
        }
    }
}

/// Tokens, quantised.
pub(super) struct Tokens {
    /// The first block of every token, then the second of every token, and so on.
    blocks: Vec<Block>,
    count: usize,
}

impl Tokens {
    /// Quantises `values`, (`count` tokens, width).
    ///
    /// # Panics
    /// Where the processor is one for which [`Kind::of`] gives nothing, or shapes do not fit.
    pub fn new(values: &[f32], count: usize) -> Self {
        assert!(Processor::this().is_some(), "the processor can do it");
        let width = values.len() / count;
        assert!(width.is_multiple_of(BLOCK) && values.len() == count * width);
        let mut blocks = vec![Block::ZERO; values.len() / BLOCK];
        let fill = |at: usize, blocks: &mut [Block]| {
            for (block, values) in blocks.iter_mut().zip(values.chunks_exact(width)) {
                let values = &values.as_chunks::<BLOCK>().0[at];
                // SAFETY: the processor has AVX2.
                unsafe { block.fill(values) }
            }
        };
        // One token is done sooner than another thread is called.
        if count == 1 {
            blocks.chunks_mut(1).enumerate().for_each(|(at, block)| fill(at, block));
        } else {
            fill_chunks(&mut blocks, count, fill);
        }
        Self { blocks, count }
    }
}

/// The 16-bit float at the beginning of `bytes`.
#[target_feature(enable = "f16c")]
#[inline]
fn half(bytes: &[u8]) -> f32 {
    let bits = u16::from_le_bytes([bytes[0], bytes[1]]);
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}

/// Has what lies at `address`, whatever that is, brought into the caches.
#[inline]
fn prefetch(address: *const u8) {
    // SAFETY: it is allowed for every address, and every processor of this kind has it.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};

    use super::*;

    const OUTPUTS: usize = 48;
    const WIDTH: usize = 512;
    const KINDS: [(GgmlDType, Kind); 3] =
        [(GgmlDType::Q4K, Kind::Q4K), (GgmlDType::Q5K, Kind::Q5K), (GgmlDType::Q6K, Kind::Q6K)];

    /// Numbers between -1 and 1 that look like chance.
    fn numbers(count: usize, factor: usize) -> Vec<f32> {
        (0..count).map(|at| ((at * factor % 997) as f32 - 498.0) / 498.0).collect()
    }

    /// A matrix of numbers, quantised.
    fn matrix(dtype: GgmlDType, factor: usize) -> QTensor {
        let numbers = numbers(OUTPUTS * WIDTH, factor);
        let tensor = Tensor::from_vec(numbers, (OUTPUTS, WIDTH), &Device::Cpu).unwrap();
        QTensor::quantize(&tensor, dtype).unwrap()
    }

    /// What this processor can do, and what it could do if it were older.
    fn processors() -> Vec<Processor> {
        match Processor::this() {
            Some(Processor::Avx512) => vec![Processor::Avx512, Processor::Avx2],
            Some(Processor::Avx2) => vec![Processor::Avx2],
            None => vec![],
        }
    }

    /// Checks `products` of one token's `values`, with what errors of rounding the values allow.
    fn assert_near(products: &[f32], matrix: &QTensor, values: &[f32], what: &str) {
        let rows = matrix.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(products.len(), rows.len());
        for (product, row) in products.iter().zip(rows) {
            let exact: f32 = row.iter().zip(values).map(|(a, b)| a * b).sum();
            // Each value is off by at most half of a 127th.
            let slack: f32 = row.iter().map(|weight| weight.abs()).sum::<f32>() / 254.0;
            let close = (product - exact).abs() <= slack + 1e-4;
            assert!(close, "{what}: {product} and {exact}, {slack}");
        }
    }

    #[test]
    fn every_processor_multiplies_many_tokens_as_the_unpacked_numbers_do() {
        for (dtype, kind) in KINDS {
            let matrix = matrix(dtype, 7919);
            let bytes = matrix.data().unwrap();
            let weights = Weights { kind, bytes: &bytes, outputs: OUTPUTS };
            for count in [1, 2, 8, 13] {
                let values = numbers(count * WIDTH, 104_729);
                let tokens = Tokens::new(&values, count);
                for processor in processors() {
                    let products = panels::multiply_on(processor, weights, &tokens);
                    let what = format!("{processor:?}, {kind:?}, {count} tokens");
                    for (products, values) in products.chunks(OUTPUTS).zip(values.chunks(WIDTH)) {
                        assert_near(products, &matrix, values, &what);
                    }
                }
            }
        }
    }

    #[test]
    fn processors_agree_on_the_sums() {
        let matrix = matrix(GgmlDType::Q6K, 31);
        let bytes = matrix.data().unwrap();
        let weights = Weights { kind: Kind::Q6K, bytes: &bytes, outputs: OUTPUTS };
        let tokens = Tokens::new(&numbers(9 * WIDTH, 17), 9);
        let sums = processors()
            .into_iter()
            .map(|processor| panels::multiply_on(processor, weights, &tokens))
            .collect::<Vec<_>>();
        assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "they add in the same order");
    }

    #[test]
    fn one_token_is_multiplied_by_several_matrices() {
        let values = numbers(WIDTH, 104_729);
        let token = Tokens::new(&values, 1);
        let matrices = KINDS.map(|(dtype, _)| matrix(dtype, 7919));
        let bytes = matrices.each_ref().map(|matrix| matrix.data().unwrap());
        let weights =
            [0, 1, 2].map(|at| Weights { kind: KINDS[at].1, bytes: &bytes[at], outputs: OUTPUTS });
        for processor in processors() {
            let products = rows::multiply_on(processor, weights, &token);
            for ((products, matrix), (_, kind)) in products.iter().zip(&matrices).zip(KINDS) {
                assert_near(products, matrix, &values, &format!("{processor:?}, {kind:?}"));
            }
        }
        let [gate, up, _] = multiply_one(weights, &token);
        let gated = gated(weights[0], weights[1], &token);
        for ((gated, gate), up) in gated.iter().zip(gate).zip(up) {
            let expected = gate / (1.0 + (-gate).exp()) * up;
            assert!((gated - expected).abs() <= 1e-5 * expected.abs().max(1.0));
        }
    }

    #[test]
    fn tokens_of_zeros_give_zeros() {
        let matrix = matrix(GgmlDType::Q4K, 31);
        let bytes = matrix.data().unwrap();
        let weights = Weights { kind: Kind::Q4K, bytes: &bytes, outputs: OUTPUTS };
        let products = multiply_many(weights, &Tokens::new(&[0.0; 2 * WIDTH], 2));
        assert_eq!(products, [0.0; 2 * OUTPUTS]);
    }

    #[test]
    fn other_types_and_shapes_are_left_to_candle() {
        assert_eq!(Kind::of(GgmlDType::Q8_0, 512, 48), None);
        assert_eq!(Kind::of(GgmlDType::Q4K, 512, 47), None);
        assert_eq!(Kind::of(GgmlDType::Q4K, 576, 48), None);
    }
}
