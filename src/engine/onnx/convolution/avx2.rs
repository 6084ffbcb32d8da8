//! Convolutions with AVX2, whose instruction for 8 bits multiplies four channels by four weights and
//! adds the products in pairs, in 16 bits that do not always hold them.
//!
//! They hold them as long as the weights are small: up to 128 for all that come together in one sum
//! of 16 bits, since the input is at most 255. Most weights are that small, less their zero, even
//! for two taps at once, and with two at once only half as many sums must be made 32 bits wide.
//! So the weights are cut into steps: two taps where their sum is small enough, one where not, and
//! a part of one where that is too large by itself.

// Intrinsics have names that nothing else has.
#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;

use super::{Layout, Packed, QUAD, Quantised, Workers};
use crate::engine::disjoint::Disjoint;

/// Moments that one register holds.
const LANES: usize = 8;
/// Registers of moments in a tile.
const WIDE: usize = 2;
/// Moments in a tile.
pub(super) const MOMENTS: usize = WIDE * LANES;
/// Outputs in a tile: with [`WIDE`] registers each, their sums leave just enough of the 16.
const OUTPUTS: usize = 4;
/// Outputs in a piece of work, so that their weights stay in the second cache.
const GROUP: usize = 16 * OUTPUTS;

/// What the weights may be together, those that meet in a sum of 16 bits: 255 times as much fits.
const ROOM: i16 = 128;

/// Weights of a tile for four channels and one tap.
type Weights = [[i8; QUAD]; OUTPUTS];

/// The same before they are known to fit.
type Wide = [[i16; QUAD]; OUTPUTS];

/// Weights of which 16 bits hold the sums, and where in the packed input their channels and tap
/// begin.
#[derive(Clone, Copy)]
struct Step {
    from: [u32; 2],
    weights: [Weights; 2],
}

/// The weights of a tile.
#[derive(Default)]
pub(super) struct Tile {
    steps: Vec<Step>,
    /// Of all weights of an output.
    sums: [i32; OUTPUTS],
}

/// Whether this processor has the instructions.
pub(super) fn is_possible() -> bool {
    is_x86_feature_detected!("avx2")
}

/// See [`super::convolve`].
pub(super) fn convolve<E>(
    layout: &Layout,
    input: Packed<'_>,
    weights: Quantised<'_>,
    scratch: &mut Vec<Tile>,
    workers: Workers<'_, E>,
    out: &mut [i32],
) -> Result<(), E> {
    assert!(is_possible());
    let count = layout.outputs.div_ceil(OUTPUTS);
    if scratch.len() < count {
        scratch.resize_with(count, Tile::default);
    }
    let tiles = Disjoint(scratch.as_mut_ptr());
    // Anew each time: a packed copy of all weights would have to be kept beside ONNX Runtime's own.
    workers(count, &|tile| {
        assert!(tile < count);
        // SAFETY: each comes once; the processor has the instructions.
        unsafe { tiles.part(tile, 1)[0].fill(layout, weights, tile) };
    })?;
    let tiles = &scratch[..count];

    let blocks = layout.length.div_ceil(MOMENTS);
    let shared = Disjoint(out.as_mut_ptr());
    let pieces = blocks * layout.outputs.div_ceil(GROUP);
    workers(pieces, &|piece| {
        assert!(piece < pieces);
        // SAFETY: the processor has the instructions, and each piece comes once.
        unsafe {
            self::piece(layout, input, tiles, piece / blocks, piece % blocks, shared.get());
        }
    })
}

impl Tile {
    /// Takes the weights of tile number `tile`.
    #[target_feature(enable = "avx2")]
    fn fill(&mut self, layout: &Layout, weights: Quantised<'_>, tile: usize) {
        let &Layout { outputs, rows, quads, taps, dilation, width, .. } = layout;
        let zero = i16::from(weights.zero);
        self.steps.clear();
        self.sums = [0; OUTPUTS];
        let mut of_quad: Vec<Wide> = vec![[[0; QUAD]; OUTPUTS]; taps];
        let mut waiting = None;
        for quad in 0..quads {
            of_quad.fill([[0; QUAD]; OUTPUTS]);
            for (lane, output) in (tile * OUTPUTS..outputs.min((tile + 1) * OUTPUTS)).enumerate() {
                for (channel, row) in (quad * QUAD..rows.min((quad + 1) * QUAD)).enumerate() {
                    let from = &weights.values[(output * rows + row) * taps..][..taps];
                    for (to, &weight) in of_quad.iter_mut().zip(from) {
                        to[lane][channel] = i16::from(weight) - zero;
                    }
                }
            }
            for (tap, weights) in of_quad.iter().enumerate() {
                for (sum, weights) in self.sums.iter_mut().zip(weights) {
                    *sum += i32::from(weights.iter().sum::<i16>());
                }
                let from = (quad * width + tap * dilation) as u32;
                waiting = self.take(waiting, (from, *weights));
            }
        }
        if let Some((from, weights)) = waiting {
            self.push([from; 2], [weights, [[0; QUAD]; OUTPUTS]]);
        }
    }

