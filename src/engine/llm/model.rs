//! The weights: one of the transformer families that candle runs from a GGUF.
//!
//! Used by `llm` only.

use std::io::Cursor;

use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2, quantized_qwen3};

use super::gguf::{Gguf, WHAT};
use crate::engine::EngineError;

/// Most tokens of prompt and answer together. candle's Llama has rotary tables for no more, and
/// the key-value cache of a small model stays within some hundred megabytes.
const MAX_CONTEXT: usize = 4096;

/// A loaded transformer with its key-value cache.
pub(super) struct Model {
    weights: Weights,
    device: Device,
    context: usize,
}

enum Weights {
    Llama(quantized_llama::ModelWeights),
    Qwen2(quantized_qwen2::ModelWeights),
    Qwen3(quantized_qwen3::ModelWeights),
}

impl Model {
    /// Copies the tensors of `gguf` to `device`.
    ///
    /// # Errors
    /// `Load` when the architecture is not supported or a tensor is missing or broken.
    pub fn load(gguf: Gguf, device: Device) -> Result<Self, EngineError> {
        let architecture = gguf.required("general.architecture")?.to_owned();
        let context = gguf
            .integer(&format!("{architecture}.context_length"))
            .map_or(MAX_CONTEXT, |tokens| MAX_CONTEXT.min(tokens as usize));
        let (header, map) = gguf.into_parts();
        let reader = &mut Cursor::new(&map[..]);
        let weights = match architecture.as_str() {
            "llama" => quantized_llama::ModelWeights::from_gguf(header, reader, &device)
                .map(Weights::Llama),
            "qwen2" => quantized_qwen2::ModelWeights::from_gguf(header, reader, &device)
                .map(Weights::Qwen2),
            "qwen3" => quantized_qwen3::ModelWeights::from_gguf(header, reader, &device)
                .map(Weights::Qwen3),
            other => {
                return Err(EngineError::load(
                    WHAT,
                    format!(
                        "its architecture `{other}` is not supported; llama, qwen2 and qwen3 are"
                    ),
                ));
            }
        };
        let weights = weights.map_err(|error| EngineError::load(WHAT, error))?;
        Ok(Self { weights, device, context })
    }

    /// Most tokens of prompt and answer together.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Reads `tokens`, which stand at `position` and after; those before were read already.
    /// Returns one logit for each token of the vocabulary: how likely it comes next.
    pub fn forward(&mut self, tokens: &[u32], position: usize) -> Result<Vec<f32>, EngineError> {
        self.try_forward(tokens, position)
            .map_err(|error| EngineError::run("Generating text", error))
    }

    /// Forgets everything that was read.
    pub fn clear(&mut self) {
        match &mut self.weights {
            Weights::Llama(weights) => weights.clear_kv_cache(),
            Weights::Qwen2(weights) => weights.clear_kv_cache(),
            Weights::Qwen3(weights) => weights.clear_kv_cache(),
        }
    }

    fn try_forward(&mut self, tokens: &[u32], position: usize) -> candle_core::Result<Vec<f32>> {
        let input = Tensor::new(tokens, &self.device)?.unsqueeze(0)?;
        let logits = match &mut self.weights {
            Weights::Llama(weights) => weights.forward(&input, position),
            Weights::Qwen2(weights) => weights.forward(&input, position),
            Weights::Qwen3(weights) => weights.forward(&input, position),
        }?;
        logits.squeeze(0)?.to_vec1()
    }
}
