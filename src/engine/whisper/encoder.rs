//! Whisper's encoder on the processor, in place of whisper.cpp's.
//!
//! With ggml it had most of a transcription's time, nearly all of it products of matrices, of which
//! that does a quarter of what the processor could. Here sixteen outputs and twelve positions are
//! multiplied at a time (`engine::tile`), and a position goes through a whole block of layers
//! while it is in the cache. `external` hands it to whisper.cpp.
//!
//! Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision (arXiv:2212.04356);
//! the numbers are those of whisper.cpp within its rounding to 16 bits.

mod attention;
mod file;
mod matrix;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use half::f16;

use crate::engine::disjoint::Disjoint;
use crate::engine::exponential::gelu;
use crate::engine::tile::{LANES, MOST, Sums, interleave};
use attention::{Attention, HEAD, Questions};
use file::{Shape, Tensors};
use matrix::{Matrix, Rows};

/// Positions that go through a block together at most: so many stay in the processor's second
/// cache.
const AT_ONCE: usize = 96;

/// Shares for each thread at least, so that none waits long for the last.
const SHARES: usize = 3;

/// Moments of the spectrogram, or rows before, that a convolution looks at.
const TAPS: usize = 3;

/// The encoder of one model.
pub struct Encoder {
    shape: Shape,
    /// From the spectrogram, for each of its moments.
    first: Matrix,
    /// From what the first made, for every other moment.
    second: Matrix,
    /// What is added to each position.
    places: Vec<f32>,
    blocks: Vec<Block>,
    norm: Norm,
}

/// One block of the transformer.
struct Block {
    attention_norm: Norm,
    query: Matrix,
    key: Matrix,
    value: Matrix,
    out: Matrix,
    mlp_norm: Norm,
    widen: Matrix,
    narrow: Matrix,
}

impl Encoder {
    /// Reads the encoder of the model at `path`, which is then in memory a second time; nothing
    /// when it is not of this kind: 16-bit floats, heads of 64 numbers.
    ///
    /// # Errors
    /// When the file cannot be read or is no Whisper model.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let Some((shape, mut tensors)) = Tensors::read(path)? else { return Ok(None) };
        let Shape { window, width, heads, layers, bands } = shape;
        if bands == 0 || heads == 0 || width != heads * HEAD {
            return Ok(None);
        }
        let tensors = &mut tensors;
        let first = convolution(tensors, "conv1", bands, width, |input| input)?;
        // Rows that follow each other are read as one, so that taps are counted before inputs.
        let order = |input: usize| input % width * TAPS + input / width;
        let second = convolution(tensors, "conv2", width, width, order)?;
        let places = tensors.floats("positional_embedding", window * width)?;
        let block = |layer| Block::read(tensors, &format!("blocks.{layer}"), width);
        let blocks = (0..layers).map(block).collect::<io::Result<_>>()?;
        let norm = Norm::read(tensors, "ln_post", width)?;
        Ok(Some(Self { shape, first, second, places, blocks, norm }))
    }

    /// What the encoder makes of a spectrogram: for each position, of which there are at most as
    /// many as in the full window, as many numbers in `out` as [`Encoder::shape`] tells.
    ///
    /// `spectrogram` has two moments for each position: all those of the lowest band, then of the
    /// next.
    pub fn encode(&self, spectrogram: &[f32], threads: usize, out: &mut [f32]) {
        let width = self.shape.width;
        let count = out.len() / width;
        let mut states = self.listen(spectrogram, count, threads);
        let mut heard = vec![0.0; count * width];
        let mut attention = Attention::new(count, self.shape.heads);
        let shares = Shares::new(count, threads);
        for layer in 0..=self.blocks.len() {
            let (states, out) = (Disjoint(states.as_mut_ptr()), Disjoint(out.as_mut_ptr()));
            let questions = attention.open();
            shares.share(threads, |part| {
                let (start, length) = (part.start * width, part.len() * width);
                // SAFETY (all): each part has positions of its own.
                let states = unsafe { states.part(start, length) };
                if let Some(before) = layer.checked_sub(1) {
                    self.blocks[before].finish(&heard[start..start + length], states);
                }
                match self.blocks.get(layer) {
                    Some(block) => unsafe { block.ask(states, part.start, &questions) },
                    None => self.norm.apply(states, unsafe { out.part(start, length) }),
                }
            });
            if layer < self.blocks.len() {
                attention.attend(threads, &mut heard);
            }
        }
    }

    /// Positions of the full window, numbers of a position, bands of the spectrogram.
    pub fn shape(&self) -> [usize; 3] {
        [self.shape.window, self.shape.width, self.shape.bands]
    }

    /// The two convolutions, and the positions' places.
    fn listen(&self, spectrogram: &[f32], count: usize, threads: usize) -> Vec<f32> {
        let Shape { width, bands, .. } = self.shape;
        let moments = 2 * count;
        // One row of zeros before the first moment.
        let mut sounds = vec![0.0; (moments + 1) * width];
        let all = Disjoint(sounds.as_mut_ptr());
        Shares::new(moments, threads).share(threads, |part| {
            let mut rows = Rows::new(part.len(), TAPS * bands);
            for (tile, start) in rows.tiles().zip(part.clone().step_by(MOST)) {
                for (at, numbers) in tile.chunks_exact_mut(MOST).enumerate() {
                    let (band, tap) = (at / TAPS, at % TAPS);
                    for (number, moment) in numbers.iter_mut().zip(start + tap..) {
                        let moment = moment.checked_sub(1).filter(|it| *it < moments);
                        *number = moment.map_or(0.0, |it| spectrogram[band * moments + it]);
                    }
                }
            }
            // SAFETY: each part has places of its own.
            let own = unsafe { all.part((part.start + 1) * width, part.len() * width) };
            self.first.multiply(&rows, |tile, output, sums| {
                gelu(sums.as_flattened_mut());
                for_each_row(own, width, tile, output, sums, |to, from| *to = from);
            });
        });
        let mut states = self.places[..count * width].to_vec();
        let all = Disjoint(states.as_mut_ptr());
        Shares::new(count, threads).share(threads, |part| {
            let mut rows = Rows::new(part.len(), TAPS * width);
            let windows = part.clone().map(|at| &sounds[2 * at * width..][..TAPS * width]);
            fill(&mut rows, windows);
            // SAFETY: each part has places of its own.
            let own = unsafe { all.part(part.start * width, part.len() * width) };
            self.second.multiply(&rows, |tile, output, sums| {
                gelu(sums.as_flattened_mut());
                for_each_row(own, width, tile, output, sums, |to, from| *to += from);
            });
        });
        states
    }
}

