//! The tokenizer of Opus-MT models: SentencePiece pieces, numbered by `vocab.json`.
//!
//! Called by `marian` only. `source.spm` says how English is cut into pieces;
//! `vocab.json` numbers the pieces of both languages. `target.spm` would be
//! needed to cut the target language, which a translator never does.

use std::collections::HashMap;
use std::path::Path;

use fxtranslate::spm::SpmVocab;

use super::MODEL;
use super::config::read_json;
use crate::engine::{EngineError, spm};

/// What SentencePiece writes for a space.
const SPACE: char = '\u{2581}';

/// Text to token ids and back.
pub struct Tokenizer {
    source: SpmVocab,
    ids: HashMap<String, u32>,
    pieces: HashMap<u32, String>,
    eos: u32,
    unknown: u32,
}

impl Tokenizer {
    /// Reads `source.spm` and `vocab.json` in `dir`, for a model of `vocab_size` tokens.
    ///
    /// # Errors
    /// `Missing`, or `Load` when a file is damaged or the two do not fit the model.
    pub fn read(dir: &Path, vocab_size: usize) -> Result<Self, EngineError> {
        let source = spm::read(&dir.join("source.spm"))?;
        let ids: HashMap<String, u32> = read_json(&dir.join("vocab.json"))?;
        let id_of = |piece: &str| {
            ids.get(piece)
                .copied()
                .ok_or_else(|| EngineError::load(MODEL, format!("vocab.json has no {piece}")))
        };
        let (eos, unknown) = (id_of("</s>")?, id_of("<unk>")?);
        if let Some((piece, id)) = ids.iter().find(|(_, id)| **id as usize >= vocab_size) {
            let detail = format!("vocab.json numbers {piece} {id}, the model ends at {vocab_size}");
            return Err(EngineError::load(MODEL, detail));
        }
        // These stand for no text.
        let pieces = ids
            .iter()
            .filter(|(piece, _)| !matches!(piece.as_str(), "</s>" | "<unk>" | "<pad>"))
            .map(|(piece, id)| (*id, piece.clone()))
            .collect();
        Ok(Self { source, ids, pieces, eos, unknown })
    }

    /// The tokens of `text`, with the end token.
    ///
    /// As SentencePiece does, neighbouring characters that no piece covers make
    /// one piece; it is unknown unless `vocab.json` happens to number it.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let (normalized, tokens) = self.source.encode_with_offsets(text);
        let mut spans: Vec<(bool, std::ops::Range<usize>)> = Vec::with_capacity(tokens.len());
        for (id, span) in tokens {
            let known = self.source.piece(id) != "<unk>";
            match spans.last_mut() {
                Some((false, before)) if !known => before.end = span.end,
                _ => spans.push((known, span)),
            }
        }
        let ids = spans
            .into_iter()
            .map(|(_, span)| normalized.get(span).and_then(|piece| self.ids.get(piece)).copied());
        ids.map(|id| id.unwrap_or(self.unknown)).chain([self.eos]).collect()
    }

    /// The text of `tokens`; end, padding and unknown tokens stand for nothing.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let text: String =
            tokens.iter().filter_map(|token| self.pieces.get(token)).map(String::as_str).collect();
        text.replace(SPACE, " ").trim().to_owned()
    }
}
