//! The decoder that Llama, Qwen2 and Qwen3 have in common, on weights that stay quantised.
//!
//! Used by `model` only. It differs from those of candle-transformers in what it costs: the table
//! of embeddings is not unpacked (0.9 GB for Qwen2.5-1.5B), keys and values are written in place
//! and not copied for every token, and heads that share keys do not copy them.
//!
//! Architectures: Llama (arXiv:2302.13971), Qwen2 (arXiv:2407.10671: biases on query, key and
//! value), Qwen3 (arXiv:2505.09388: norms on query and key); tensor names as in the GGUF
//! specification of ggml.

#[cfg(feature = "cuda")]
mod gpu;
mod step;

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{D, DType, Device, Result, Storage, Tensor, bail};
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use candle_nn::rotary_emb::{rope, rope_i};
use memmap2::Mmap;

use super::mapped::{self, Input, Matrix};

/// Room for keys and values is taken for so many tokens at a time.
const CACHE_STEP: usize = 512;

/// A decoder with its key-value cache.
pub(super) struct Transformer {
    embedding: QTensor,
    layers: Vec<Layer>,
    norm: Norm,
    output: Matrix,
    rotation: Rotation,
    device: Device,
    /// What takes one token through on a GPU, if it fits the weights.
    #[cfg(feature = "cuda")]
    gpu: Option<gpu::Gpu>,
}

/// Numbers for tensors, and for plain ones.
struct Vector {
    tensor: Tensor,
    values: Vec<f32>,
}

impl Vector {
    fn new(tensor: Tensor) -> Result<Self> {
        Ok(Self { values: tensor.flatten_all()?.to_vec1()?, tensor })
    }
}

/// Divides by the root of the mean square, and multiplies by a weight.
struct Norm {
    weight: Vector,
    epsilon: f32,
}

impl Norm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        rms_norm(x, &self.weight.tensor, self.epsilon)
    }
}

struct Layer {
    attention_norm: Norm,
    query: Matrix,
    key: Matrix,
    value: Matrix,
    /// Of query, key and value.
    biases: Option<[Vector; 3]>,
    /// Of query and key, for each head.
    head_norms: Option<[Norm; 2]>,
    output: Matrix,
    feed_norm: Norm,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
    heads: usize,
    key_heads: usize,
    head_width: usize,
    cache: Cache,
}

/// Positions turn pairs of numbers: neighbours in Llama's files, halves of a head in Qwen's.
struct Rotation {
    /// (positions, head width / 2) each.
    cos: Vector,
    sin: Vector,
    neighbours: bool,
}

impl Rotation {
    /// Cosines and sines for `positions` positions, `head_width / 2` of them each.
    fn new(
        head_width: usize,
        base: f32,
        positions: usize,
        neighbours: bool,
        device: &Device,
    ) -> Result<Self> {
        let turns: Vec<f32> = (0..head_width)
            .step_by(2)
            .map(|at| base.powf(-(at as f32) / head_width as f32))
            .collect();
        let turns = Tensor::from_vec(turns, (1, head_width / 2), device)?;
        let positions =
            Tensor::arange(0, positions as u32, device)?.to_dtype(DType::F32)?.unsqueeze(1)?;
        let angles = positions.matmul(&turns)?;
        let (cos, sin) = (Vector::new(angles.cos()?)?, Vector::new(angles.sin()?)?);
        Ok(Self { cos, sin, neighbours })
    }

    /// Turns `x` (batch, heads, tokens, width), whose first token stands at `position`.
    fn turn(&self, x: &Tensor, position: usize) -> Result<Tensor> {
        let tokens = x.dim(2)?;
        let [cos, sin] = [&self.cos, &self.sin].map(|it| it.tensor.narrow(0, position, tokens));
        let (cos, sin) = (cos?, sin?);
        if self.neighbours { rope_i(x, &cos, &sin) } else { rope(x, &cos, &sin) }
    }
}

/// Keys and values of the tokens before, (1, key heads, room, width) each.
#[derive(Default)]
struct Cache {
    both: Option<[Tensor; 2]>,
    tokens: usize,
}

