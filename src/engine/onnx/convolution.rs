//! One-dimensional convolutions of 8-bit numbers, exact in 32 bits: ONNX's ConvInteger, in less than
//! half of the time that ONNX Runtime takes for it.
//!
//! ONNX Runtime writes the input down once for each tap and multiplies matrices. Here each tap reads
//! the input where it lies: four channels stand beside each other for each moment, which is what one
//! instruction (AVX-512 VNNI) multiplies by four weights and adds, for sixteen moments at once.

// Intrinsics have names that nothing else has.
#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;

use crate::engine::disjoint::Disjoint;

/// Channels that are multiplied and added by one instruction.
const QUAD: usize = 4;
/// Moments that one register holds.
const LANES: usize = 16;
/// Registers of moments in a tile.
const WIDE: usize = 3;
/// Moments in a tile.
const MOMENTS: usize = WIDE * LANES;
/// Outputs in a tile: with [`WIDE`] registers each, their sums leave just enough of the 32.
const OUTPUTS: usize = 8;
/// Outputs in a piece of work, so that their weights stay in the second cache.
const GROUP: usize = 8 * OUTPUTS;

/// Weights of a tile for four channels and one tap.
type Weights = [[i8; QUAD]; OUTPUTS];

/// What a convolution looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub channels: usize,
    pub outputs: usize,
    /// Length of the kernel.
    pub taps: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Moments added before the first and after the last.
    pub pads: [usize; 2],
}

impl Shape {
    /// Moments of the output for so many of the input; nothing where the kernel does not fit.
    pub fn length(&self, moments: usize) -> Option<usize> {
        let reach = (self.taps - 1) * self.dilation;
        let padded = moments + self.pads[0] + self.pads[1];
        Some(padded.checked_sub(reach + 1)? / self.stride + 1)
    }
}

/// Numbers, and the one of them that means zero.
#[derive(Clone, Copy)]
pub(super) struct Quantised<'a> {
    pub values: &'a [u8],
    pub zero: u8,
}

/// Does pieces of work, several at once: calls what it is given with every number below the first
/// argument, once, and comes back when all are done.
pub(super) type Workers<'a, E> = &'a dyn Fn(usize, &(dyn Fn(usize) + Send + Sync)) -> Result<(), E>;

/// Memory that is used again.
#[derive(Default)]
pub(super) struct Scratch {
    input: Vec<[u8; QUAD]>,
    weights: Vec<Weights>,
    /// Of all weights of an output.
    weight_sums: Vec<[i32; OUTPUTS]>,
}

/// Whether this processor has the instructions.
pub(super) fn is_possible() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
}

/// Convolves `input`, (channels, moments), with `weights`, (outputs, channels, taps), and writes
/// (outputs, moments of the output) to `out`: sums of products of both sides less their zeros.
///
/// # Errors
/// Those of the workers.
///
/// # Panics
/// When lengths do not fit `shape`, there is nothing to compute, or [`is_possible`] says no.
pub(super) fn convolve<E>(
    shape: &Shape,
    input: Quantised<'_>,
    weights: Quantised<'_>,
    scratch: &mut Scratch,
    workers: Workers<'_, E>,
    out: &mut [i32],
) -> Result<(), E> {
    assert!(is_possible() && !input.values.is_empty() && !out.is_empty());
    let moments = input.values.len() / shape.channels;
    let length = shape.length(moments).expect("the kernel fits");
    assert_eq!(input.values.len(), shape.channels * moments);
    assert_eq!(weights.values.len(), shape.outputs * shape.channels * shape.taps);
    assert_eq!(out.len(), shape.outputs * length);

    // Where moments are left out, every tap of every channel becomes a channel of its own.
    let strided = shape.stride != 1;
    let (rows, taps, dilation) = if strided {
        (shape.channels * shape.taps, 1, 1)
    } else {
        (shape.channels, shape.taps, shape.dilation)
    };
    let quads = rows.div_ceil(QUAD);
    // The last tile may reach beyond the end.
    let width = length.next_multiple_of(MOMENTS) + (taps - 1) * dilation;
    let tiles = shape.outputs.div_ceil(OUTPUTS);

    scratch.input.resize(quads * width, [0; QUAD]);
    let packed = Disjoint(scratch.input.as_mut_ptr());
    workers(quads, &|quad| {
        assert!(quad < quads);
        // SAFETY (here and below): each number has places of its own, and comes once.
        let to = unsafe { packed.part(quad * width, width) };
        pack_input(shape, input, strided, quad, to);
    })?;
    // Anew each time: a packed copy of all weights would have to be kept beside ONNX Runtime's own.
    scratch.weights.resize(tiles * quads * taps, [[0; QUAD]; OUTPUTS]);
    scratch.weight_sums.resize(tiles, [0; OUTPUTS]);
    let packed = Disjoint(scratch.weights.as_mut_ptr());
    let sums = Disjoint(scratch.weight_sums.as_mut_ptr());
    workers(tiles, &|tile| {
        assert!(tile < tiles);
        let count = quads * taps;
        let (to, sums) = unsafe { (packed.part(tile * count, count), sums.part(tile, 1)) };
        sums[0] = pack_weights(shape.outputs, rows, taps, weights.values, tile, to);
    })?;

    let product = Product {
        outputs: shape.outputs,
        taps,
        dilation,
        width,
        length,
        terms: rows * taps,
        input: &scratch.input,
        weights: &scratch.weights,
        weight_sums: &scratch.weight_sums,
        input_zero: i32::from(input.zero),
        weight_zero: i32::from(weights.zero) - WEIGHT_OFFSET,
    };
    let blocks = length.div_ceil(MOMENTS);
    let shared = Disjoint(out.as_mut_ptr());
    let pieces = blocks * shape.outputs.div_ceil(GROUP);
    workers(pieces, &|piece| {
        assert!(piece < pieces);
        // SAFETY: the processor has the instructions.
        unsafe { product.piece(piece / blocks, piece % blocks, shared.get()) };
    })
}

