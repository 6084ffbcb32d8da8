//! One token after the other on the CPU, in plain numbers.
//!
//! A token is so little work beside reading the weights that tensors and calls of other threads
//! for every small step take a fifth of the time; here only matrices and attention are shared out.

use candle_core::{Device, Result, Tensor, bail};

use super::{Layer, Norm, Rotation, Transformer};
use crate::engine::llm::mapped::{Matrix, Token};
use crate::engine::pool::fill_chunks;

impl Transformer {
    /// Reads one token as [`Transformer::forward`] does.
    pub(super) fn step(&mut self, token: u32, position: usize) -> Result<Vec<f32>> {
        if position >= self.rotation.cos.tensor.dim(0)? {
            bail!("there is no place for token {position}")
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::quantized::gguf_file::{self, Content, Value};
    use candle_core::quantized::{GgmlDType, QTensor};
    use memmap2::Mmap;

    use super::*;

    const TOKENS: [u32; 6] = [3, 1, 4, 1, 5, 9];

    /// A small decoder of random weights: two layers, four heads that share two keys.
    fn decoder(architecture: &str) -> Transformer {
        let tensor = |shape: &[usize], scale: f64| {
            let tensor = Tensor::randn(0_f32, 1.0, shape, &Device::Cpu).unwrap();
            QTensor::quantize(&(tensor * scale).unwrap(), GgmlDType::F32).unwrap()
        };
        let mut tensors = vec![
            ("token_embd.weight".to_owned(), tensor(&[16, 32], 1.0)),
            ("output_norm.weight".to_owned(), tensor(&[32], 1.0)),
        ];
        for layer in 0..2 {
            let mut add = |name: &str, shape: &[usize], scale: f64| {
                tensors.push((format!("blk.{layer}.{name}"), tensor(shape, scale)));
            };
            for (name, outputs, inputs) in [
                ("attn_q", 48, 32),
                ("attn_k", 24, 32),
                ("attn_v", 24, 32),
                ("attn_output", 32, 48),
                ("ffn_gate", 64, 32),
                ("ffn_up", 64, 32),
                ("ffn_down", 32, 64),
            ] {
                add(&format!("{name}.weight"), &[outputs, inputs], 0.2);
            }
            add("attn_norm.weight", &[32], 1.0);
            add("ffn_norm.weight", &[32], 1.0);
            if architecture == "qwen2" {
                for (name, width) in [("attn_q", 48), ("attn_k", 24), ("attn_v", 24)] {
                    add(&format!("{name}.bias"), &[width], 1.0);
                }
            }
            if architecture == "qwen3" {
                add("attn_q_norm.weight", &[12], 1.0);
                add("attn_k_norm.weight", &[12], 1.0);
            }
        }
        let numbers = [
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
            ("attention.key_length", 12),
            ("embedding_length", 32),
            ("block_count", 2),
        ];
        let mut metadata: Vec<(String, Value)> = numbers
            .iter()
            .map(|(name, number)| (format!("{architecture}.{name}"), Value::U32(*number)))
            .collect();
        let epsilon = format!("{architecture}.attention.layer_norm_rms_epsilon");
        metadata.push((epsilon, Value::F32(1e-6)));
        let metadata: Vec<_> = metadata.iter().map(|(name, value)| (&**name, value)).collect();
        let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (&**name, tensor)).collect();
        let mut file = tempfile::tempfile().unwrap();
        gguf_file::write(&mut file, &metadata, &tensors).unwrap();
        // SAFETY: nobody else has the file.
        let map = Arc::new(unsafe { Mmap::map(&file) }.unwrap());
        let content = Content::read(&mut std::io::Cursor::new(&map[..])).unwrap();
        Transformer::load(&content, &map, architecture, 32, &Device::Cpu).unwrap()
    }

    #[track_caller]
    fn assert_alike(a: &[f32], b: &[f32]) {
        let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(a.len() == b.len() && apart < 1e-3, "{apart}: {a:?} and {b:?}");
    }

    #[test]
    fn a_token_alone_gives_what_it_gives_among_others() {
        for architecture in ["llama", "qwen2", "qwen3"] {
            let mut decoder = decoder(architecture);
            let together = decoder.forward(&TOKENS, 0).unwrap();
            decoder.forget_from(0);
            decoder.forward(&TOKENS[..3], 0).unwrap();
            let mut alone = Vec::new();
            for (at, token) in TOKENS.into_iter().enumerate().skip(3) {
                alone = decoder.forward(&[token], at).unwrap();
            }
            assert_alike(&together, &alone);
        }
    }

    #[test]
    fn a_token_behind_the_last_place_is_an_error() {
        let mut decoder = decoder("llama");
        decoder.forward(&[1; 32], 0).unwrap();
        assert!(decoder.forward(&[1], 32).is_err());
    }

    #[test]
    fn what_was_saved_is_taken_up_in_part() {
        let mut decoder = decoder("qwen2");
        let together = decoder.forward(&TOKENS, 0).unwrap();
        let state = decoder.save(5).unwrap();
        decoder.forget_from(0);
        decoder.forward(&[7, 7, 7, 7, 7, 7, 7], 0).unwrap();
        decoder.restore(&state, 4).unwrap();
        let after = decoder.forward(&TOKENS[4..], 4).unwrap();
        assert_alike(&together, &after);
    }
}
