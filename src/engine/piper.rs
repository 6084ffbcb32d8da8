//! Piper voices (VITS models of the Piper project) through the crate piper-rs.
//!
//! Called by the speaking stages. Phonemes come from [`super::phonemes`], because
//! piper-rs's own way to them loses the punctuation that makes a voice pause.

use std::fs;
use std::path::Path;

use piper_rs::ModelConfig;
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::phonemes::{self, Clause, TIE};
use super::{EngineError, Hardware, Voice, onnx, voice};
use crate::audio::speech;

/// A loaded Piper voice.
pub struct Piper {
    model: piper_rs::Piper,
    /// Name of the language in espeak-ng, such as `en-us`.
    language: String,
    sample_rate: u32,
    /// The voice's own pace: 1, or more for a slower one.
    length_scale: f32,
}

impl Piper {
    /// Loads the voice `onnx` with its `config`, the `.onnx.json` published beside it.
    ///
    /// # Errors
    /// When a file is absent or damaged, or ONNX Runtime has not been opened.
    pub fn load(onnx: &Path, config: &Path, hardware: &Hardware) -> Result<Self, EngineError> {
        let json = fs::read_to_string(config).map_err(|_| EngineError::Missing {
            what: "The voice's configuration".into(),
            path: config.into(),
        })?;
        let parsed = parse_config(&json).map_err(|error| {
            EngineError::load(format!("The voice's configuration {}", config.display()), error)
        })?;
        let session = onnx::session(onnx, hardware)?;
        Ok(Self {
            language: parsed.espeak.voice.clone(),
            sample_rate: parsed.audio.sample_rate,
            length_scale: parsed.inference.length_scale,
            model: piper_rs::Piper::from_session(session, parsed),
        })
    }
}

impl Voice for Piper {
    fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    fn say(&mut self, sentence: &str, speed: f32) -> Result<Vec<f32>, EngineError> {
        let clauses = phonemes::phonemes(sentence, &self.language)?;
        if clauses.is_empty() {
            return Ok(Vec::new());
        }
        let length_scale = self.length_scale / voice::checked_speed(speed)?;
        let (raw, _) = self
            .model
            .create(&in_symbols(&clauses), true, None, Some(length_scale), None, None)
            .map_err(|error| EngineError::run("Speaking", error))?;
        speech::tidy(&raw, self.sample_rate).ok_or_else(|| {
            EngineError::run("Speaking", "the model made samples that are no numbers")
        })
    }
}

/// Samples per second of the voice with this `config`, if it can be read.
#[must_use]
pub fn sample_rate(config: &Path) -> Option<u32> {
    let parsed = parse_config(&fs::read_to_string(config).ok()?).ok()?;
    Some(parsed.audio.sample_rate)
}

/// Reads a voice's configuration. Some voices with one speaker leave out the list
/// of speakers, which piper-rs insists on.
fn parse_config(json: &str) -> serde_json::Result<ModelConfig> {
    let mut config: Map<String, Value> = serde_json::from_str(json)?;
    config.entry("speaker_id_map").or_insert_with(|| Value::Object(Map::new()));
    config.entry("num_speakers").or_insert_with(|| Value::from(1));
    serde_json::from_value(Value::Object(config))
}

/// The clauses in the symbols that Piper voices are trained on: no ties, letters
/// apart from their accents, and only the marks that every voice knows.
fn in_symbols(clauses: &[Clause]) -> String {
    let mut symbols = String::new();
    for clause in clauses {
        if !symbols.is_empty() {
            symbols.push(' ');
        }
        symbols.extend(clause.phonemes.chars().filter(|&c| c != TIE).nfd());
        symbols.push(match clause.end {
            '—' => ';',
            '…' => '.',
            mark => mark,
        });
    }
    symbols
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_keep_punctuation_and_lose_ties() {
        let clauses = [
            Clause { phonemes: "həlˈo\u{361}ʊ".into(), end: ',' },
            Clause { phonemes: "ɪç".into(), end: '—' },
            Clause { phonemes: "wˈɜːld".into(), end: '…' },
        ];
        assert_eq!(in_symbols(&clauses), "həlˈoʊ, ɪc\u{327}; wˈɜːld.");
    }

    #[test]
    fn a_configuration_without_speakers_is_read() {
        let json = r#"{"audio":{"sample_rate":22050},"espeak":{"voice":"en-us"},
            "inference":{"noise_scale":0.6,"length_scale":1,"noise_w":0.8},
            "phoneme_id_map":{"_":[0]}}"#;
        let config = parse_config(json).expect("it is complete enough");
        assert_eq!((config.num_speakers, config.audio.sample_rate), (1, 22050));
    }
}