impl Cache {
    /// Makes room for `added` tokens behind those that are there; gives all keys and all values.
    fn reserve(
        &mut self,
        added: usize,
        heads: usize,
        width: usize,
        device: &Device,
    ) -> Result<[Tensor; 2]> {
        let wanted = self.tokens + added;
        if let Some(both) = &self.both
            && both[0].dim(2)? >= wanted
        {
            return Ok(both.clone());
        }
        let shape = (1, heads, wanted.next_multiple_of(CACHE_STEP), width);
        let larger = || Tensor::zeros(shape, DType::F32, device);
        let larger = [larger()?, larger()?];
        for (to, from) in larger.iter().zip(self.both.iter().flatten()) {
            to.slice_set(&from.narrow(2, 0, self.tokens)?.contiguous()?, 2, 0)?;
        }
        Ok(self.both.insert(larger).clone())
    }

    /// Writes `new` keys and values behind those that are there; gives all of them.
    fn append(&mut self, new: [&Tensor; 2]) -> Result<[Tensor; 2]> {
        let (_, heads, added, width) = new[0].dims4()?;
        let [keys, values] = self.reserve(added, heads, width, new[0].device())?;
        keys.slice_set(&new[0].contiguous()?, 2, self.tokens)?;
        values.slice_set(&new[1].contiguous()?, 2, self.tokens)?;
        self.tokens += added;
        Ok([keys.narrow(2, 0, self.tokens)?, values.narrow(2, 0, self.tokens)?])
    }

    /// A copy of the keys and values of the first `tokens` tokens.
    fn first(&self, tokens: usize) -> Result<[Tensor; 2]> {
        let Some([keys, values]) = &self.both else { bail!("there are no keys") };
        let copy = |all: &Tensor| all.narrow(2, 0, tokens)?.force_contiguous();
        Ok([copy(keys)?, copy(values)?])
    }

    /// Calls `read` with all keys and all values, (key heads, room, width) each, and with the
    /// room. For the CPU.
    fn read<T>(&self, read: impl FnOnce(&[f32], &[f32], usize) -> T) -> Result<T> {
        let Some([keys, values]) = &self.both else { bail!("there are no keys") };
        let room = keys.dim(2)?;
        let ((keys, _), (values, _)) = (keys.storage_and_layout(), values.storage_and_layout());
        match (&*keys, &*values) {
            (Storage::Cpu(keys), Storage::Cpu(values)) => {
                Ok(read(keys.as_slice()?, values.as_slice()?, room))
            }
            _ => bail!("keys and values are not on the CPU"),
        }
    }
}

/// Keys and values of some tokens, (1, key heads, tokens, width) for each layer.
pub(super) struct State(Vec<[Tensor; 2]>);

/// What a GGUF's header says, read by name.
struct Header<'a> {
    metadata: &'a HashMap<String, Value>,
    architecture: &'a str,
}

impl Header<'_> {
    fn value(&self, name: &str) -> Option<&Value> {
        self.metadata.get(&format!("{}.{name}", self.architecture))
    }

    fn count(&self, name: &str) -> Result<usize> {
        match self.value(name).and_then(|value| value.to_u32().ok()) {
            Some(count) if count > 0 => Ok(count as usize),
            _ => bail!("its file has no usable `{}.{name}`", self.architecture),
        }
    }

    fn number(&self, name: &str) -> Option<f32> {
        self.value(name).and_then(|value| value.to_f32().ok())
    }
}

