//! Every position listens to all others.

use super::{share, transpose};
use crate::engine::disjoint::Disjoint;
use crate::engine::exponential::softmax_of_columns;
use crate::engine::tile::{LANES, MOST, Sums, add_products};

/// Numbers of a head, in every Whisper model.
pub(super) const HEAD: usize = 64;

/// The numbers of a value that are added up together.
const TOGETHER: usize = 8;

/// Keys that are gone through for all of a value's numbers before the next: their weights stay in
/// the processor's first cache.
const DEPTH: usize = 256;

/// whisper.cpp's attention, with which a narrow window is heard better than without
/// (`Whisper::load`), goes on to a multiple of so many keys; those without a position are 0, and
/// so are their values.
const KEYS: usize = 256;

/// What the positions ask and say, in the order in which it is multiplied.
pub(super) struct Attention {
    count: usize,
    heads: usize,
    /// For each sixteen positions and head: the first numbers of sixteen queries, the second, ….
    queries: Vec<[f32; LANES]>,
    /// For each twelve positions and head: the first numbers of twelve keys, the second, ….
    keys: Vec<f32>,
    /// For each head and eight numbers of its values: these of the first position, the second, ….
    values: Vec<f32>,
}

impl Attention {
    /// For so many positions and heads.
    pub fn new(count: usize, heads: usize) -> Self {
        Self {
            count,
            heads,
            queries: vec![[0.0; LANES]; count.div_ceil(LANES) * heads * HEAD],
            keys: vec![0.0; count.div_ceil(MOST) * MOST * heads * HEAD],
            values: vec![0.0; count * heads * HEAD],
        }
    }

    /// To be written by several threads, each of which has positions of its own.
    pub fn open(&mut self) -> Questions {
        Questions {
            count: self.count,
            heads: self.heads,
            queries: Disjoint(self.queries.as_mut_ptr().cast()),
            keys: Disjoint(self.keys.as_mut_ptr()),
            values: Disjoint(self.values.as_mut_ptr()),
        }
    }

    /// What each position hears: a row of all heads' values, weighted, in `heard`.
    pub fn attend(&self, threads: usize, heard: &mut [f32]) {
        let width = self.heads * HEAD;
        let all = Disjoint(heard.as_mut_ptr());
        let groups = self.count.div_ceil(LANES);
        share(threads, groups * self.heads, |at| {
            let (group, head) = (at / self.heads, at % self.heads);
            let (said, sums) = self.hear(group, head);
            let positions = group * LANES..self.count.min((group + 1) * LANES);
            for (lane, position) in positions.enumerate() {
                // SAFETY: no other call has the same position and head.
                let to = unsafe { all.part(position * width + head * HEAD, HEAD) };
                for (to, said) in to.iter_mut().zip(said.as_flattened()) {
                    *to = said[lane] / sums[lane];
                }
            }
        });
    }

    /// For sixteen positions, one head's values weighted, each number of all positions, and the
    /// sums of weights.
    fn hear(&self, group: usize, head: usize) -> ([Sums8; HEAD / TOGETHER], [f32; LANES]) {
        let queries = &self.queries[(group * self.heads + head) * HEAD..][..HEAD];
        let mut weights = vec![[0.0; LANES]; self.count];
        for (tile, weights) in weights.chunks_mut(MOST).enumerate() {
            let keys = &self.keys[(tile * self.heads + head) * HEAD * MOST..][..HEAD * MOST];
            let mut sums = [[0.0; LANES]; MOST];
            add_products(queries, keys, MOST, &mut sums);
            weights.copy_from_slice(&sums[..weights.len()]);
        }
        let zeros = self.count.next_multiple_of(KEYS) - self.count;
        let sums = softmax_of_columns(&mut weights, zeros);
        let mut said = [[[0.0; LANES]; MOST]; HEAD / TOGETHER];
        for (part, weights) in weights.chunks(DEPTH).enumerate() {
            for (at, said) in said.iter_mut().enumerate() {
                let values = (head * HEAD / TOGETHER + at) * self.count + part * DEPTH;
                add_products(weights, &self.values[values * TOGETHER..], TOGETHER, said);
            }
        }
        (said.map(|sums| std::array::from_fn(|at| sums[at])), sums)
    }
}

/// The sums of [`TOGETHER`] numbers.
type Sums8 = [[f32; LANES]; TOGETHER];

/// Where queries, keys and values are written.
pub(super) struct Questions {
    count: usize,
    heads: usize,
    queries: Disjoint<f32>,
    keys: Disjoint<f32>,
    values: Disjoint<f32>,
}

impl Questions {
    /// Takes the queries of twelve positions from `first` on, of sixteen numbers from `output` on.
    pub fn set_queries(&self, first: usize, output: usize, sums: &Sums) {
        let factor = 1.0 / (HEAD as f32).sqrt();
        for (position, sums) in (first..self.count).zip(sums) {
            let (group, lane) = (position / LANES, position % LANES);
            let start = (group * self.heads * HEAD + output) * LANES + lane;
            for (at, sum) in sums.iter().enumerate() {
                // SAFETY: the caller alone has this position.
                unsafe { self.queries.part(start + at * LANES, 1)[0] = sum * factor };
            }
        }
    }

    /// As [`Questions::set_queries`], of keys.
    pub fn set_keys(&self, first: usize, output: usize, sums: &Sums) {
        let start = (first / MOST * self.heads * HEAD + output) * MOST;
        // SAFETY: the caller alone has these positions.
        transpose(sums, unsafe { self.keys.part(start, LANES * MOST) });
    }

    /// As [`Questions::set_queries`], of values.
    pub fn set_values(&self, first: usize, output: usize, sums: &Sums) {
        for (position, sums) in (first..self.count).zip(sums) {
            for (at, sums) in sums.as_chunks::<TOGETHER>().0.iter().enumerate() {
                let start = ((output / TOGETHER + at) * self.count + position) * TOGETHER;
                // SAFETY: the caller alone has this position.
                unsafe { self.values.part(start, TOGETHER) }.copy_from_slice(sums);
            }
        }
    }
}
