//! Opus-MT (Marian) translation models in candle, read as published.
//!
//! Called by the stage `translate_text` through [`Translator`]. A directory holds
//! what Helsinki-NLP publishes for a pair of languages: `config.json`,
//! `generation_config.json`, `source.spm`, `vocab.json`, and the weights as
//! `model.safetensors` or `pytorch_model.bin`.
//!
//! The network is candle's `MTModel`, which needs care in four points. Its
//! encoder keeps the keys of earlier sentences until the cache is reset. It has
//! no mask for padding, so one sentence is translated at a time. It gives the
//! encoder the decoder's number of heads, so models where these differ are
//! refused. It computes the encoder's keys again for every token, which costs
//! time but changes nothing.

mod config;
mod search;
mod tokenizer;

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::marian::MTModel;

use self::config::Published;
use self::search::{Rules, greedy};
use self::tokenizer::Tokenizer;
use super::{Cancel, Control, EngineError, Hardware, Translator};
use crate::text::window::windows;

/// What the model is called in errors.
const MODEL: &str = "The translation model";

/// The matrix that embeds the tokens of both languages and scores them.
const SHARED: &str = "model.shared.weight";

/// A loaded model for one pair of languages.
pub struct Marian {
    network: MTModel,
    tokenizer: Tokenizer,
    rules: Rules,
    device: Device,
}

impl Marian {
    /// Loads the model in `dir`. Weights are kept as 32-bit floats, whatever the
    /// file holds; safetensors are taken before a PyTorch file.
    ///
    /// # Errors
    /// `Missing` when a file is not there, `Load` when one is damaged, describes
    /// a network of another kind, or the device cannot be had.
    pub fn load(dir: &Path, hardware: &Hardware) -> Result<Self, EngineError> {
        let Published { model, rules } = Published::read(dir)?;
        let tokenizer = Tokenizer::read(dir, model.vocab_size)?;
        let device = match hardware.gpu {
            Some(ordinal) => Device::new_cuda(ordinal).map_err(broken)?,
            None => Device::Cpu,
        };
        let network = MTModel::new(&model, weights(dir, &device)?).map_err(broken)?;
        Ok(Self { network, tokenizer, rules, device })
    }

    /// The tokens that the model reads for `text`, with the end token.
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        self.tokenizer.encode(text)
    }

    /// The text of tokens that the model made.
    pub fn text(&self, tokens: &[u32]) -> String {
        self.tokenizer.decode(tokens)
    }

    /// What the encoder makes of `tokens`: one vector of `d_model` numbers a token.
    ///
    /// # Errors
    /// When a token is not the model's or there are more than it has positions.
    pub fn encoder_states(&mut self, tokens: &[u32]) -> Result<Vec<Vec<f32>>, EngineError> {
        self.encode(tokens)?.squeeze(0).and_then(|states| states.to_vec2()).map_err(failed)
    }

    /// Translates tokens, as [`Marian::tokens`] makes them, to tokens of the
    /// target language: start token first, end token last.
    ///
    /// # Errors
    /// As [`Marian::encoder_states`]; `Canceled` within a token of `cancel`.
    pub fn generate(&mut self, tokens: &[u32], cancel: &Cancel) -> Result<Vec<u32>, EngineError> {
        let states = self.encode(tokens)?;
        let Self { network, rules, device, .. } = self;
        greedy(rules, |so_far| {
            cancel.check()?;
            // The network remembers the tokens before the last one.
            let (last, position) = (&so_far[so_far.len() - 1..], so_far.len() - 1);
            Tensor::new(last, device)
                .and_then(|token| network.decode(&token.unsqueeze(0)?, &states, position))
                .and_then(|scores| scores.flatten_all()?.to_vec1())
                .map_err(failed)
        })
    }

    /// Runs the encoder, in the shape `[1, tokens, d_model]`, and forgets the
    /// sentence before.
    fn encode(&mut self, tokens: &[u32]) -> Result<Tensor, EngineError> {
        self.network.reset_kv_cache();
        Tensor::new(tokens, &self.device)
            .and_then(|tokens| self.network.encoder().forward(&tokens.unsqueeze(0)?, 0))
            .map_err(failed)
    }

    /// Most tokens translated at once. Half of what the model can make, because
    /// a translation may be longer than its original and would be cut off.
    const fn window(&self) -> usize {
        self.rules.max_length / 2
    }
}

impl Translator for Marian {
    /// A sentence without a word stays as it is. One too long for the model's window is
    /// translated in stretches, joined by spaces.
    fn translate(
        &mut self,
        sentences: &[String],
        control: &Control<'_>,
    ) -> Result<Vec<String>, EngineError> {
        let mut translations = Vec::with_capacity(sentences.len());
        for sentence in sentences {
            control.cancel.check()?;
            let stretches =
                windows(sentence, self.window(), |text| self.tokens(text).len().saturating_sub(1));
            if stretches.is_empty() {
                translations.push(sentence.clone());
            } else {
                let mut parts = Vec::with_capacity(stretches.len());
                for stretch in stretches {
                    let made = self.generate(&self.tokens(stretch), control.cancel)?;
                    parts.push(self.text(&made));
                }
                translations.push(parts.join(" "));
            }
            control.report(translations.len(), sentences.len());
        }
        Ok(translations)
    }
}

/// Finds the weights in `dir` under the names that candle asks for.
fn weights(dir: &Path, device: &Device) -> Result<VarBuilder<'static>, EngineError> {
    let safetensors = dir.join("model.safetensors");
    let pytorch = dir.join("pytorch_model.bin");
    let weights = if safetensors.is_file() {
        // SAFETY: a mapped file must not change while it is mapped. Weights are
        // written to another name and renamed, never changed in place, and the
        // mapping ends with loading.
        unsafe { VarBuilder::from_mmaped_safetensors(&[safetensors], DType::F32, device) }
    } else if pytorch.is_file() {
        VarBuilder::from_pth(pytorch, DType::F32, device)
    } else {
        return Err(EngineError::Missing { what: MODEL.to_owned(), path: safetensors });
    };
    let weights = weights.map_err(broken)?;
    // A file that keeps tied weights once may keep them under any of four names.
    let kept = [
        SHARED,
        "lm_head.weight",
        "model.encoder.embed_tokens.weight",
        "model.decoder.embed_tokens.weight",
    ]
    .into_iter()
    .find(|name| weights.contains_tensor(name))
    .unwrap_or(SHARED);
    Ok(weights.rename_f(move |name| if name == SHARED { kept } else { name }.to_owned()))
}

/// A library's error while loading.
fn broken(error: candle_core::Error) -> EngineError {
    EngineError::load(MODEL, error)
}

/// A library's error while translating.
fn failed(error: candle_core::Error) -> EngineError {
    EngineError::run("The translation", error)
}
