//! Products with the encoder's matrices.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::engine::tile::{LANES, MOST, Sums, add_products};

/// Inputs that are gone through for all tiles before the next: the weights for them stay in the
/// processor's first cache.
const DEPTH: usize = 256;

/// Rows of numbers, twelve of them [interleaved](crate::engine::tile::interleave) to a tile.
pub(super) struct Rows {
    inputs: usize,
    numbers: Vec<f32>,
}

impl Rows {
    /// Room for `count` rows, all 0, of `inputs` numbers.
    pub fn new(count: usize, inputs: usize) -> Self {
        Self { inputs, numbers: vec![0.0; count.div_ceil(MOST) * MOST * inputs] }
    }

    /// Each tile: twelve first numbers, twelve second numbers, and so on.
    pub fn tiles(&mut self) -> impl ExactSizeIterator<Item = &mut [f32]> {
        self.numbers.chunks_exact_mut(MOST * self.inputs)
    }

    /// All numbers, in no order.
    pub fn numbers(&mut self) -> &mut [f32] {
        &mut self.numbers
    }
}

/// A matrix (outputs, inputs) of 16-bit floats, and what is added to its products.
pub(super) struct Matrix {
    inputs: usize,
    /// The weights of sixteen outputs for one input after the other, then of the next sixteen.
    panels: Vec<[f16; LANES]>,
    /// What is added, for each panel.
    bias: Vec<[f32; LANES]>,
}

impl Matrix {
    /// `bias` has a number for each output, of which there are a multiple of sixteen; `weight`
    /// tells that of an output for an input.
    pub fn new(bias: &[f32], inputs: usize, weight: impl Fn(usize, usize) -> f16) -> Self {
        let bias = bias.as_chunks().0.to_vec();
        let panel = |panel: usize| {
            let weight = &weight;
            (0..inputs)
                .map(move |input| std::array::from_fn(|lane| weight(panel * LANES + lane, input)))
        };
        Self { inputs, panels: (0..bias.len()).flat_map(panel).collect(), bias }
    }

    /// Gives `each` the products of every panel with every tile of `rows`, with the number of the
    /// tile and the panel's first output.
    pub fn multiply(&self, rows: &Rows, mut each: impl FnMut(usize, usize, &mut Sums)) {
        let mut weights = vec![[0.0; LANES]; self.inputs];
        let tile_length = MOST * self.inputs;
        let mut sums = vec![[[0.0; LANES]; MOST]; rows.numbers.len() / tile_length];
        for (at, bias) in self.bias.iter().enumerate() {
            let panel = &self.panels[at * self.inputs..][..self.inputs];
            panel.as_flattened().convert_to_f32_slice(weights.as_flattened_mut());
            sums.fill([*bias; MOST]);
            for (part, weights) in weights.chunks(DEPTH).enumerate() {
                let tiles = rows.numbers.chunks_exact(tile_length);
                for (tile, sums) in tiles.zip(&mut sums) {
                    add_products(weights, &tile[part * DEPTH * MOST..], MOST, sums);
                }
            }
            for (tile, sums) in sums.iter_mut().enumerate() {
                each(tile, at * LANES, sums);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tile::interleave;

    #[test]
    fn products_are_those_of_the_rows() {
        let (outputs, inputs, count) = (32, 300, 17);
        let number = |at: usize| (at * 7919 % 997) as f32 / 498.0 - 1.0;
        let weight = |output: usize, input: usize| f16::from_f32(number(output * inputs + input));
        let bias: Vec<f32> = (0..outputs).map(|at| at as f32).collect();
        let matrix = Matrix::new(&bias, inputs, weight);
        let given: Vec<f32> = (0..count * inputs).map(|at| number(at + 5)).collect();
        let mut rows = Rows::new(count, inputs);
        for (tile, given) in rows.tiles().zip(given.chunks(MOST * inputs)) {
            interleave(given.chunks(inputs), MOST, tile);
        }
        let mut products = vec![0.0; count.next_multiple_of(MOST) * outputs];
        matrix.multiply(&rows, |tile, first, sums| {
            for (place, sums) in sums.iter().enumerate() {
                let to = &mut products[(tile * MOST + place) * outputs + first..];
                to[..LANES].copy_from_slice(sums);
            }
        });
        for (row, products) in given.chunks(inputs).zip(products.chunks(outputs)) {
            for (output, product) in products.iter().enumerate() {
                let exact: f32 = (0..inputs).map(|at| row[at] * weight(output, at).to_f32()).sum();
                assert!((product - exact - bias[output]).abs() < 1e-3);
            }
        }
    }
}
