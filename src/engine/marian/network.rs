//! The network of Opus-MT models: a transformer with an encoder and a decoder.
//!
//! Called by `marian` only. candle's own Marian has no mask for padding, forgets nothing
//! between sentences unless told to, and computes the encoder's keys again for every token;
//! this one translates sentences in batches, several hypotheses each. The computation is that
//! of `MarianMTModel` in the library transformers (post-norm layers, static sinusoidal
//! positions, one matrix for all embeddings and for the scores).
//!
//! Shapes: B sentences, N hypotheses of all sentences together, S source tokens, T target
//! tokens so far, D = `d_model`, H heads of D/H numbers, V tokens of the vocabulary.

use candle_core::{Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;
use candle_nn::{Activation, LayerNorm, Module, VarBuilder, layer_norm};

use super::dense::Dense;

/// The matrix that embeds the tokens of both languages and scores them.
pub const SHARED: &str = "model.shared.weight";

/// What PyTorch adds to a variance.
const EPSILON: f64 = 1e-5;

/// Shape of a network.
#[derive(Debug, Clone)]
pub struct Shape {
    pub vocab_size: usize,
    pub d_model: usize,
    pub max_positions: usize,
    pub encoder: Stack,
    pub decoder: Stack,
    pub activation: Activation,
    /// Whether embeddings are multiplied by the square root of D.
    pub scale_embedding: bool,
}

/// Shape of the encoder or the decoder.
#[derive(Debug, Clone, Copy)]
pub struct Stack {
    pub layers: usize,
    pub heads: usize,
    pub ffn: usize,
}

/// The weights.
pub struct Network {
    /// (V, D), and what is added to the scores.
    shared: Dense,
    /// [`Shape::max_positions`, D].
    positions: Tensor,
    scale: f64,
    encoder: Vec<EncoderLayer>,
    decoder: Vec<DecoderLayer>,
}

/// What the decoder remembers: for each layer the keys and values of the tokens so far, and
/// those of the source.
pub struct Memory {
    layers: Vec<LayerMemory>,
    /// Which source tokens are padding: [N, 1, 1, S], 0 or minus infinity.
    mask: Tensor,
    /// Target tokens so far.
    length: usize,
}

struct LayerMemory {
    /// Keys and values of the tokens so far, each [N, H, T, D/H].
    own: Option<(Tensor, Tensor)>,
    /// Those of the source, each [N, H, S, D/H].
    source: (Tensor, Tensor),
}

impl Network {
    /// Finds the weights in `weights`, under the names that transformers gives them.
    ///
    /// # Errors
    /// When one is missing or of another shape.
    pub fn new(shape: &Shape, weights: &VarBuilder<'_>) -> Result<Self> {
        let model = weights.pp("model");
        let encoder = model.pp("encoder.layers");
        let decoder = model.pp("decoder.layers");
        Ok(Self {
            shared: Dense::new(
                weights.get((shape.vocab_size, shape.d_model), SHARED)?,
                weights.get((1, shape.vocab_size), "final_logits_bias")?.squeeze(0)?,
            )?,
            positions: sinusoids(shape.max_positions, shape.d_model, weights.device())?,
            scale: if shape.scale_embedding { (shape.d_model as f64).sqrt() } else { 1.0 },
            encoder: (0..shape.encoder.layers)
                .map(|at| EncoderLayer::new(shape, &encoder.pp(at)))
                .collect::<Result<_>>()?,
            decoder: (0..shape.decoder.layers)
                .map(|at| DecoderLayer::new(shape, &decoder.pp(at)))
                .collect::<Result<_>>()?,
        })
    }

    /// Runs the encoder over sentences of any lengths: [B, S, D], with what follows a
    /// sentence's last token undefined.
    ///
    /// # Errors
    /// When a token is not in the vocabulary, or a sentence longer than there are positions.
    pub fn encode(&self, sentences: &[&[u32]]) -> Result<Tensor> {
        let longest = longest(sentences);
        let mut tokens = Vec::with_capacity(sentences.len() * longest);
        for sentence in sentences {
            tokens.extend_from_slice(sentence);
            // Any token will do: the mask hides it.
            tokens.resize(tokens.len() + longest - sentence.len(), 0);
        }
        let tokens = Tensor::from_vec(tokens, (sentences.len(), longest), self.positions.device())?;
        let mask = padding(sentences, self.positions.device())?;
        let mut x = self.embed(&tokens, 0)?;
        for layer in &self.encoder {
            x = layer.forward(&x, &mask)?;
        }
        Ok(x)
    }

    /// Readies the decoder for `beams` hypotheses of each sentence that `states`, as
    /// [`Network::encode`] made them, holds.
    ///
    /// # Errors
    /// Those of the device.
    pub fn remember(&self, states: &Tensor, sentences: &[&[u32]], beams: usize) -> Result<Memory> {
        let each = repeated(sentences.len(), beams, states.device())?;
        let layers = self.decoder.iter().map(|layer| {
            let (keys, values) = layer.source.keys_values(states)?;
            let source = (keys.index_select(&each, 0)?, values.index_select(&each, 0)?);
            Ok(LayerMemory { own: None, source })
        });
        let mask = padding(sentences, states.device())?.index_select(&each, 0)?;
        Ok(Memory { layers: layers.collect::<Result<_>>()?, mask, length: 0 })
    }

    /// Scores (logits) of what may follow the last token of each hypothesis: V for each of N.
    ///
    /// # Errors
    /// When there are no positions left.
    pub fn decode(&self, last: &[u32], memory: &mut Memory) -> Result<Vec<f32>> {
        let tokens = Tensor::new(last, self.positions.device())?.unsqueeze(1)?;
        let mut x = self.embed(&tokens, memory.length)?;
        for (layer, kept) in self.decoder.iter().zip(&mut memory.layers) {
            x = layer.forward(&x, kept, &memory.mask)?;
        }
        memory.length += 1;
        self.shared.products(&x)
    }

    /// [B, T] tokens, the first of them at `position`, as [B, T, D].
    fn embed(&self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        let (batch, length) = tokens.dims2()?;
        let rows = self.shared.rows(&tokens.flatten_all()?)?;
        let rows = (rows.reshape((batch, length, ()))? * self.scale)?;
        rows.broadcast_add(&self.positions.narrow(0, position, length)?)
    }
}

impl Memory {
    /// Goes on with the hypotheses that `parents` names, which may leave some out and take
    /// others several times. `whole` says that every sentence keeps its number of hypotheses,
    /// so that what is known of the source stays in place.
    ///
    /// # Errors
    /// Those of the device.
    pub fn select(&mut self, parents: &[u32], whole: bool) -> Result<()> {
        let parents = Tensor::new(parents, self.mask.device())?;
        for layer in &mut self.layers {
            if let Some((keys, values)) = &mut layer.own {
                *keys = keys.index_select(&parents, 0)?;
                *values = values.index_select(&parents, 0)?;
            }
            if !whole {
                let (keys, values) = &mut layer.source;
                *keys = keys.index_select(&parents, 0)?;
                *values = values.index_select(&parents, 0)?;
            }
        }
        if !whole {
            self.mask = self.mask.index_select(&parents, 0)?;
        }
        Ok(())
    }
}

struct EncoderLayer {
    own: Attention,
    own_norm: LayerNorm,
    wide: FeedForward,
}

impl EncoderLayer {
    fn new(shape: &Shape, weights: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            own: Attention::new(shape.d_model, shape.encoder.heads, &weights.pp("self_attn"))?,
            own_norm: layer_norm(shape.d_model, EPSILON, weights.pp("self_attn_layer_norm"))?,
            wide: FeedForward::new(shape, shape.encoder.ffn, weights)?,
        })
    }

    fn forward(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (keys, values) = self.own.keys_values(x)?;
        let seen = self.own.forward(x, &keys, &values, Some(mask))?;
        self.wide.forward(&self.own_norm.forward(&(x + seen)?)?)
    }
}

