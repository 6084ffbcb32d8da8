//! Byte-level BPE built from what a GGUF says, giving the token ids of llama.cpp.
//!
//! Used by the rest of `engine/llm`. The crate `tokenizers` does the merging and
//! runs the pre-tokenizer of [`super::pretokenizer`]; special tokens are found
//! here, so that only text we trust can contain them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use tokenizers::models::bpe::{BPE, Vocab};

use super::gguf::{Gguf, WHAT};
use super::pretokenizer::{self, BYTE_CHARS};
use crate::engine::EngineError;

/// Token types of the GGUF specification (`tokenizer.ggml.token_type`).
const TYPE_UNKNOWN: u64 = 2;
const TYPE_CONTROL: u64 = 3;
const TYPE_USER_DEFINED: u64 = 4;

/// Tokens that end a turn in some family of models, whatever the metadata says of them.
const END_OF_TURN: [&str; 8] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<end_of_turn>",
    "</s>",
];

/// A piece of text to be tokenised together with its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The text itself.
    pub text: String,
    /// Whether `<|im_start|>` and the like in it are control tokens (text of ours) or just
    /// characters (text of somebody else).
    pub trusted: bool,
}

/// Text to token ids and back.
pub struct Tokenizer {
    bpe: tokenizers::Tokenizer,
    /// Longest first, so that no token hides a longer one.
    special: Vec<Special>,
    special_by_id: HashMap<u32, usize>,
    end_ids: HashSet<u32>,
    bos: Option<u32>,
    add_bos: bool,
}

struct Special {
    id: u32,
    text: String,
    /// Control tokens are recognised in trusted text only; user-defined ones everywhere.
    control: bool,
}

enum Fragment {
    Text(Range<usize>),
    Token(u32),
}

impl Tokenizer {
    /// Reads the tokenizer of a GGUF file, without its weights.
    ///
    /// # Errors
    /// `Missing` when there is no file, `Load` when its vocabulary is of a kind not supported.
    pub fn open(model: &Path) -> Result<Self, EngineError> {
        Self::from_gguf(&Gguf::open(model)?)
    }

    /// Builds the tokenizer from the vocabulary, merges and flags of `gguf`.
    ///
    /// # Errors
    /// `Load` when the vocabulary is not byte-level BPE or its pre-tokenizer is not known.
    pub(super) fn from_gguf(gguf: &Gguf) -> Result<Self, EngineError> {
        let model = gguf.required("tokenizer.ggml.model")?;
        if model != "gpt2" {
            return Err(EngineError::load(
                WHAT,
                format!(
                    "its vocabulary is of type `{model}`; only `gpt2` (byte-level BPE) is supported"
                ),
            ));
        }
        let pre = gguf.string("tokenizer.ggml.pre").unwrap_or("default");
        let rules = pretokenizer::rules(pre)?;
        let tokens = gguf.strings("tokenizer.ggml.tokens")?;
        let types = gguf.integers("tokenizer.ggml.token_type")?;
        let merges = gguf
            .strings("tokenizer.ggml.merges")?
            .iter()
            .map(|merge| {
                let (left, right) = merge.split_once(' ').ok_or_else(|| {
                    EngineError::load(WHAT, format!("`{merge}` is not a pair of tokens to merge"))
                })?;
                Ok((left.to_owned(), right.to_owned()))
            })
            .collect::<Result<Vec<_>, EngineError>>()?;

        let ids: HashMap<&str, u32> =
            (0u32..).zip(&tokens).map(|(id, t)| (t.as_str(), id)).collect();
        let mut end_ids: HashSet<u32> =
            END_OF_TURN.iter().filter_map(|name| ids.get(name).copied()).collect();
        let special = special_tokens(&tokens, &types, &end_ids);
        for key in ["eos", "eot", "eom"] {
            let id = gguf.integer(&format!("tokenizer.ggml.{key}_token_id"));
            end_ids.extend(id.and_then(|id| u32::try_from(id).ok()));
        }

        let vocabulary: Vocab = tokens.iter().cloned().zip(0u32..).collect();
        let bpe = BPE::builder()
            .vocab_and_merges(vocabulary, merges)
            .ignore_merges(rules.ignore_merges)
            .build()
            .map_err(|error| EngineError::load(WHAT, error))?;
        let mut bpe = tokenizers::Tokenizer::new(bpe);
        bpe.with_pre_tokenizer(Some(rules.chain));

        let bos = gguf.integer("tokenizer.ggml.bos_token_id").and_then(|id| u32::try_from(id).ok());
        Ok(Self {
            bpe,
            special_by_id: special.iter().enumerate().map(|(at, token)| (token.id, at)).collect(),
            special,
            end_ids,
            bos,
            add_bos: gguf.flag("tokenizer.ggml.add_bos_token").unwrap_or(rules.add_bos),
        })
    }

