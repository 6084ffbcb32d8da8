//! The weights: one of the transformer families that a GGUF may hold.
//!
//! Used by `llm` only.

use std::sync::Arc;

use candle_core::Device;

use super::gguf::{Gguf, WHAT};
pub(super) use super::transformer::State;
use super::transformer::Transformer;
use crate::engine::EngineError;

/// Most tokens of prompt and answer together: the key-value cache of a small model stays within
/// some hundred megabytes.
const MAX_CONTEXT: usize = 4096;

/// Architectures that [`Transformer`] computes.
const SUPPORTED: [&str; 3] = ["llama", "qwen2", "qwen3"];

/// A loaded transformer with its key-value cache.
pub(super) struct Model {
    transformer: Transformer,
    context: usize,
}

impl Model {
    /// Takes the tensors of `gguf` to `device`; on the CPU they stay in the mapped file.
    ///
    /// # Errors
    /// `Load` when the architecture is not supported or a tensor is missing or broken.
    pub fn load(gguf: Gguf, device: &Device) -> Result<Self, EngineError> {
        let architecture = gguf.required("general.architecture")?.to_owned();
        if !SUPPORTED.contains(&architecture.as_str()) {
            let known = SUPPORTED.join(", ");
            let detail = format!("its architecture `{architecture}` is not one of {known}");
            return Err(EngineError::load(WHAT, detail));
        }
        let context = gguf
            .integer(&format!("{architecture}.context_length"))
            .map_or(MAX_CONTEXT, |tokens| MAX_CONTEXT.min(tokens as usize));
        let (content, map) = gguf.into_parts();
        let map = Arc::new(map);
        let transformer = Transformer::load(&content, &map, &architecture, context, device)
            .map_err(|error| EngineError::load(WHAT, error))?;
        Ok(Self { transformer, context })
    }

    /// Most tokens of prompt and answer together.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Reads `tokens`, which stand at `position` and after; those before were read already.
    /// Returns one logit for each token of the vocabulary: how likely it comes next.
    pub fn forward(&mut self, tokens: &[u32], position: usize) -> Result<Vec<f32>, EngineError> {
        self.transformer
            .forward(tokens, position)
            .map_err(|error| EngineError::run("Generating text", error))
    }

    /// What was made of the first `tokens` tokens, to be taken up again by [`Model::restore`].
    pub fn save(&self, tokens: usize) -> Result<State, EngineError> {
        self.transformer
            .save(tokens)
            .map_err(|error| EngineError::run("Keeping what was read", error))
    }

    /// Forgets everything, and takes up the first `tokens` tokens of `state`.
    pub fn restore(&mut self, state: &State, tokens: usize) -> Result<(), EngineError> {
        self.transformer
            .restore(state, tokens)
            .map_err(|error| EngineError::run("Taking up what was read", error))
    }

    /// Forgets everything that was read from `position` on.
    pub fn forget_from(&mut self, position: usize) {
        self.transformer.forget_from(position);
    }
}