impl Block {
    fn read(tensors: &mut Tensors, name: &str, width: usize) -> io::Result<Self> {
        let mut matrix = |part: &str, outputs: usize, inputs: usize, has_bias: bool| {
            let weights = tensors.halves(&format!("{name}.{part}.weight"), outputs * inputs)?;
            let bias = if has_bias {
                tensors.floats(&format!("{name}.{part}.bias"), outputs)?
            } else {
                vec![0.0; outputs]
            };
            Ok::<_, io::Error>(Matrix::new(&bias, inputs, |output, input| {
                weights[output * inputs + input]
            }))
        };
        let inner = 4 * width;
        Ok(Self {
            query: matrix("attn.query", width, width, true)?,
            key: matrix("attn.key", width, width, false)?,
            value: matrix("attn.value", width, width, true)?,
            out: matrix("attn.out", width, width, true)?,
            widen: matrix("mlp.0", inner, width, true)?,
            narrow: matrix("mlp.2", width, inner, true)?,
            attention_norm: Norm::read(tensors, &format!("{name}.attn_ln"), width)?,
            mlp_norm: Norm::read(tensors, &format!("{name}.mlp_ln"), width)?,
        })
    }

    /// What positions from `start` on, a multiple of twelve, ask of others, and say to them.
    ///
    /// # Safety
    /// Nobody else asks for these positions meanwhile.
    unsafe fn ask(&self, states: &[f32], start: usize, questions: &Questions<'_>) {
        let rows = self.attention_norm.rows(states);
        self.query.multiply(&rows, |tile, output, sums| {
            // SAFETY: as the caller says.
            unsafe { questions.set_queries(start + tile * MOST, output, sums) };
        });
        self.key.multiply(&rows, |tile, output, sums| {
            // SAFETY: as the caller says.
            unsafe { questions.set_keys(start + tile * MOST, output, sums) };
        });
        self.value.multiply(&rows, |tile, output, sums| {
            // SAFETY: as the caller says.
            unsafe { questions.set_values(start + tile * MOST, output, sums) };
        });
    }

    /// The rest of the block, from what the positions have `heard` of others.
    fn finish(&self, heard: &[f32], states: &mut [f32]) {
        let width = self.attention_norm.scale.len();
        let mut rows = Rows::new(heard.len() / width, width);
        fill(&mut rows, heard.chunks_exact(width));
        let add = |matrix: &Matrix, rows: &Rows, states: &mut [f32]| {
            matrix.multiply(rows, |tile, output, sums| {
                for_each_row(states, width, tile, output, sums, |to, from| *to += from);
            });
        };
        add(&self.out, &rows, states);
        let rows = self.mlp_norm.rows(states);
        let inner = 4 * width;
        let mut wide = Rows::new(states.len() / width, inner);
        let mut tiles: Vec<&mut [f32]> = wide.tiles().collect();
        self.widen.multiply(&rows, |tile, output, sums| {
            transpose(sums, &mut tiles[tile][output * MOST..]);
        });
        gelu(wide.numbers());
        add(&self.narrow, &wide, states);
    }
}