impl Transformer {
    /// Takes the weights of `content` from `map`; `positions` tokens are the most it will read.
    ///
    /// # Errors
    /// When a tensor or a number is missing or broken.
    pub fn load(
        content: &Content,
        map: &Arc<Mmap>,
        architecture: &str,
        positions: usize,
        device: &Device,
    ) -> Result<Self> {
        let header = Header { metadata: &content.metadata, architecture };
        if header.count("expert_count").is_ok() {
            bail!("models that are mixtures of experts are not supported");
        }
        let heads = header.count("attention.head_count")?;
        let key_heads = header.count("attention.head_count_kv").unwrap_or(heads);
        let width = header.count("embedding_length")?;
        let head_width = header.count("attention.key_length").unwrap_or(width / heads);
        if !heads.is_multiple_of(key_heads) || !head_width.is_multiple_of(2) {
            bail!("{heads} heads of width {head_width} cannot share the keys of {key_heads}");
        }
        let Some(epsilon) = header.number("attention.layer_norm_rms_epsilon") else {
            bail!("its file has no `{architecture}.attention.layer_norm_rms_epsilon`")
        };
        let base = header.number("rope.freq_base").unwrap_or(10_000.0);

        let maybe = |name: &str| -> Result<Option<QTensor>> {
            let info = content.tensor_infos.get(&format!("{name}.weight"));
            info.map(|info| mapped::tensor(map, content.tensor_data_offset, info, device))
                .transpose()
        };
        let tensor = |name: &str| match maybe(name)? {
            Some(tensor) => Ok(tensor),
            None => bail!("its file has no tensor `{name}.weight`"),
        };
        let matrix = |name: &str| match content.tensor_infos.get(&format!("{name}.weight")) {
            Some(info) => Matrix::new(map, content.tensor_data_offset, info, device),
            None => bail!("its file has no tensor `{name}.weight`"),
        };
        let norm = |tensor: QTensor| -> Result<Norm> {
            Ok(Norm { weight: Vector::new(tensor.dequantize(device)?)?, epsilon })
        };
        let bias = |name: &str| -> Result<Option<Vector>> {
            let info = content.tensor_infos.get(&format!("{name}.bias"));
            let read = |info| mapped::tensor(map, content.tensor_data_offset, info, device);
            info.map(|info| Vector::new(read(info)?.dequantize(device)?)).transpose()
        };

        let mut layers = Vec::new();
        for number in 0..header.count("block_count")? {
            let named = |part: &str| format!("blk.{number}.{part}");
            let biases = ["attn_q", "attn_k", "attn_v"].map(|part| bias(&named(part)));
            let [query_bias, key_bias, value_bias] = biases;
            let biases = match (query_bias?, key_bias?, value_bias?) {
                (Some(query), Some(key), Some(value)) => Some([query, key, value]),
                _ => None,
            };
            let head_norms = match (maybe(&named("attn_q_norm"))?, maybe(&named("attn_k_norm"))?) {
                (Some(query), Some(key)) => Some([norm(query)?, norm(key)?]),
                _ => None,
            };
            layers.push(Layer {
                attention_norm: norm(tensor(&named("attn_norm"))?)?,
                query: matrix(&named("attn_q"))?,
                key: matrix(&named("attn_k"))?,
                value: matrix(&named("attn_v"))?,
                biases,
                head_norms,
                output: matrix(&named("attn_output"))?,
                feed_norm: norm(tensor(&named("ffn_norm"))?)?,
                gate: matrix(&named("ffn_gate"))?,
                up: matrix(&named("ffn_up"))?,
                down: matrix(&named("ffn_down"))?,
                heads,
                key_heads,
                head_width,
                cache: Cache::default(),
            });
        }
        let embedding = tensor("token_embd")?;
        if embedding.shape().dims2()?.1 != width {
            bail!("its embeddings are not of width {width}")
        }
        // Where there is none, it is the table of embeddings read the other way.
        let tied = !content.tensor_infos.contains_key("output.weight");
        let output = matrix(if tied { "token_embd" } else { "output" })?;
        let rotation = Rotation::new(head_width, base, positions, architecture == "llama", device)?;
        let norm = norm(tensor("output_norm")?)?;
        #[cfg(feature = "cuda")]
        let gpu = match device {
            Device::Cuda(device) => gpu::Gpu::new(device, width, &layers, &norm, &output)?,
            _ => None,
        };
        Ok(Self {
            embedding,
            layers,
            norm,
            output,
            rotation,
            device: device.clone(),
            #[cfg(feature = "cuda")]
            gpu,
        })
    }

    /// Reads `tokens`, which stand at `position` and after; gives one logit for each token of the
    /// vocabulary: how likely it comes next.
    pub fn forward(&mut self, tokens: &[u32], position: usize) -> Result<Vec<f32>> {
        if let [token] = *tokens
            && self.device.is_cpu()
        {
            return self.step(token, position);
        }
        #[cfg(feature = "cuda")]
        if let [token] = *tokens
            && let Some(logits) = self.step_on_gpu(token, position)?
        {
            return Ok(logits);
        }
        let ids = Tensor::new(tokens, &self.device)?.unsqueeze(0)?;
        let mask = match tokens.len() {
            1 => None,
            count => Some(mask(count, position, &self.device)?),
        };
        let mut x = self.embedding.embedding(&ids)?;
        for layer in &mut self.layers {
            let attended = layer.attend(&x, &self.rotation, mask.as_ref(), position)?;
            x = (x + attended)?;
            x = (&x + layer.feed(&x)?)?;
        }
        let last = x.narrow(1, tokens.len() - 1, 1)?.contiguous()?;
        let last = self.norm.forward(&last)?;
        self.output.multiply(&Input::new(&last))?.flatten_all()?.to_vec1()
    }

