//! One token after the other on the CPU, in plain numbers.
//!
//! A token is so little work beside reading the weights that tensors and calls of other threads
//! for every small step take a fifth of the time; here only matrices and attention are shared out.

use candle_core::{Device, Result, Tensor};

use super::{Layer, Norm, Rotation, Transformer};
use crate::engine::llm::mapped::{Matrix, Token};
use crate::engine::llm::pool::fill_chunks;

impl Transformer {
    /// Reads one token as [`Transformer::forward`] does.
    pub(super) fn step(&mut self, token: u32, position: usize) -> Result<Vec<f32>> {
        let ids = Tensor::new(&[token], &self.device)?;
        let mut x: Vec<f32> = self.embedding.embedding(&ids)?.flatten_all()?.to_vec1()?;
        for layer in &mut self.layers {
            let attended = layer.attend_one(&x, &self.rotation, position)?;
            add(&mut x, &attended);
            let token = Token::new(layer.feed_norm.of(&x));
            let gated = Token::new(Matrix::gated(&layer.gate, &layer.up, &token)?);
            let [fed] = Matrix::multiply_one([&layer.down], &gated)?;
            add(&mut x, &fed);
        }
        let [logits] = Matrix::multiply_one([&self.output], &Token::new(self.norm.of(&x)))?;
        Ok(logits)
    }
}

impl Layer {
    /// What the token `x` takes from those before it and from itself.
    fn attend_one(&mut self, x: &[f32], rotation: &Rotation, position: usize) -> Result<Vec<f32>> {
        let width = self.head_width;
        let token = Token::new(self.attention_norm.of(x));
        let mut parts = Matrix::multiply_one([&self.query, &self.key, &self.value], &token)?;
        for (part, bias) in parts.iter_mut().zip(self.biases.iter().flatten()) {
            add(part, &bias.values);
        }
        for (part, norm) in parts.iter_mut().zip(self.head_norms.iter().flatten()) {
            for head in part.chunks_exact_mut(width) {
                head.copy_from_slice(&norm.of(head));
            }
        }
        let [mut query, mut key, value] = parts;
        for head in query.chunks_exact_mut(width).chain(key.chunks_exact_mut(width)) {
            rotation.turn_one(head, position);
        }
        let [key, value] = [key, value]
            .map(|part| Tensor::from_vec(part, (1, self.key_heads, 1, width), &Device::Cpu));
        self.cache.append([&key?, &value?])?;

        let sharing = self.heads / self.key_heads;
        let mut seen = vec![0.0; self.heads * width];
        self.cache.read(|keys, values, room| {
            fill_chunks(&mut seen, width, |head, seen| {
                let start = head / sharing * room * width;
                let tokens = start..start + (position + 1) * width;
                let query = &query[head * width..][..width];
                look(query, &keys[tokens.clone()], &values[tokens], seen);
            });
        })?;
        let [attended] = Matrix::multiply_one([&self.output], &Token::new(seen))?;
        Ok(attended)
    }
}

impl Norm {
    /// What [`Norm::forward`] makes of one token.
    fn of(&self, x: &[f32]) -> Vec<f32> {
        let squares: f32 = x.iter().map(|value| value * value).sum();
        let scale = 1.0 / (squares / x.len() as f32 + self.epsilon).sqrt();
        x.iter().zip(&self.weight.values).map(|(value, weight)| value * scale * weight).collect()
    }
}

impl Rotation {
    /// What [`Rotation::turn`] does, of one `head` of the token at `position`.
    fn turn_one(&self, head: &mut [f32], position: usize) {
        let pairs = head.len() / 2;
        let [cos, sin] =
            [&self.cos, &self.sin].map(|table| &table.values[position * pairs..][..pairs]);
        for (pair, (cos, sin)) in cos.iter().zip(sin).enumerate() {
            let (first, second) =
                if self.neighbours { (2 * pair, 2 * pair + 1) } else { (pair, pair + pairs) };
            let (x, y) = (head[first], head[second]);
            head[first] = x * cos - y * sin;
            head[second] = x * sin + y * cos;
        }
    }
}

/// Adds `other` to `x`.
fn add(x: &mut [f32], other: &[f32]) {
    for (value, other) in x.iter_mut().zip(other) {
        *value += other;
    }
}

/// What a head sees with `query` (width): `keys` and `values` are (tokens, width), `seen` (width).
fn look(query: &[f32], keys: &[f32], values: &[f32], seen: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        #[target_feature(enable = "avx2,fma")]
        fn wide(query: &[f32], keys: &[f32], values: &[f32], seen: &mut [f32]) {
            look_with(query, keys, values, seen);
        }
        // SAFETY: the processor can do it.
        return unsafe { wide(query, keys, values, seen) };
    }
    look_with(query, keys, values, seen);
}

/// Compiled once for each kind of processor, and so into the callers.
#[allow(clippy::inline_always)]
#[inline(always)]
fn look_with(query: &[f32], keys: &[f32], values: &[f32], seen: &mut [f32]) {
    let width = query.len();
    let scale = 1.0 / (width as f32).sqrt();
    let mut scores: Vec<f32> =
        keys.chunks_exact(width).map(|key| dot(query, key) * scale).collect();
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for score in &mut scores {
        *score = (*score - largest).exp();
        total += *score;
    }
    for (score, value) in scores.iter().zip(values.chunks_exact(width)) {
        let share = score / total;
        for (seen, value) in seen.iter_mut().zip(value) {
            *seen += share * value;
        }
    }
}

/// The scalar product, summed in lanes that fit the processor's registers.
#[inline]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}