/// The instruction wants weights with a sign, so all are moved by as much.
const WEIGHT_OFFSET: i32 = 128;

/// Puts four rows of the input beside each other; what lies outside of it is zero.
fn pack_input(
    shape: &Shape,
    input: Quantised<'_>,
    strided: bool,
    quad: usize,
    to: &mut [[u8; QUAD]],
) {
    let moments = input.values.len() / shape.channels;
    let channel = |at: usize| &input.values[at * moments..][..moments];
    let first = quad * QUAD;
    let rows = shape.channels * if strided { shape.taps } else { 1 };
    // Rows that do not exist are nothing, in whatever is summed.
    to.fill([0, 1, 2, 3].map(|lane| if first + lane < rows { input.zero } else { 0 }));
    if strided {
        for (lane, row) in (first..rows.min(first + QUAD)).enumerate() {
            let (from, tap) = (channel(row / shape.taps), row % shape.taps);
            for (at, to) in to.iter_mut().enumerate() {
                let moment = at * shape.stride + tap * shape.dilation;
                if let Some(&value) = moment.checked_sub(shape.pads[0]).and_then(|it| from.get(it))
                {
                    to[lane] = value;
                }
            }
        }
        return;
    }
    let to = &mut to[shape.pads[0]..];
    if first + QUAD <= rows {
        let [a, b, c, d] = [0, 1, 2, 3].map(|lane| channel(first + lane));
        for ((((to, a), b), c), d) in to.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *to = [*a, *b, *c, *d];
        }
        return;
    }
    for (lane, row) in (first..rows).enumerate() {
        for (to, &value) in to.iter_mut().zip(channel(row)) {
            to[lane] = value;
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look like chance.
    fn numbers(count: usize, factor: usize) -> Vec<u8> {
        (0..count).map(|at| (at * factor % 257 % 256) as u8).collect()
    }

    /// By ONNX's definition, one product after another.
    fn defined(
        shape: &Shape,
        input: Quantised<'_>,
        weights: Quantised<'_>,
        length: usize,
    ) -> Vec<i32> {
        let moments = input.values.len() / shape.channels;
        let mut out = Vec::new();
        for output in 0..shape.outputs {
            for at in 0..length {
                let mut sum = 0;
                for channel in 0..shape.channels {
                    for tap in 0..shape.taps {
                        let moment = at * shape.stride + tap * shape.dilation;
                        let Some(moment) = moment.checked_sub(shape.pads[0]) else { continue };
                        if moment >= moments {
                            continue;
                        }
                        let value = i32::from(input.values[channel * moments + moment]);
                        let weight = (output * shape.channels + channel) * shape.taps + tap;
                        let weight = i32::from(weights.values[weight]);
                        let (a, b) = (i32::from(input.zero), i32::from(weights.zero));
                        sum += (value - a) * (weight - b);
                    }
                }
                out.push(sum);
            }
        }
        out
    }

    #[test]
    fn sums_are_those_of_the_definition() {
        if !is_possible() {
            return;
        }
        let mut scratch = Scratch::default();
        let workers = |count: usize, work: &(dyn Fn(usize) + Send + Sync)| {
            std::thread::scope(|threads| {
                for at in 0..count {
                    threads.spawn(move || work(at));
                }
            });
            Ok::<(), ()>(())
        };
        for (channels, outputs, taps, stride, dilation, pads) in [
            (64, 1, 3, 1, 1, [0, 0]),
            (1, 1, 3, 2, 1, [1, 1]),
            (4, 8, 1, 1, 1, [0, 0]),
            (5, 9, 3, 1, 1, [1, 1]),
            (6, 70, 11, 1, 5, [25, 25]),
            (22, 16, 12, 6, 1, [3, 3]),
            (3, 2, 4, 3, 2, [0, 5]),
            (8, 3, 7, 1, 3, [9, 0]),
        ] {
            let shape = Shape { channels, outputs, taps, stride, dilation, pads };
            for moments in [1, 17, 47, 48, 49, 130] {
                let Some(length) = shape.length(moments) else { continue };
                let (input, weights) =
                    (numbers(channels * moments, 7919), numbers(outputs * channels * taps, 613));
                for (input_zero, weight_zero) in [(0, 128), (131, 60), (255, 0), (7, 255)] {
                    let input = Quantised { values: &input, zero: input_zero };
                    let weights = Quantised { values: &weights, zero: weight_zero };
                    let mut out = vec![0; outputs * length];
                    convolve(&shape, input, weights, &mut scratch, &workers, &mut out).unwrap();
                    let expected = defined(&shape, input, weights, length);
                    assert!(out == expected, "{shape:?}, {moments} moments");
                }
            }
        }
    }

    #[test]
    fn a_kernel_that_is_longer_than_the_input_does_not_fit() {
        let shape =
            Shape { channels: 1, outputs: 1, taps: 3, stride: 1, dilation: 4, pads: [1, 1] };
        assert_eq!(shape.length(6), None);
        assert_eq!(shape.length(7), Some(1));
        assert_eq!(Shape { stride: 2, ..shape }.length(10), Some(2));
    }
}