    /// Keys and values of the first `tokens` tokens.
    pub fn save(&self, tokens: usize) -> Result<State> {
        let layers = self.layers.iter().map(|layer| layer.cache.first(tokens));
        Ok(State(layers.collect::<Result<_>>()?))
    }

    /// Takes up the first `tokens` tokens of `state` in place of all that was read.
    pub fn restore(&mut self, state: &State, tokens: usize) -> Result<()> {
        for (layer, [keys, values]) in self.layers.iter_mut().zip(&state.0) {
            layer.cache.tokens = 0;
            layer.cache.append([&keys.narrow(2, 0, tokens)?, &values.narrow(2, 0, tokens)?])?;
        }
        Ok(())
    }

    /// Forgets all tokens from `position` on.
    pub fn forget_from(&mut self, position: usize) {
        for layer in &mut self.layers {
            layer.cache.tokens = layer.cache.tokens.min(position);
        }
    }
}

impl Layer {
    /// What the tokens of `x` (1, tokens, width) take from those before them.
    fn attend(
        &mut self,
        x: &Tensor,
        rotation: &Rotation,
        mask: Option<&Tensor>,
        position: usize,
    ) -> Result<Tensor> {
        let (_, tokens, _) = x.dims3()?;
        let (heads, key_heads, width) = (self.heads, self.key_heads, self.head_width);
        let x = self.attention_norm.forward(x)?;
        let x = Input::new(&x);
        let mut parts =
            [self.query.multiply(&x)?, self.key.multiply(&x)?, self.value.multiply(&x)?];
        if let Some(biases) = &self.biases {
            for (part, bias) in parts.iter_mut().zip(biases) {
                *part = part.broadcast_add(&bias.tensor)?;
            }
        }
        let by_head = |part: &Tensor, heads: usize| {
            part.reshape((1, tokens, heads, width))?.transpose(1, 2)?.contiguous()
        };
        let mut query = by_head(&parts[0], heads)?;
        let mut key = by_head(&parts[1], key_heads)?;
        let value = by_head(&parts[2], key_heads)?;
        if let Some([of_query, of_key]) = &self.head_norms {
            query = of_query.forward(&query)?;
            key = of_key.forward(&key)?;
        }
        let query = rotation.turn(&query, position)?;
        let key = rotation.turn(&key, position)?;
        let [keys, values] = self.cache.append([&key, &value])?;

        // Heads that share keys stand one below the other, as if they were more tokens.
        let sharing = heads / key_heads;
        let query = (query.reshape((1, key_heads, sharing * tokens, width))?
            * (1.0 / (width as f64).sqrt()))?;
        let mut scores = query.matmul(&keys.transpose(2, 3)?)?;
        if let Some(mask) = mask {
            let all = scores.dim(D::Minus1)?;
            scores = scores
                .reshape((key_heads, sharing, tokens, all))?
                .broadcast_add(mask)?
                .reshape((1, key_heads, sharing * tokens, all))?;
        }
        let seen = softmax_last_dim(&scores)?.matmul(&values)?;
        let seen = seen.reshape((1, heads, tokens, width))?.transpose(1, 2)?.reshape((
            1,
            tokens,
            heads * width,
        ))?;
        self.output.multiply(&Input::new(&seen))
    }

    /// The feed-forward part: `down(silu(gate(x)) * up(x))`.
    fn feed(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.feed_norm.forward(x)?;
        let x = Input::new(&x);
        let gated = (silu(&self.gate.multiply(&x)?)? * self.up.multiply(&x)?)?;
        self.down.multiply(&Input::new(&gated))
    }
}

/// What keeps `tokens` tokens at `position` from looking ahead: minus infinity where they would,
/// (tokens, position + tokens).
fn mask(tokens: usize, position: usize, device: &Device) -> Result<Tensor> {
    let all = position + tokens;
    let row = |at: usize| {
        (0..all).map(move |other| if other > position + at { f32::NEG_INFINITY } else { 0.0 })
    };
    Tensor::from_vec((0..tokens).flat_map(row).collect(), (tokens, all), device)
}
