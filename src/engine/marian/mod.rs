//! Opus-MT (Marian) translation models in candle, read as published.
//!
//! Called by the stage `translate_text` through [`Translator`]. A directory holds
//! what Helsinki-NLP publishes for a pair of languages: `config.json`,
//! `generation_config.json`, `source.spm`, `vocab.json`, and the weights as
//! `model.safetensors` or `pytorch_model.bin`.
//!
//! Sentences are translated in batches of like length, several hypotheses each, as
//! `generation_config.json` says.

mod config;
mod dense;
mod network;
mod search;
mod tokenizer;

use std::path::Path;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;

use self::config::Published;
use self::network::{Network, SHARED};
use self::search::{Rules, Search};
use self::tokenizer::Tokenizer;
use super::{Cancel, Control, EngineError, Hardware, Translator, gpu};
use crate::text::window::windows;

/// What the model is called in errors.
const MODEL: &str = "The translation model";

/// Sentences translated at once. More bring no speed on two cores, and make cancellation wait.
const BATCH: usize = 16;

/// A loaded model for one pair of languages.
pub struct Marian {
    network: Network,
    tokenizer: Tokenizer,
    rules: Rules,
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
            Some(ordinal) => gpu::device(ordinal).map_err(broken)?,
            None => Device::Cpu,
        };
        let network = Network::new(&model, &weights(dir, &device)?).map_err(broken)?;
        Ok(Self { network, tokenizer, rules })
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
    pub fn encoder_states(&self, tokens: &[u32]) -> Result<Vec<Vec<f32>>, EngineError> {
        let states = self.network.encode(&[tokens]).map_err(failed)?;
        states.squeeze(0).and_then(|states| states.to_vec2()).map_err(failed)
    }

    /// Scores (logits) of every token of the vocabulary after each of the tokens `made`, for
    /// the translation of `tokens`.
    ///
    /// # Errors
    /// As [`Marian::encoder_states`].
    pub fn scores(&self, tokens: &[u32], made: &[u32]) -> Result<Vec<Vec<f32>>, EngineError> {
        let scores = || -> candle_core::Result<Vec<Vec<f32>>> {
            let states = self.network.encode(&[tokens])?;
            let mut memory = self.network.remember(&states, &[tokens], 1)?;
            let decode = |token| self.network.decode(&[token], &mut memory);
            made.iter().copied().map(decode).collect()
        };
        scores().map_err(failed)
    }

    /// Translates sentences, as [`Marian::tokens`] makes them, together: for each the tokens
    /// of the target language, start token first, end token last.
    ///
    /// # Errors
    /// As [`Marian::encoder_states`]; `Canceled` within a token of `cancel`.
    pub fn generate(
        &self,
        sentences: &[&[u32]],
        cancel: &Cancel,
    ) -> Result<Vec<Vec<u32>>, EngineError> {
        if sentences.is_empty() {
            return Ok(Vec::new());
        }
        let beams = self.rules.beams;
        let states = self.network.encode(sentences).map_err(failed)?;
        let mut memory = self.network.remember(&states, sentences, beams).map_err(failed)?;
        let mut found = vec![Vec::new(); sentences.len()];
        let mut searches: Vec<(usize, Search<'_>)> =
            (0..sentences.len()).map(|at| (at, Search::new(&self.rules))).collect();
        loop {
            cancel.check()?;
            let last: Vec<u32> = searches.iter().flat_map(|(_, it)| it.last_tokens()).collect();
            let mut scores = self.network.decode(&last, &mut memory).map_err(failed)?;
            let vocabulary = scores.len() / last.len();
            let mut parents = Vec::with_capacity(last.len());
            let mut going_on = Vec::with_capacity(searches.len());
            for (place, (at, mut search)) in searches.into_iter().enumerate() {
                let first = place * beams;
                let kept = search.step(&mut scores[first * vocabulary..][..beams * vocabulary]);
                if search.is_over() {
                    found[at] = search.into_tokens();
                } else {
                    parents.extend(kept.into_iter().map(|parent| first as u32 + parent));
                    going_on.push((at, search));
                }
            }
            let whole = parents.len() == last.len();
            searches = going_on;
            if searches.is_empty() {
                break;
            }
            // Nothing moves in a greedy search until a sentence ends.
            if beams > 1 || !whole {
                memory.select(&parents, whole).map_err(failed)?;
            }
        }
        Ok(found)
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
        let mut stretches = Vec::new();
        // What is still to be done of each sentence.
        let mut left = vec![0; sentences.len()];
        let mut translations = sentences.to_vec();
        for (index, sentence) in sentences.iter().enumerate() {
            control.cancel.check()?;
            let parts =
                windows(sentence, self.window(), |text| self.tokens(text).len().saturating_sub(1));
            left[index] = parts.len();
            stretches.extend(parts.into_iter().map(|part| (index, self.tokens(part))));
        }
        // Those of like length together, so that little is computed on padding.
        let mut order: Vec<usize> = (0..stretches.len()).collect();
        order.sort_by_key(|&at| stretches[at].1.len());
        let mut made = vec![String::new(); stretches.len()];
        for batch in order.chunks(BATCH) {
            let tokens: Vec<&[u32]> = batch.iter().map(|&at| stretches[at].1.as_slice()).collect();
            for (&at, found) in batch.iter().zip(self.generate(&tokens, control.cancel)?) {
                made[at] = self.text(&found);
                left[stretches[at].0] -= 1;
            }
            control.report(left.iter().filter(|&&left| left == 0).count(), sentences.len());
        }
        let mut joined = vec![Vec::new(); sentences.len()];
        for ((index, _), text) in stretches.iter().zip(made) {
            joined[*index].push(text);
        }
        for (translation, parts) in translations.iter_mut().zip(joined) {
            if !parts.is_empty() {
                *translation = parts.join(" ");
            }
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
