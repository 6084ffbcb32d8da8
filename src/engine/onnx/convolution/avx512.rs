//! Convolutions with AVX-512 VNNI, one instruction of which multiplies four channels by four weights
//! and adds the products to a sum.

// Intrinsics have names that nothing else has.
#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;

use super::{Layout, QUAD, Quantised, Workers};
use crate::engine::disjoint::Disjoint;

/// Moments that one register holds.
const LANES: usize = 16;
/// Registers of moments in a tile.
const WIDE: usize = 3;
/// Moments in a tile.
pub(super) const MOMENTS: usize = WIDE * LANES;
/// Outputs in a tile: with [`WIDE`] registers each, their sums leave just enough of the 32.
const OUTPUTS: usize = 8;
/// Outputs in a piece of work, so that their weights stay in the second cache.
const GROUP: usize = 8 * OUTPUTS;

/// Weights of a tile for four channels and one tap.
type Weights = [[i8; QUAD]; OUTPUTS];

/// Packed weights.
#[derive(Default)]
pub(super) struct Packed {
    weights: Vec<Weights>,
    /// Of all weights of an output.
    sums: Vec<[i32; OUTPUTS]>,
}

/// Whether this processor has the instructions.
pub(super) fn is_possible() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
}

/// See [`super::convolve`].
pub(super) fn convolve<E>(
    layout: &Layout,
    input: super::Packed<'_>,
    weights: Quantised<'_>,
    scratch: &mut Packed,
    workers: Workers<'_, E>,
    out: &mut [i32],
) -> Result<(), E> {
    assert!(is_possible());
    let &Layout { outputs, rows, quads, taps, dilation, width, length } = layout;
    let tiles = outputs.div_ceil(OUTPUTS);
    // Anew each time: a packed copy of all weights would have to be kept beside ONNX Runtime's own.
    scratch.weights.resize(tiles * quads * taps, [[0; QUAD]; OUTPUTS]);
    scratch.sums.resize(tiles, [0; OUTPUTS]);
    let packed = Disjoint(scratch.weights.as_mut_ptr());
    let sums = Disjoint(scratch.sums.as_mut_ptr());
    workers(tiles, &|tile| {
        assert!(tile < tiles);
        let count = quads * taps;
        // SAFETY: each tile has places of its own, and comes once.
        let (to, sums) = unsafe { (packed.part(tile * count, count), sums.part(tile, 1)) };
        sums[0] = pack_weights(outputs, rows, taps, weights.values, tile, to);
    })?;

    let product = Product {
        outputs,
        taps,
        dilation,
        width,
        length,
        terms: rows * taps,
        input: input.values,
        weights: &scratch.weights,
        weight_sums: &scratch.sums,
        input_zero: i32::from(input.zero),
        weight_zero: i32::from(weights.zero) - WEIGHT_OFFSET,
    };
    let blocks = length.div_ceil(MOMENTS);
    let shared = Disjoint(out.as_mut_ptr());
    let pieces = blocks * outputs.div_ceil(GROUP);
    workers(pieces, &|piece| {
        assert!(piece < pieces);
        // SAFETY: the processor has the instructions.
        unsafe { product.piece(piece / blocks, piece % blocks, shared.get()) };
    })
}

/// The instruction wants weights with a sign, so all are moved by as much.
const WEIGHT_OFFSET: i32 = 128;

/// Puts the weights of eight outputs beside each other, those of four rows next to one another, and
/// gives the sum of each output's.
fn pack_weights(
    outputs: usize,
    rows: usize,
    taps: usize,
    from: &[u8],
    tile: usize,
    to: &mut [Weights],
) -> [i32; OUTPUTS] {
    to.fill([[0; QUAD]; OUTPUTS]);
    let mut sums = [0; OUTPUTS];
    for (lane, output) in (tile * OUTPUTS..outputs.min((tile + 1) * OUTPUTS)).enumerate() {
        let from = &from[output * rows * taps..][..rows * taps];
        for (row, from) in from.chunks_exact(taps).enumerate() {
            let to = &mut to[row / QUAD * taps..][..taps];
            for (to, &value) in to.iter_mut().zip(from) {
                to[lane][row % QUAD] = (value ^ 0x80).cast_signed();
            }
        }
        let sum: i32 = from.iter().map(|&value| i32::from(value)).sum();
        sums[lane] = sum - WEIGHT_OFFSET * (rows * taps) as i32;
    }
    sums
}

