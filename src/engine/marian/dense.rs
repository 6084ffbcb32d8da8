//! Products with matrices of 32-bit floats, for `network` only.
//!
//! On the CPU the weights lie in panels of sixteen outputs, so that they are read from end to end,
//! once for all tokens. candle's product rearranges them anew for every token, on one thread, which
//! took two thirds of a translation's time.

use candle_core::utils::barrier_pool;
use candle_core::{Device, Layout, Result, Storage, Tensor, bail};
use candle_nn::{Linear, Module};

use crate::engine::disjoint::Disjoint;
use crate::engine::tile::{LANES, MOST, Sums, add_products, interleave};

/// A matrix (outputs, inputs), and what is added to its products.
pub(super) enum Dense {
    Panels(Panels),
    /// On another device than the CPU.
    Linear(Linear),
}

impl Dense {
    /// `weight` is [outputs, inputs], `bias` has as many numbers as there are outputs.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(weight: Tensor, bias: Tensor) -> Result<Self> {
        if matches!(weight.device(), Device::Cpu) {
            Ok(Self::Panels(Panels::new(&weight, &bias)?))
        } else {
            Ok(Self::Linear(Linear::new(weight, Some(bias))))
        }
    }

    /// [.., inputs] to [.., outputs].
    ///
    /// # Errors
    /// When `x` is of another width.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Panels(panels) => {
                let mut shape = x.dims().to_vec();
                let products = panels.multiply(x)?;
                if let Some(width) = shape.last_mut() {
                    *width = panels.outputs;
                }
                Tensor::from_vec(products, shape, &Device::Cpu)
            }
            Self::Linear(linear) => linear.forward(x),
        }
    }

    /// As [`Dense::forward`], in plain numbers.
    ///
    /// # Errors
    /// As there.
    pub fn products(&self, x: &Tensor) -> Result<Vec<f32>> {
        match self {
            Self::Panels(panels) => panels.multiply(x),
            Self::Linear(linear) => linear.forward(x)?.flatten_all()?.to_vec1(),
        }
    }

    /// The rows of the matrix that `numbers`, a tensor of one dimension, names: [.., inputs].
    ///
    /// # Errors
    /// When there is no such row.
    pub fn rows(&self, numbers: &Tensor) -> Result<Tensor> {
        match self {
            Self::Panels(panels) => {
                let numbers: Vec<u32> = numbers.to_vec1()?;
                let mut rows = Vec::with_capacity(numbers.len() * panels.inputs);
                for &number in &numbers {
                    let number = number as usize;
                    if number >= panels.outputs {
                        bail!("the matrix has {} rows and no {number}", panels.outputs)
                    }
                    let panel = panels.panel(number / LANES);
                    rows.extend(panel.iter().map(|weights| weights[number % LANES]));
                }
                Tensor::from_vec(rows, (numbers.len(), panels.inputs), &Device::Cpu)
            }
            Self::Linear(linear) => linear.weight().index_select(numbers, 0),
        }
    }
}

/// The weights of sixteen outputs for one input after the other, then of the next sixteen.
pub(super) struct Panels {
    inputs: usize,
    outputs: usize,
    weights: Vec<[f32; LANES]>,
    /// What is added, for each panel.
    bias: Vec<[f32; LANES]>,
}

impl Panels {
    fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let (outputs, inputs) = weight.dims2()?;
        let weight = weight.contiguous()?;
        let (storage, layout) = weight.storage_and_layout();
        let mut weights = vec![[0.0; LANES]; outputs.div_ceil(LANES) * inputs];
        for (output, row) in numbers(&storage, layout)?.chunks_exact(inputs).enumerate() {
            let panel = &mut weights[output / LANES * inputs..][..inputs];
            for (to, &from) in panel.iter_mut().zip(row) {
                to[output % LANES] = from;
            }
        }
        let mut added: Vec<f32> = bias.flatten_all()?.to_vec1()?;
        added.resize(outputs.next_multiple_of(LANES), 0.0);
        Ok(Self { inputs, outputs, weights, bias: added.as_chunks().0.to_vec() })
    }

    fn panel(&self, at: usize) -> &[[f32; LANES]] {
        &self.weights[at * self.inputs..][..self.inputs]
    }

    /// (tokens, outputs) of `x`, whose last dimension has the inputs.
    fn multiply(&self, x: &Tensor) -> Result<Vec<f32>> {
        let x = x.contiguous()?;
        if x.dims().last() != Some(&self.inputs) {
            bail!("numbers of the shape {:?} for a matrix of {} inputs", x.dims(), self.inputs)
        }
        let (storage, layout) = x.storage_and_layout();
        let tokens = numbers(&storage, layout)?;
        let tiles = Tile::all(tokens, self.inputs);
        let mut products = vec![0.0; tokens.len() / self.inputs * self.outputs];
        let shared = Disjoint(products.as_mut_ptr());
        barrier_pool().execute_chunked(self.bias.len(), |panels| {
            for at in panels {
                let (panel, bias) = (self.panel(at), &self.bias[at]);
                let width = LANES.min(self.outputs - at * LANES);
                for tile in &tiles {
                    let sums = tile.sums(panel, bias);
                    for (sums, token) in sums.iter().zip(tile.first..tile.first + tile.count) {
                        // SAFETY: each panel has places of its own for each token.
                        let to = unsafe { shared.part(token * self.outputs + at * LANES, width) };
                        to.copy_from_slice(&sums[..width]);
                    }
                }
            }
        });
        Ok(products)
    }
}