struct DecoderLayer {
    own: Attention,
    own_norm: LayerNorm,
    source: Attention,
    source_norm: LayerNorm,
    wide: FeedForward,
}

impl DecoderLayer {
    fn new(shape: &Shape, weights: &VarBuilder<'_>) -> Result<Self> {
        let heads = shape.decoder.heads;
        Ok(Self {
            own: Attention::new(shape.d_model, heads, &weights.pp("self_attn"))?,
            own_norm: layer_norm(shape.d_model, EPSILON, weights.pp("self_attn_layer_norm"))?,
            source: Attention::new(shape.d_model, heads, &weights.pp("encoder_attn"))?,
            source_norm: layer_norm(shape.d_model, EPSILON, weights.pp("encoder_attn_layer_norm"))?,
            wide: FeedForward::new(shape, shape.decoder.ffn, weights)?,
        })
    }

    /// One token of each hypothesis, [N, 1, D]; its keys and values join the memory.
    fn forward(&self, x: &Tensor, memory: &mut LayerMemory, mask: &Tensor) -> Result<Tensor> {
        let (key, value) = self.own.keys_values(x)?;
        let (keys, values) = match &memory.own {
            None => (key, value),
            Some((keys, values)) => {
                (Tensor::cat(&[keys, &key], 2)?, Tensor::cat(&[values, &value], 2)?)
            }
        };
        // Nothing later than this token is there, so that no mask is needed.
        let seen = self.own.forward(x, &keys, &values, None)?;
        memory.own = Some((keys, values));
        let x = self.own_norm.forward(&(x + seen)?)?;
        let (keys, values) = &memory.source;
        let seen = self.source.forward(&x, keys, values, Some(mask))?;
        self.wide.forward(&self.source_norm.forward(&(&x + seen)?)?)
    }
}

