//! How text is cut into words before byte pairs are merged, by the name in a GGUF.
//!
//! Used by `tokenizer`. The names (`tokenizer.ggml.pre`) and their rules are
//! llama.cpp's; each rule is the regular expression of the model family's own
//! tokenizer. Every piece is then spelled in the 256 characters of GPT-2's
//! byte alphabet (Radford et al., 2019).

use std::collections::HashMap;
use std::sync::LazyLock;

use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

use super::gguf::WHAT;
use crate::engine::EngineError;

/// Words with their leading space, numbers, signs, and runs of space, as in GPT-2.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Qwen 2 to 3: every digit alone, line ends kept with the signs before them.
const QWEN2: &str = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Llama 3: as Qwen 2, but up to three digits together.
const LLAMA3: &str = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Every digit alone.
const DIGIT: &str = r"\p{N}";

/// What a name in `tokenizer.ggml.pre` stands for.
pub(super) struct Rules {
    /// Cuts the text, then spells it in the byte alphabet.
    pub chain: PreTokenizerWrapper,
    /// Whether a word that is a token as it stands is taken whole, without merging.
    pub ignore_merges: bool,
    /// Whether a prompt begins with the beginning-of-text token unless the file says otherwise.
    pub add_bos: bool,
}

/// The rules of the pre-tokenizer called `name`.
///
/// # Errors
/// `Load` when the name is not known: guessed rules would give wrong token ids, and with them
/// text that is subtly worse.
pub(super) fn rules(name: &str) -> Result<Rules, EngineError> {
    let (patterns, llama3): (&[&str], bool) = match name {
        "qwen2" | "deepseek-r1-qwen" => (&[QWEN2], false),
        "llama-bpe" | "llama3" | "llama-v3" => (&[LLAMA3], true),
        "smollm" => (&[DIGIT, GPT2], false),
        "gpt-2" => (&[GPT2], false),
        other => {
            return Err(EngineError::load(
                WHAT,
                format!(
                    "its pre-tokenizer `{other}` is not supported; \
                     those of Qwen 2 and 3, Llama 3, SmolLM and GPT-2 are"
                ),
            ));
        }
    };
    let mut chain = Vec::with_capacity(patterns.len() + 1);
    for pattern in patterns {
        let pattern = SplitPattern::Regex((*pattern).to_owned());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
            .map_err(|error| EngineError::load(WHAT, error))?;
        chain.push(split.into());
    }
    chain.push(ByteLevel::new(false, false, false).into());
    Ok(Rules { chain: Sequence::new(chain).into(), ignore_merges: llama3, add_bos: llama3 })
}

/// GPT-2's byte alphabet backwards: the byte that each character of a token stands for.
/// Printable Latin-1 stands for itself; the other 68 bytes follow from U+0100.
pub(super) static BYTE_CHARS: LazyLock<HashMap<char, u8>> = LazyLock::new(|| {
    let mut others = 0x100u32..;
    (0..=u8::MAX)
        .filter_map(|byte| {
            let printable = matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
            let c =
                if printable { Some(byte.into()) } else { others.next().and_then(char::from_u32) };
            c.map(|c| (c, byte))
        })
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_alphabet_has_one_character_for_each_byte() {
        assert_eq!(BYTE_CHARS.len(), 256);
        assert_eq!(BYTE_CHARS.get(&'Ġ'), Some(&b' '));
        assert_eq!(BYTE_CHARS.get(&'Ċ'), Some(&b'\n'));
        assert_eq!(BYTE_CHARS.get(&'Ń'), Some(&0xAD));
    }

    #[test]
    fn a_pre_tokenizer_that_is_not_known_is_refused_by_name() {
        let error = rules("tekken").err().expect("tekken is not supported").to_string();
        assert!(error.contains("`tekken` is not supported"), "{error}");
    }
}
