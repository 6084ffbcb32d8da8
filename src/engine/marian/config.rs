//! Reads `config.json` and `generation_config.json` as Helsinki-NLP publishes them.
//!
//! Called by `marian` only.

use std::path::Path;

use candle_nn::Activation;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::MODEL;
use super::network::{Shape, Stack};
use super::search::{EarlyStopping, Rules};
use crate::engine::EngineError;

/// Most hypotheses that are followed, whatever a file asks for.
const MAX_BEAMS: usize = 32;

/// `config.json`: the model's shape, and in older models how to search as well.
#[derive(Deserialize)]
struct ModelFile {
    vocab_size: usize,
    decoder_vocab_size: Option<usize>,
    max_position_embeddings: usize,
    encoder_layers: usize,
    encoder_ffn_dim: usize,
    encoder_attention_heads: usize,
    decoder_layers: usize,
    decoder_ffn_dim: usize,
    decoder_attention_heads: usize,
    activation_function: Activation,
    d_model: usize,
    pad_token_id: u32,
    eos_token_id: u32,
    #[serde(default)]
    scale_embedding: bool,
    #[serde(default = "yes")]
    share_encoder_decoder_embeddings: bool,
    #[serde(flatten)]
    order: LayerOrder,
    #[serde(flatten)]
    search: SearchFile,
}

/// Where `config.json` says that layers are normalised.
#[derive(Deserialize, Default)]
#[serde(default)]
struct LayerOrder {
    normalize_before: bool,
    normalize_embedding: bool,
    add_final_layer_norm: bool,
}

/// `generation_config.json`, whose values go before those of `config.json`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct SearchFile {
    decoder_start_token_id: Option<u32>,
    forced_eos_token_id: Option<u32>,
    max_length: Option<usize>,
    bad_words_ids: Option<Vec<Vec<u32>>>,
    num_beams: Option<usize>,
    length_penalty: Option<f32>,
    early_stopping: Option<EarlyStoppingFile>,
    renormalize_logits: Option<bool>,
}

/// `early_stopping`: a truth value or the word `never`.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum EarlyStoppingFile {
    Flag(bool),
    Word(Never),
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Never {
    Never,
}

/// What the two files say.
pub struct Published {
    /// Shape of the network.
    pub model: Shape,
    /// How to choose tokens.
    pub rules: Rules,
}

impl Published {
    /// Reads both files in `dir`; `generation_config.json` may be absent.
    ///
    /// # Errors
    /// `Missing`, or `Load` when a file is not what it should be or describes a
    /// network that is not built here.
    pub fn read(dir: &Path) -> Result<Self, EngineError> {
        let model: ModelFile = read_json(&dir.join("config.json"))?;
        let generation = dir.join("generation_config.json");
        let search =
            if generation.is_file() { read_json(&generation)? } else { SearchFile::default() };
        model.check()?;
        Ok(model.publish(search))
    }
}

impl ModelFile {
    /// Refuses what would be computed wrongly without a word.
    fn check(&self) -> Result<(), EngineError> {
        let refuse = |detail: &str| Err(EngineError::load(MODEL, detail));
        let order = &self.order;
        if order.normalize_before || order.normalize_embedding || order.add_final_layer_norm {
            return refuse("its layers are normalised in another order than Opus-MT's");
        }
        if !self.share_encoder_decoder_embeddings
            || self.decoder_vocab_size.is_some_and(|size| size != self.vocab_size)
        {
            return refuse("its two languages do not share one vocabulary");
        }
        for heads in [self.encoder_attention_heads, self.decoder_attention_heads] {
            if heads == 0 || !self.d_model.is_multiple_of(heads) {
                return refuse("config.json: d_model is no multiple of the attention heads");
            }
        }
        if self.max_position_embeddings < 2 {
            return refuse("config.json: max_position_embeddings leaves no room for a word");
        }
        Ok(())
    }

    /// Settles which file's values count.
    fn publish(self, search: SearchFile) -> Published {
        let start = search
            .decoder_start_token_id
            .or(self.search.decoder_start_token_id)
            .unwrap_or(self.pad_token_id);
        let forced_eos = search
            .forced_eos_token_id
            .or(self.search.forced_eos_token_id)
            .unwrap_or(self.eos_token_id);
        let max_length = search
            .max_length
            .or(self.search.max_length)
            .unwrap_or(self.max_position_embeddings)
            .clamp(2, self.max_position_embeddings);
        let bad_words = search
            .bad_words_ids
            .or(self.search.bad_words_ids)
            .unwrap_or_else(|| vec![vec![self.pad_token_id]]);
        let early_stopping = match search.early_stopping.or(self.search.early_stopping) {
            Some(EarlyStoppingFile::Flag(true)) => EarlyStopping::Yes,
            Some(EarlyStoppingFile::Word(Never::Never)) => EarlyStopping::Never,
            Some(EarlyStoppingFile::Flag(false)) | None => EarlyStopping::Heuristic,
        };
        let stack = |layers, heads, ffn| Stack { layers, heads, ffn };
        Published {
            rules: Rules {
                start,
                eos: self.eos_token_id,
                forced_eos,
                max_length,
                bad_words,
                beams: search.num_beams.or(self.search.num_beams).unwrap_or(1).clamp(1, MAX_BEAMS),
                length_penalty: search.length_penalty.or(self.search.length_penalty).unwrap_or(1.0),
                early_stopping,
                renormalize: search
                    .renormalize_logits
                    .or(self.search.renormalize_logits)
                    .unwrap_or(false),
            },
            model: Shape {
                vocab_size: self.vocab_size,
                d_model: self.d_model,
                max_positions: self.max_position_embeddings,
                encoder: stack(
                    self.encoder_layers,
                    self.encoder_attention_heads,
                    self.encoder_ffn_dim,
                ),
                decoder: stack(
                    self.decoder_layers,
                    self.decoder_attention_heads,
                    self.decoder_ffn_dim,
                ),
                activation: self.activation_function,
                scale_embedding: self.scale_embedding,
            },
        }
    }
}

/// What `share_encoder_decoder_embeddings` means when it is absent.
const fn yes() -> bool {
    true
}

/// Reads one of the model's JSON files.
///
/// # Errors
/// `Missing`, or `Load` with the file's name and what is wrong in it.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, EngineError> {
    let bytes =
        std::fs::read(path).map_err(|error| EngineError::unreadable(MODEL, path, &error))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| EngineError::load(MODEL, format!("{}: {error}", path.display())))
}