/// What a tensor without gaps holds.
fn numbers<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    let Storage::Cpu(storage) = storage else { bail!("numbers on another device") };
    let all = storage.as_slice::<f32>()?;
    Ok(&all[layout.start_offset()..][..layout.shape().elem_count()])
}

/// Some tokens, [interleaved](interleave).
struct Tile {
    first: usize,
    count: usize,
    /// 4, 8 or 12; what is more than `count` is zero.
    room: usize,
    numbers: Vec<f32>,
}

impl Tile {
    /// All of `tokens`, each of which has so many numbers.
    fn all(tokens: &[f32], inputs: usize) -> Vec<Self> {
        let tile = |(at, tokens): (usize, &[f32])| {
            let count = tokens.len() / inputs;
            let room = count.next_multiple_of(4);
            let mut numbers = vec![0.0; room * inputs];
            interleave(tokens.chunks_exact(inputs), room, &mut numbers);
            Self { first: at * MOST, count, room, numbers }
        };
        tokens.chunks(MOST * inputs).enumerate().map(tile).collect()
    }

    /// The products of a panel, added to `bias`.
    fn sums(&self, panel: &[[f32; LANES]], bias: &[f32; LANES]) -> Sums {
        let mut sums = [*bias; MOST];
        add_products(panel, &self.numbers, self.room, &mut sums);
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_rows() {
        let (outputs, inputs) = (35, 24);
        let number = |at: usize| (at * 7919 % 997) as f32 / 498.0 - 1.0;
        let weights: Vec<f32> = (0..outputs * inputs).map(number).collect();
        let bias: Vec<f32> = (0..outputs).map(|at| at as f32).collect();
        let tensor = |numbers: &[f32], shape: &[usize]| {
            Tensor::from_vec(numbers.to_vec(), shape, &Device::Cpu).expect("a tensor")
        };
        let weight = tensor(&weights, &[outputs, inputs]);
        let dense = Dense::new(weight, tensor(&bias, &[outputs])).expect("a matrix");
        for count in [1, 3, 4, 6, 12, 30] {
            let tokens: Vec<f32> = (0..count * inputs).map(|at| number(at + 5)).collect();
            let x = tensor(&tokens, &[1, count, inputs]);
            let products = dense.forward(&x).expect("products");
            assert_eq!(products.dims(), [1, count, outputs]);
            let products: Vec<f32> =
                products.flatten_all().and_then(|it| it.to_vec1()).expect("f32");
            for (products, token) in products.chunks(outputs).zip(tokens.chunks(inputs)) {
                for ((product, row), bias) in products.iter().zip(weights.chunks(inputs)).zip(&bias)
                {
                    let exact: f32 = row.iter().zip(token).map(|(a, b)| a * b).sum();
                    assert!((product - exact - bias).abs() < 1e-4);
                }
            }
        }
        let rows =
            dense.rows(&Tensor::new(&[34_u32, 0], &Device::Cpu).expect("two")).expect("rows");
        let rows: Vec<Vec<f32>> = rows.to_vec2().expect("two rows");
        assert_eq!(rows[0], weights[34 * inputs..]);
        assert_eq!(rows[1], weights[..inputs]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let zeros = |shape: &[usize]| {
            Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).expect("zeros")
        };
        let dense = Dense::new(zeros(&[3, 4]), zeros(&[3])).expect("a matrix");
        assert!(dense.forward(&zeros(&[2, 5])).is_err());
        assert!(dense.rows(&Tensor::new(&[3_u32], &Device::Cpu).expect("one")).is_err());
    }
}