    /// Token ids of `text`, nothing added before or after. With `parse_special`, the names of
    /// control tokens in it become those tokens.
    ///
    /// # Errors
    /// `Run` when the BPE library fails.
    pub fn encode(&self, text: &str, parse_special: bool) -> Result<Vec<u32>, EngineError> {
        self.encode_spans(&[Span { text: text.to_owned(), trusted: parse_special }])
    }

    /// Token ids of `spans` as of one text, but with control tokens only where a span is trusted.
    ///
    /// # Errors
    /// `Run` when the BPE library fails.
    pub fn encode_spans(&self, spans: &[Span]) -> Result<Vec<u32>, EngineError> {
        let mut text = String::new();
        let mut trusted = Vec::new();
        for span in spans {
            let start = text.len();
            text.push_str(&span.text);
            if span.trusted {
                trusted.push(start..text.len());
            }
        }
        let mut ids = Vec::new();
        for fragment in self.partition(&text, &trusted) {
            match fragment {
                Fragment::Token(id) => ids.push(id),
                Fragment::Text(range) => {
                    let encoding = self
                        .bpe
                        .encode_fast(&text[range], false)
                        .map_err(|error| EngineError::run("Reading the prompt", error))?;
                    ids.extend_from_slice(encoding.get_ids());
                }
            }
        }
        Ok(ids)
    }

    /// Puts the beginning-of-text token before a prompt when the model wants one and the prompt
    /// has none yet. An end token is never added: a prompt is there to be continued.
    #[must_use]
    pub fn with_bos(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if let Some(bos) = self.bos.filter(|bos| self.add_bos && ids.first() != Some(bos)) {
            ids.insert(0, bos);
        }
        ids
    }

    /// The bytes that a token stands for; none for control tokens and ids out of range. A token
    /// may end in the middle of a UTF-8 character.
    #[must_use]
    pub fn bytes(&self, id: u32) -> Vec<u8> {
        if let Some(&at) = self.special_by_id.get(&id) {
            let token = &self.special[at];
            return if token.control { Vec::new() } else { token.text.clone().into_bytes() };
        }
        let text = self.bpe.id_to_token(id).unwrap_or_default();
        text.chars().filter_map(|c| BYTE_CHARS.get(&c).copied()).collect()
    }

    /// The token itself as it is called in the vocabulary, such as `<|im_end|>`.
    #[must_use]
    pub fn name(&self, id: u32) -> Option<String> {
        self.bpe.id_to_token(id)
    }

    /// Whether the token ends the model's turn.
    #[must_use]
    pub fn is_end(&self, id: u32) -> bool {
        self.end_ids.contains(&id)
    }

    /// Whether the token steers the model and stands for no text.
    #[must_use]
    pub fn is_control(&self, id: u32) -> bool {
        self.special_by_id.get(&id).is_some_and(|&at| self.special[at].control)
    }

    /// Splits `text` at special tokens, longest name first, as llama.cpp does: control tokens
    /// only within one of the `trusted` ranges.
    fn partition(&self, text: &str, trusted: &[Range<usize>]) -> Vec<Fragment> {
        let mut fragments = vec![Fragment::Text(0..text.len())];
        for token in &self.special {
            if !text.contains(&token.text) {
                continue;
            }
            let mut parted = Vec::with_capacity(fragments.len() + 2);
            for fragment in fragments {
                let Fragment::Text(range) = fragment else {
                    parted.push(fragment);
                    continue;
                };
                let mut start = range.start;
                for (offset, name) in text[range.clone()].match_indices(&token.text) {
                    let found = range.start + offset..range.start + offset + name.len();
                    let allowed = !token.control
                        || trusted.iter().any(|t| t.start <= found.start && found.end <= t.end);
                    if allowed {
                        parted.push(Fragment::Text(start..found.start));
                        parted.push(Fragment::Token(token.id));
                        start = found.end;
                    }
                }
                parted.push(Fragment::Text(start..range.end));
            }
            fragments = parted;
        }
        fragments.retain(|f| !matches!(f, Fragment::Text(range) if range.is_empty()));
        fragments
    }
}

/// Control and user-defined tokens, longest first. A token that ends a turn is a control token
/// even where a converter has marked it as an ordinary one.
fn special_tokens(tokens: &[String], types: &[u64], end_ids: &HashSet<u32>) -> Vec<Special> {
    let mut special: Vec<Special> = (0u32..)
        .zip(tokens.iter().zip(types))
        .filter_map(|(id, (text, &kind))| {
            let control = matches!(kind, TYPE_CONTROL | TYPE_UNKNOWN) || end_ids.contains(&id);
            let listed = (control || kind == TYPE_USER_DEFINED) && !text.is_empty();
            listed.then(|| Special { id, text: text.clone(), control })
        })
        .collect();
    special.sort_by_key(|token| std::cmp::Reverse(token.text.len()));
    special
}