struct Attention {
    query: Dense,
    key: Dense,
    value: Dense,
    out: Dense,
    heads: usize,
    scale: f64,
}

impl Attention {
    fn new(d_model: usize, heads: usize, weights: &VarBuilder<'_>) -> Result<Self> {
        let square = |name: &str| dense(d_model, d_model, &weights.pp(name));
        Ok(Self {
            query: square("q_proj")?,
            key: square("k_proj")?,
            value: square("v_proj")?,
            out: square("out_proj")?,
            heads,
            scale: ((d_model / heads) as f64).powf(-0.5),
        })
    }

    /// Keys and values of `x`, [N, T, D], each [N, H, T, D/H].
    fn keys_values(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok((self.by_head(&self.key.forward(x)?)?, self.by_head(&self.value.forward(x)?)?))
    }

    fn forward(
        &self,
        x: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let query = self.by_head(&(self.query.forward(x)? * self.scale)?)?;
        let mut weights = query.matmul(&keys.t()?)?;
        if let Some(mask) = mask {
            weights = weights.broadcast_add(mask)?;
        }
        let seen = softmax_last_dim(&weights)?.matmul(values)?;
        self.out.forward(&seen.transpose(1, 2)?.flatten_from(2)?)
    }

    fn by_head(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, length, _) = x.dims3()?;
        x.reshape((batch, length, self.heads, ()))?.transpose(1, 2)?.contiguous()
    }
}

/// The two wide layers that follow attention, with what they are added to.
struct FeedForward {
    first: Dense,
    second: Dense,
    norm: LayerNorm,
    activation: Activation,
}

impl FeedForward {
    fn new(shape: &Shape, ffn: usize, weights: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            first: dense(shape.d_model, ffn, &weights.pp("fc1"))?,
            second: dense(ffn, shape.d_model, &weights.pp("fc2"))?,
            norm: layer_norm(shape.d_model, EPSILON, weights.pp("final_layer_norm"))?,
            activation: shape.activation,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let wide = self.activation.forward(&self.first.forward(x)?)?;
        self.norm.forward(&(x + self.second.forward(&wide)?)?)
    }
}

/// The matrix and bias that lie under `weights`.
fn dense(inputs: usize, outputs: usize, weights: &VarBuilder<'_>) -> Result<Dense> {
    Dense::new(weights.get((outputs, inputs), "weight")?, weights.get(outputs, "bias")?)
}

/// Sines in the first half of each row, cosines in the second; [positions, D].
fn sinusoids(positions: usize, d_model: usize, device: &Device) -> Result<Tensor> {
    let half = d_model.div_ceil(2);
    let mut table = Vec::with_capacity(positions * d_model);
    for position in 0..positions {
        for at in 0..d_model {
            let pair = if at < half { at } else { at - half };
            // As transformers does, in 64 bits.
            let angle = position as f64 / 10_000_f64.powf(2.0 * pair as f64 / d_model as f64);
            table.push(if at < half { angle.sin() } else { angle.cos() } as f32);
        }
    }
    Tensor::from_vec(table, (positions, d_model), device)
}

fn longest(sentences: &[&[u32]]) -> usize {
    sentences.iter().map(|sentence| sentence.len()).max().unwrap_or(0)
}

/// 0 where a sentence has a token, minus infinity behind its end: [B, 1, 1, S].
fn padding(sentences: &[&[u32]], device: &Device) -> Result<Tensor> {
    let longest = longest(sentences);
    let mask: Vec<f32> = sentences
        .iter()
        .flat_map(|sentence| {
            (0..longest).map(|at| if at < sentence.len() { 0.0 } else { f32::NEG_INFINITY })
        })
        .collect();
    Tensor::from_vec(mask, (sentences.len(), 1, 1, longest), device)
}

/// 0, 0, 0, 1, 1, 1, … : each sentence once for each of its hypotheses.
fn repeated(sentences: usize, beams: usize, device: &Device) -> Result<Tensor> {
    let each = (0..sentences as u32).flat_map(|at| std::iter::repeat_n(at, beams));
    Tensor::from_vec(each.collect(), sentences * beams, device)
}