/// Normalisation of each position (Ba et al., Layer Normalization, arXiv:1607.06450).
struct Norm {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Norm {
    /// What is added to the variance.
    const EPSILON: f32 = 1e-5;

    fn read(tensors: &mut Tensors, name: &str, width: usize) -> io::Result<Self> {
        Ok(Self {
            scale: tensors.floats(&format!("{name}.weight"), width)?,
            shift: tensors.floats(&format!("{name}.bias"), width)?,
        })
    }

    /// The normalised `states`.
    fn apply(&self, states: &[f32], out: &mut [f32]) {
        let width = self.scale.len();
        for (state, out) in states.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let mean = sum(state, |it| it) / width as f32;
            let variance = sum(state, |it| (it - mean) * (it - mean)) / width as f32;
            let factor = 1.0 / (variance + Self::EPSILON).sqrt();
            for (at, (out, number)) in out.iter_mut().zip(state).enumerate() {
                *out = (number - mean) * factor * self.scale[at] + self.shift[at];
            }
        }
    }

    /// The normalised `states`, to be multiplied.
    fn rows(&self, states: &[f32]) -> Rows {
        let width = self.scale.len();
        let mut even = vec![0.0; states.len()];
        self.apply(states, &mut even);
        let mut rows = Rows::new(states.len() / width, width);
        fill(&mut rows, even.chunks_exact(width));
        rows
    }
}

/// Sixteen sums at a time.
fn sum(numbers: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    for chunk in numbers.as_chunks::<LANES>().0 {
        for (sum, &number) in sums.iter_mut().zip(chunk) {
            *sum += of(number);
        }
    }
    sums.iter().sum()
}

/// A convolution's weights, (outputs, inputs, taps) in the file, in another order of the last two.
fn convolution(
    tensors: &mut Tensors,
    name: &str,
    inputs: usize,
    outputs: usize,
    order: impl Fn(usize) -> usize,
) -> io::Result<Matrix> {
    let taken = inputs * TAPS;
    let weights: Vec<f16> = tensors.halves(&format!("{name}.weight"), outputs * taken)?;
    let bias = tensors.floats(&format!("{name}.bias"), outputs)?;
    Ok(Matrix::new(&bias, taken, |output, input| weights[output * taken + order(input)]))
}

/// Lays `given` out for products.
fn fill<'a>(rows: &mut Rows, mut given: impl Iterator<Item = &'a [f32]>) {
    for tile in rows.tiles() {
        interleave(given.by_ref().take(MOST), MOST, tile);
    }
}

/// Calls `set` with each of the numbers that `sums`, of the outputs from `output` on for a tile of
/// rows, belong to, and the sum.
fn for_each_row(
    rows: &mut [f32],
    width: usize,
    tile: usize,
    output: usize,
    sums: &Sums,
    set: impl Fn(&mut f32, f32),
) {
    for (row, sums) in rows.chunks_exact_mut(width).skip(tile * MOST).zip(sums) {
        for (to, &from) in row[output..].iter_mut().zip(sums) {
            set(to, from);
        }
    }
}

/// Writes the twelve sums of the first output, then of the next.
fn transpose(sums: &Sums, to: &mut [f32]) {
    for (output, to) in to.chunks_exact_mut(MOST).take(LANES).enumerate() {
        for (to, sums) in to.iter_mut().zip(sums) {
            *to = sums[output];
        }
    }
}

/// Positions, cut into shares of whole tiles.
struct Shares {
    count: usize,
    each: usize,
}

impl Shares {
    fn new(count: usize, threads: usize) -> Self {
        let each =
            count.div_ceil(threads.max(1) * SHARES).next_multiple_of(MOST).clamp(MOST, AT_ONCE);
        Self { count, each }
    }

    /// Has `threads` threads do the `work` for all parts.
    fn share(&self, threads: usize, work: impl Fn(Range<usize>) + Sync) {
        share(threads, self.count.div_ceil(self.each), |part| {
            work(part * self.each..self.count.min((part + 1) * self.each));
        });
    }
}

/// Calls `work` with every number below `count`, on so many threads.
fn share(threads: usize, count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let go_on = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                break;
            }
            work(at);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(count) {
            // Where the system gives no more threads, fewer do the work.
            if thread::Builder::new().spawn_scoped(scope, go_on).is_err() {
                break;
            }
        }
        go_on();
    });
}