    /// Adds weights and those that wait, together if they are small enough. Gives what waits then.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn take(
        &mut self,
        waiting: Option<(u32, Wide)>,
        (from, mut weights): (u32, Wide),
    ) -> Option<(u32, Wide)> {
        let nothing = [[0; QUAD]; OUTPUTS];
        while !fits(&weights, &nothing) {
            let part = weights.map(|weights| weights.map(|it| it.clamp(-ROOM / 2, ROOM / 2)));
            self.push([from; 2], [part, nothing]);
            for (weight, part) in weights.iter_mut().flatten().zip(part.iter().flatten()) {
                *weight -= part;
            }
        }
        let Some((before, others)) = waiting else { return Some((from, weights)) };
        if fits(&weights, &others) {
            self.push([before, from], [others, weights]);
            None
        } else {
            self.push([before; 2], [others, nothing]);
            Some((from, weights))
        }
    }

    fn push(&mut self, from: [u32; 2], weights: [Wide; 2]) {
        let weights = weights.map(|it| it.map(|it| it.map(|weight| weight as i8)));
        self.steps.push(Step { from, weights });
    }
}

/// Whether 16 bits hold sums of products with both, and 8 bits hold each.
#[target_feature(enable = "avx2")]
#[inline]
fn fits(one: &Wide, other: &Wide) -> bool {
    let mut largest = 0;
    for (one, other) in one.iter().zip(other) {
        let both: [i16; QUAD] = std::array::from_fn(|at| one[at].abs() + other[at].abs());
        largest = largest.max(both[0] + both[1]).max(both[2] + both[3]);
    }
    // A weight of 128 is one too many for 8 bits.
    largest < ROOM
}

/// A group of outputs for one block of moments.
///
/// # Safety
/// `out` has (outputs, length) numbers, and nobody else uses those of this group and block.
#[target_feature(enable = "avx2")]
unsafe fn piece(
    layout: &Layout,
    input: Packed<'_>,
    tiles: &[Tile],
    group: usize,
    block: usize,
    out: *mut i32,
) {
    let start = block * MOMENTS;
    let first = group * GROUP / OUTPUTS;
    let last = tiles.len().min((group + 1) * GROUP / OUTPUTS);
    for (at, tile) in (first..last).zip(&tiles[first..last]) {
        let sums = multiply(&input.values[start..], &tile.steps);
        let outputs = at * OUTPUTS..layout.outputs.min((at + 1) * OUTPUTS);
        for ((output, sums), of_weights) in outputs.zip(sums).zip(tile.sums) {
            // (x - a) w, summed, is the sum of xw less that of wa.
            let less = _mm256_set1_epi32(i32::from(input.zero).wrapping_mul(of_weights));
            for (wide, sum) in sums.into_iter().enumerate() {
                let at = layout.length.min(start + wide * LANES);
                let left = (layout.length - at).min(LANES) as i32;
                let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(left), lanes);
                // SAFETY: `left` numbers lie within `out`, as the caller says.
                unsafe {
                    let to = out.add(output * layout.length + at);
                    _mm256_maskstore_epi32(to, mask, _mm256_sub_epi32(sum, less));
                }
            }
        }
    }
}

/// Sums of products of `steps` with the first moments of `input`.
#[target_feature(enable = "avx2")]
#[inline]
fn multiply(input: &[[u8; QUAD]], steps: &[Step]) -> [[__m256i; WIDE]; OUTPUTS] {
    let mut sums = [[_mm256_setzero_si256(); WIDE]; OUTPUTS];
    let ones = _mm256_set1_epi16(1);
    for step in steps {
        let [before, after] = [load(input, step.from[0]), load(input, step.from[1])];
        let [of_before, of_after] = &step.weights;
        for ((sums, one), other) in sums.iter_mut().zip(of_before).zip(of_after) {
            let [one, other] = [spread(*one), spread(*other)];
            for (wide, sum) in sums.iter_mut().enumerate() {
                let pairs = _mm256_add_epi16(
                    _mm256_maddubs_epi16(before[wide], one),
                    _mm256_maddubs_epi16(after[wide], other),
                );
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
    }
    sums
}

/// The moments of a tile.
#[target_feature(enable = "avx2")]
#[inline]
fn load(input: &[[u8; QUAD]], from: u32) -> [__m256i; WIDE] {
    let values = input[from as usize..][..MOMENTS].as_ptr();
    // SAFETY: there are as many quads of four bytes.
    unsafe { [_mm256_loadu_si256(values.cast()), _mm256_loadu_si256(values.add(LANES).cast())] }
}

/// The same four weights for every moment.
#[target_feature(enable = "avx2")]
#[inline]
fn spread(weights: [i8; QUAD]) -> __m256i {
    _mm256_set1_epi32(i32::from_ne_bytes(weights.map(i8::cast_unsigned)))
}