/// A convolution whose two sides are packed.
struct Product<'a> {
    outputs: usize,
    taps: usize,
    dilation: usize,
    /// Moments of a row of `input`.
    width: usize,
    /// Moments of the output.
    length: usize,
    /// Products that are added for one number of the output.
    terms: usize,
    /// (quads, width)
    input: &'a [[u8; QUAD]],
    /// (tiles, quads, taps)
    weights: &'a [Weights],
    /// (tiles)
    weight_sums: &'a [[i32; OUTPUTS]],
    input_zero: i32,
    /// Less [`WEIGHT_OFFSET`].
    weight_zero: i32,
}

impl Product<'_> {
    /// A group of outputs for one block of moments.
    ///
    /// # Safety
    /// `out` has (outputs, length) numbers, and nobody else uses those of this group and block.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn piece(&self, group: usize, block: usize, out: *mut i32) {
        let start = block * MOMENTS;
        let input_sums = self.input_sums(start);
        for tile in group * GROUP / OUTPUTS..self.outputs.min((group + 1) * GROUP).div_ceil(OUTPUTS)
        {
            let per_tile = self.input.len() / self.width * self.taps;
            let weights = &self.weights[tile * per_tile..][..per_tile];
            let sums = self.tile(start, weights);
            for (lane, sums) in sums.iter().enumerate() {
                let output = tile * OUTPUTS + lane;
                if output >= self.outputs {
                    break;
                }
                // (x - a)(w - b), summed, is the sum of xw, less that of wa and of xb, and ab.
                let of_weights = self.weight_sums[tile][lane];
                let terms = self.terms as i32;
                let constant = self.weight_zero.wrapping_mul(terms).wrapping_sub(of_weights);
                let constant = self.input_zero.wrapping_mul(constant);
                for (wide, (&sum, &input_sum)) in sums.iter().zip(&input_sums).enumerate() {
                    let at = start + wide * LANES;
                    let left = self.length.saturating_sub(at).min(LANES);
                    let less = _mm512_mullo_epi32(input_sum, _mm512_set1_epi32(self.weight_zero));
                    let sum =
                        _mm512_add_epi32(_mm512_sub_epi32(sum, less), _mm512_set1_epi32(constant));
                    let mask = (1_u32 << left).wrapping_sub(1) as __mmask16;
                    // SAFETY: `left` numbers lie within `out`, as the caller says.
                    unsafe {
                        let to = out.add(output * self.length + at.min(self.length));
                        _mm512_mask_storeu_epi32(to, mask, sum);
                    }
                }
            }
        }
    }

    /// Sums of products with the weights of a tile, for the moments from `start`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    #[inline]
    fn tile(&self, start: usize, weights: &[Weights]) -> [[__m512i; WIDE]; OUTPUTS] {
        let mut sums = [[_mm512_setzero_si512(); WIDE]; OUTPUTS];
        let rows = self.input.chunks_exact(self.width);
        for (row, weights) in rows.zip(weights.chunks_exact(self.taps)) {
            for (tap, weights) in weights.iter().enumerate() {
                let values = load(row, start + tap * self.dilation);
                for (sums, &weights) in sums.iter_mut().zip(weights) {
                    let weights = i32::from_ne_bytes(weights.map(i8::cast_unsigned));
                    let weights = _mm512_set1_epi32(weights);
                    for (sum, values) in sums.iter_mut().zip(values) {
                        *sum = _mm512_dpbusd_epi32(*sum, values, weights);
                    }
                }
            }
        }
        sums
    }

    /// Sums of all that the kernel covers, for the moments from `start`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn input_sums(&self, start: usize) -> [__m512i; WIDE] {
        let mut sums = [_mm512_setzero_si512(); WIDE];
        let ones = _mm512_set1_epi8(1);
        for row in self.input.chunks_exact(self.width) {
            for tap in 0..self.taps {
                let values = load(row, start + tap * self.dilation);
                for (sum, values) in sums.iter_mut().zip(values) {
                    *sum = _mm512_dpbusd_epi32(*sum, values, ones);
                }
            }
        }
        sums
    }
}

/// The moments of a tile, four channels of each.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn load(row: &[[u8; QUAD]], at: usize) -> [__m512i; WIDE] {
    let values = row[at..][..MOMENTS].as_ptr();
    // SAFETY: there are `MOMENTS` of four bytes.
    [0, 1, 2].map(|wide| unsafe { _mm512_loadu_si512(values.add(wide * LANES).cast()) })
}
