//! From espeak-ng's phonemes to the tokens that Kokoro was trained on.
//!
//! Called by [`super::kokoro`]. Which espeak-ng sounds become which symbol follows
//! the model's own front end, the package `misaki` (its `EspeakG2P`, and for English
//! its espeak-ng fallback).

use std::collections::HashMap;
use std::fs;
use std::iter;
use std::path::Path;

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

use super::EngineError;
use super::phonemes::{Clause, TIE};

/// Kokoro's languages that espeak-ng serves: primary tag, espeak-ng voice. Japanese
/// and Chinese need front ends of their own.
const LANGUAGES: [(&str, &str); 6] =
    [("en", "en-us"), ("fr", "fr"), ("pt", "pt-br"), ("es", "es"), ("it", "it"), ("hi", "hi")];

/// Tied sounds that are one symbol in every language; `^` stands for [`TIE`].
const TIED: [(&str, &str); 11] = [
    ("a^ɪ", "I"),
    ("a^ʊ", "W"),
    ("d^z", "ʣ"),
    ("d^ʒ", "ʤ"),
    ("e^ɪ", "A"),
    ("o^ʊ", "O"),
    ("ə^ʊ", "Q"),
    ("s^s", "S"),
    ("t^s", "ʦ"),
    ("t^ʃ", "ʧ"),
    ("ɔ^ɪ", "Y"),
];

/// Further replacements in American English, in this order: the ones that need
/// their ties first.
const AMERICAN: [(&str, &str); 20] = [
    ("ə^l", "ᵊl"),
    ("^", ""),
    ("ʔˌn\u{329}", "ʔn"),
    ("ʔn\u{329}", "ʔn"),
    ("n\u{329}", "ᵊn"),
    ("l\u{329}", "ᵊl"),
    ("\u{303}", ""),
    ("ʲ", ""),
    ("ɚ", "əɹ"),
    ("e", "A"),
    ("r", "ɹ"),
    ("x", "k"),
    ("ç", "k"),
    ("ɐ", "ə"),
    ("ɬ", "l"),
    ("ɜːɹ", "ɜɹ"),
    ("ɜː", "ɜɹ"),
    ("ɪə", "iə"),
    ("ː", ""),
    ("o", "ɔ"),
];

/// What the symbols of English words end with: flaps and glottal stops.
const AMERICAN_STOPS: [(&str, &str); 2] = [("ɾ", "T"), ("ʔ", "t")];

/// A language that Kokoro speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Language {
    espeak_voice: &'static str,
}

impl Language {
    /// The language of a BCP 47 tag such as `fr` or `pt-BR`; the region is not looked at.
    ///
    /// # Errors
    /// When Kokoro does not speak it.
    pub fn from_tag(tag: &str) -> Result<Self, EngineError> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        LANGUAGES
            .iter()
            .find(|(known, _)| *known == primary)
            .map(|&(_, espeak_voice)| Self { espeak_voice })
            .ok_or_else(|| {
                let known = LANGUAGES.map(|(tag, _)| tag).join(", ");
                EngineError::UnsupportedLanguage(format!(
                    "The Kokoro voices do not speak `{tag}`; they speak {known}."
                ))
            })
    }

    /// The espeak-ng voice that makes the phonemes.
    pub const fn espeak_voice(self) -> &'static str {
        self.espeak_voice
    }

    /// A clause in Kokoro's symbols, its mark at the end.
    pub fn symbols(self, clause: &Clause) -> String {
        let mut symbols = clause.phonemes.replace(TIE, "^");
        let english: &[&[(&str, &str)]] = &[&AMERICAN, &AMERICAN_STOPS];
        let own = if self.espeak_voice == "en-us" { english } else { &[] };
        for (from, to) in TIED.iter().chain(own.iter().copied().flatten()) {
            symbols = symbols.replace(from, to);
        }
        // Hyphens are espeak-ng's sign for a vowel that may be dropped.
        symbols.retain(|c| c != '^' && c != '-');
        symbols.push(clause.end);
        symbols
    }
}

/// The token of each symbol.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Vocabulary {
    vocab: HashMap<char, i64>,
}

impl Vocabulary {
    /// Reads the `vocab` of the model's `config.json`.
    ///
    /// # Errors
    /// When the file is absent, or is no such configuration.
    pub fn load(config: &Path) -> Result<Self, EngineError> {
        let json = fs::read_to_string(config).map_err(|_| EngineError::Missing {
            what: "The Kokoro vocabulary".into(),
            path: config.into(),
        })?;
        let what = || format!("The Kokoro vocabulary {}", config.display());
        let vocabulary: Self =
            serde_json::from_str(&json).map_err(|error| EngineError::load(what(), error))?;
        if vocabulary.vocab.contains_key(&' ') {
            Ok(vocabulary)
        } else {
            Err(EngineError::load(what(), "it has no token for the space"))
        }
    }

    /// The token between two words.
    pub fn space(&self) -> i64 {
        // `load` has made sure of it; 0 is the pad, a harmless stand-in.
        self.vocab.get(&' ').copied().unwrap_or(0)
    }

    /// The tokens of `symbols`. An unknown symbol is taken apart (`õ` is `o` and a
    /// tilde); what is still unknown is left out, as the reference does.
    pub fn tokens(&self, symbols: &str) -> Vec<i64> {
        let mut tokens = Vec::with_capacity(symbols.len());
        for symbol in symbols.chars() {
            if let Some(&token) = self.vocab.get(&symbol) {
                tokens.push(token);
            } else {
                let parts = iter::once(symbol).nfd();
                tokens.extend(parts.filter_map(|part| self.vocab.get(&part)));
            }
        }
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(tag: &str, phonemes: &str, end: char) -> String {
        let phonemes = phonemes.replace('^', &TIE.to_string());
        Language::from_tag(tag).expect("Kokoro speaks it").symbols(&Clause { phonemes, end })
    }

    #[test]
    fn affricates_and_diphthongs_are_single_symbols() {
        assert_eq!(symbols("pt-BR", "d^ʒy ʒˈe^ɪŋt^ʃy", '.'), "ʤy ʒˈAŋʧy.");
        assert_eq!(symbols("fr", "lə- sɑ̃dwˈit^ʃ", '?'), "lə sɑ̃dwˈiʧ?");
    }

    #[test]
    fn english_is_written_as_the_american_front_end_does() {
        assert_eq!(symbols("en", "həlˈo^ʊ", ','), "həlˈO,");
        assert_eq!(symbols("en-GB", "bˈɛɾɚ wˈɜːld", '!'), "bˈɛTəɹ wˈɜɹld!");
        assert_eq!(symbols("en", "ɛɡzˈæmpə^l hˈa^ʊ", '.'), "ɛɡzˈæmpᵊl hˈW.");
    }

    #[test]
    fn an_accented_letter_that_the_vocabulary_lacks_is_taken_apart() {
        let vocabulary: Vocabulary =
            serde_json::from_str(r#"{"vocab":{" ":16,"o":57,"\u0303":17,"ç":78}}"#)
                .expect("a vocabulary");
        assert_eq!(vocabulary.tokens("õç ☃"), [57, 17, 78, 16]);
    }

    #[test]
    fn a_language_that_kokoro_does_not_speak_is_refused_in_a_sentence() {
        let error = Language::from_tag("de-DE").expect_err("Kokoro has no German");
        assert!(error.to_string().starts_with("The Kokoro voices do not speak `de-DE`"));
    }
}
