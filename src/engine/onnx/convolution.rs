//! One-dimensional convolutions of 8-bit numbers, exact in 32 bits: ONNX's ConvInteger, sooner than
//! ONNX Runtime has it (docs/BENCHMARKS.md).
//!
//! ONNX Runtime writes the input down once for each tap and multiplies matrices. Here each tap reads
//! the input where it lies: four channels stand beside each other for each moment, which is what the
//! processor multiplies by four weights and adds, for as many moments at once as a register holds.

mod avx2;
mod avx512;

use crate::engine::disjoint::Disjoint;

/// Channels that are multiplied and added together.
const QUAD: usize = 4;

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
    avx2: Vec<avx2::Tile>,
    avx512: avx512::Packed,
}

/// Whether this processor has the instructions.
pub(super) fn is_possible() -> bool {
    avx512::is_possible() || avx2::is_possible()
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
    let way = if avx512::is_possible() { Way::Avx512 } else { Way::Avx2 };
    convolve_as(way, shape, input, weights, scratch, workers, out)
}

/// The instructions to compute with.
#[derive(Clone, Copy)]
enum Way {
    Avx2,
    Avx512,
}

fn convolve_as<E>(
    way: Way,
    shape: &Shape,
    input: Quantised<'_>,
    weights: Quantised<'_>,
    scratch: &mut Scratch,
    workers: Workers<'_, E>,
    out: &mut [i32],
) -> Result<(), E> {
    assert!(!input.values.is_empty() && !out.is_empty());
    let moments = input.values.len() / shape.channels;
    let length = shape.length(moments).expect("the kernel fits");
    assert_eq!(input.values.len(), shape.channels * moments);
    assert_eq!(weights.values.len(), shape.outputs * shape.channels * shape.taps);
    assert_eq!(out.len(), shape.outputs * length);

    let in_tile = match way {
        Way::Avx2 => avx2::MOMENTS,
        Way::Avx512 => avx512::MOMENTS,
    };
    let layout = Layout::new(shape, length, in_tile);
    let Layout { width, quads, .. } = layout;
    scratch.input.resize(quads * width, [0; QUAD]);
    let packed = Disjoint(scratch.input.as_mut_ptr());
    workers(quads, &|quad| {
        assert!(quad < quads);
        // SAFETY: each quad has places of its own, and comes once.
        let to = unsafe { packed.part(quad * width, width) };
        pack_input(shape, input, &layout, quad, to);
    })?;
    let input = Packed { values: &scratch.input, zero: input.zero };
    match way {
        Way::Avx2 => avx2::convolve(&layout, input, weights, &mut scratch.avx2, workers, out),
        Way::Avx512 => avx512::convolve(&layout, input, weights, &mut scratch.avx512, workers, out),
    }
}

/// An input whose channels stand beside each other, (quads, width).
#[derive(Clone, Copy)]
struct Packed<'a> {
    values: &'a [[u8; QUAD]],
    zero: u8,
}

/// How a convolution is computed.
struct Layout {
    outputs: usize,
    /// The channels; where moments are left out, every tap of every channel.
    rows: usize,
    /// Rows, in fours.
    quads: usize,
    taps: usize,
    dilation: usize,
    /// Moments of a packed row.
    width: usize,
    /// Moments of the output.
    length: usize,
}

impl Layout {
    /// For tiles of so many moments.
    fn new(shape: &Shape, length: usize, in_tile: usize) -> Self {
        // Where moments are left out, every tap of every channel becomes a channel of its own.
        let (rows, taps, dilation) = if shape.stride == 1 {
            (shape.channels, shape.taps, shape.dilation)
        } else {
            (shape.channels * shape.taps, 1, 1)
        };
        // The last tile may reach beyond the end.
        let width = length.next_multiple_of(in_tile) + (taps - 1) * dilation;
        // An odd number of cache lines: rows that are a power of two apart would drive each other
        // out of the cache.
        let line = 64 / QUAD;
        let width = (width.div_ceil(line) | 1) * line;
        let quads = rows.div_ceil(QUAD);
        Self { outputs: shape.outputs, rows, quads, taps, dilation, width, length }
    }
}

/// Puts four rows of the input beside each other; what lies outside of it is zero.
fn pack_input(
    shape: &Shape,
    input: Quantised<'_>,
    layout: &Layout,
    quad: usize,
    to: &mut [[u8; QUAD]],
) {
    let moments = input.values.len() / shape.channels;
    let channel = |at: usize| &input.values[at * moments..][..moments];
    let first = quad * QUAD;
    let rows = layout.rows;
    // Rows that do not exist are nothing, in whatever is summed.
    to.fill([0, 1, 2, 3].map(|lane| if first + lane < rows { input.zero } else { 0 }));
    if shape.stride != 1 {
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
        assert!(avx2::is_possible(), "the program needs AVX2");
        sums_are_right(Way::Avx2);
        if avx512::is_possible() {
            sums_are_right(Way::Avx512);
        }
    }

    fn sums_are_right(way: Way) {
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
                for (input_zero, weight_zero, largest) in [
                    (0, 128, 255),
                    (131, 60, 255),
                    (255, 0, 255),
                    (7, 255, 255),
                    (99, 60, 71),
                    (3, 4, 9),
                ] {
                    // Small weights take other ways than large ones.
                    let weights: Vec<u8> = weights
                        .iter()
                        .map(|&it| if it <= largest { it } else { it % largest })
                        .collect();
                    let input = Quantised { values: &input, zero: input_zero };
                    let weights = Quantised { values: &weights, zero: weight_zero };
                    let mut out = vec![0; outputs * length];
                    convolve_as(way, &shape, input, weights, &mut scratch, &workers, &mut out)
                        .unwrap();
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
