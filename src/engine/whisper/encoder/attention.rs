//! Every position listens to all others.

use std::marker::PhantomData;

use super::{share, transpose};
use crate::engine::disjoint::Disjoint;
use crate::engine::exponential::softmax_of_columns;
use crate::engine::tile::{LANES, MOST, Sums, add_products};

/// Numbers of a head, in every Whisper model.
pub(super) const HEAD: usize = 64;

/// The numbers of a value that are added up together.
const NUMBERS: usize = 8;

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
    pub fn open(&mut self) -> Questions<'_> {
        Questions {
            whole: PhantomData,
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
    fn hear(&self, group: usize, head: usize) -> ([Sums8; HEAD / NUMBERS], [f32; LANES]) {
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
        let mut said = [[[0.0; LANES]; MOST]; HEAD / NUMBERS];
        for (part, weights) in weights.chunks(DEPTH).enumerate() {
            for (at, said) in said.iter_mut().enumerate() {
                let values = (head * HEAD / NUMBERS + at) * self.count + part * DEPTH;
                add_products(weights, &self.values[values * NUMBERS..], NUMBERS, said);
            }
        }
        (said.map(|sums| std::array::from_fn(|at| sums[at])), sums)
    }
}

/// The sums of [`NUMBERS`] numbers.
type Sums8 = [[f32; LANES]; NUMBERS];

/// Where queries, keys and values are written.
pub(super) struct Questions<'a> {
    whole: PhantomData<&'a mut Attention>,
    count: usize,
    heads: usize,
    queries: Disjoint<f32>,
    keys: Disjoint<f32>,
    values: Disjoint<f32>,
}

impl Questions<'_> {
    /// Takes the queries of twelve positions from `first` on, a multiple of twelve, of sixteen
    /// numbers from `output` on.
    ///
    /// # Safety
    /// Nobody else sets these meanwhile.
    pub unsafe fn set_queries(&self, first: usize, output: usize, sums: &Sums) {
        let factor = 1.0 / (HEAD as f32).sqrt();
        for (position, sums) in (first..self.count).zip(sums) {
            let (group, lane) = (position / LANES, position % LANES);
            let start = (group * self.heads * HEAD + output) * LANES + lane;
            for (at, sum) in sums.iter().enumerate() {
                // SAFETY: as the caller says.
                unsafe { self.queries.part(start + at * LANES, 1)[0] = sum * factor };
            }
        }
    }

    /// As [`Questions::set_queries`], of keys.
    ///
    /// # Safety
    /// As there.
    pub unsafe fn set_keys(&self, first: usize, output: usize, sums: &Sums) {
        let start = (first / MOST * self.heads * HEAD + output) * MOST;
        // SAFETY: as the caller says.
        transpose(sums, unsafe { self.keys.part(start, LANES * MOST) });
    }

    /// As [`Questions::set_queries`], of values.
    ///
    /// # Safety
    /// As there.
    pub unsafe fn set_values(&self, first: usize, output: usize, sums: &Sums) {
        for (position, sums) in (first..self.count).zip(sums) {
            for (at, sums) in sums.as_chunks::<NUMBERS>().0.iter().enumerate() {
                let start = ((output / NUMBERS + at) * self.count + position) * NUMBERS;
                // SAFETY: as the caller says.
                unsafe { self.values.part(start, NUMBERS) }.copy_from_slice(sums);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number for a position and a place among those of all heads.
    fn number(position: usize, place: usize, of: usize) -> f32 {
        ((position * 131 + place * 31 + of * 17) % 23) as f32 / 11.0 - 1.0
    }

    /// Twelve positions' numbers, sixteen of each.
    fn sums(first: usize, output: usize, of: usize) -> Sums {
        std::array::from_fn(|at| std::array::from_fn(|lane| number(first + at, output + lane, of)))
    }

    #[test]
    fn every_position_hears_the_values_of_all_weighted_by_the_softmax_of_their_keys() {
        let heads = 2;
        let width = heads * HEAD;
        for (count, threads) in [(1, 0), (17, 1), (60, 16), (300, 2), (256, 2)] {
            let mut attention = Attention::new(count, heads);
            let questions = attention.open();
            for first in (0..count).step_by(MOST) {
                for output in (0..width).step_by(LANES) {
                    // SAFETY: there is no other thread.
                    unsafe {
                        questions.set_queries(first, output, &sums(first, output, 0));
                        questions.set_keys(first, output, &sums(first, output, 1));
                        questions.set_values(first, output, &sums(first, output, 2));
                    }
                }
            }
            let mut heard = vec![0.0; count * width];
            attention.attend(threads, &mut heard);
            let zeros = (count.next_multiple_of(KEYS) - count) as f32;
            for position in [0, count / 2, count - 1] {
                for head in 0..heads {
                    let places = head * HEAD..(head + 1) * HEAD;
                    let weights: Vec<f32> = (0..count)
                        .map(|key| {
                            let products = places
                                .clone()
                                .map(|place| number(position, place, 0) * number(key, place, 1));
                            (products.sum::<f32>() / 8.0).exp()
                        })
                        .collect();
                    let all = weights.iter().sum::<f32>() + zeros;
                    for place in places {
                        let values = (0..count).map(|key| weights[key] * number(key, place, 2));
                        let exact = values.sum::<f32>() / all;
                        let found = heard[position * width + place];
                        assert!((found - exact).abs() < 1e-4, "{count}: {found} and {exact}");
                    }
                }
            }
        }
    }
}
