//! Piper voices (VITS models of the Piper project) on ONNX Runtime.
//!
//! Called by the speaking stages. The crate piper-rs reads a voice's configuration. Phonemes
//! come from [`super::phonemes`], because piper-rs's own way to them loses the punctuation that
//! makes a voice pause; and the network is run here, because piper-rs leaves out the blank that
//! voices are trained to find before the first phoneme: without it that phoneme is cut short,
//! and `Containers` is heard as `and Tanners`.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use ort::session::{Session, SessionInputValue};
use ort::value::Tensor;
use piper_rs::ModelConfig;
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::phonemes::{self, Clause, TIE};
use super::{Cancel, EngineError, Hardware, Voice, onnx, voice};
use crate::audio::speech;

/// What a voice reads before the first phoneme, after each, and after the last, as it stands in
/// its table of phonemes.
const BEGIN: char = '^';
const BLANK: char = '_';
const END: char = '$';

/// What the network reads, by name.
type Inputs = Vec<(Cow<'static, str>, SessionInputValue<'static>)>;

/// A loaded Piper voice.
pub struct Piper {
    session: Session,
    config: ModelConfig,
    /// Of a voice with several speakers, the one that speaks.
    speaker: i64,
}

impl Piper {
    /// Loads the voice `onnx` with its `config`, the `.onnx.json` published beside it.
    ///
    /// # Errors
    /// When a file is absent or damaged, ONNX Runtime has not been opened, or the voice has no
    /// such `speaker`; without one its first speaks.
    pub fn load(
        onnx: &Path,
        config: &Path,
        speaker: Option<&str>,
        hardware: &Hardware,
    ) -> Result<Self, EngineError> {
        let json = fs::read_to_string(config).map_err(|_| EngineError::Missing {
            what: "The voice's configuration".into(),
            path: config.into(),
        })?;
        let parsed = parse_config(&json).map_err(|error| {
            EngineError::load(format!("The voice's configuration {}", config.display()), error)
        })?;
        let speaker = speaker_number(&parsed, speaker)?;
        let session = onnx::session(onnx, hardware)?;
        Ok(Self { session, config: parsed, speaker })
    }

    /// The numbers that the voice reads for `sentence`, as the reference `piper-tts` makes them.
    ///
    /// # Errors
    /// When espeak-ng has not been started or does not know the voice's language.
    pub fn tokens(&self, sentence: &str) -> Result<Vec<i64>, EngineError> {
        let clauses = phonemes::phonemes(sentence, &self.config.espeak.voice)?;
        Ok(if clauses.is_empty() { Vec::new() } else { self.numbered(&in_symbols(&clauses)) })
    }

    fn numbered(&self, symbols: &str) -> Vec<i64> {
        let numbers =
            |symbol: char| self.config.phoneme_id_map.get(&symbol).map_or(&[][..], Vec::as_slice);
        let mut tokens = [numbers(BEGIN), numbers(BLANK)].concat();
        for symbol in symbols.chars().map(numbers).filter(|numbers| !numbers.is_empty()) {
            tokens.extend_from_slice(symbol);
            tokens.extend_from_slice(numbers(BLANK));
        }
        tokens.extend_from_slice(numbers(END));
        tokens
    }

    /// What the network reads; `length_scale` above 1 is slower.
    fn inputs(&self, tokens: Vec<i64>, length_scale: f32) -> ort::Result<Inputs> {
        let length = tokens.len();
        let inference = &self.config.inference;
        let scales = vec![inference.noise_scale, length_scale, inference.noise_w];
        let mut inputs = ort::inputs! {
            "input" => Tensor::from_array(([1, length], tokens))?,
            "input_lengths" => Tensor::from_array(([1], vec![length as i64]))?,
            "scales" => Tensor::from_array(([3], scales))?,
        };
        if self.config.num_speakers > 1 {
            inputs.push(("sid".into(), Tensor::from_array(([1], vec![self.speaker]))?.into()));
        }
        Ok(inputs)
    }

    fn run(&mut self, tokens: Vec<i64>, length_scale: f32) -> ort::Result<Vec<f32>> {
        let inputs = self.inputs(tokens, length_scale)?;
        let outputs = self.session.run(inputs)?;
        let (_, samples) = outputs[0].try_extract_tensor::<f32>()?;
        Ok(samples.to_vec())
    }

    /// Runs the network for no sound at all, and gives back what runs before it took.
    fn give_back(&mut self) -> ort::Result<()> {
        let inputs = self.inputs(self.numbered(""), 1.0)?;
        self.session.run_with_options(inputs, &onnx::giving_back()?).map(drop)
    }
}

impl Voice for Piper {
    fn sample_rate(&self) -> u32 {
        self.config.audio.sample_rate
    }

    fn say(
        &mut self,
        sentence: &str,
        speed: f32,
        cancel: &Cancel,
    ) -> Result<Vec<f32>, EngineError> {
        cancel.check()?;
        let length_scale = self.config.inference.length_scale / voice::checked_speed(speed)?;
        let tokens = self.tokens(sentence)?;
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let raw =
            self.run(tokens, length_scale).map_err(|error| EngineError::run("Speaking", error))?;
        speech::tidy(&raw, self.sample_rate()).ok_or_else(|| {
            EngineError::run("Speaking", "the model made samples that are no numbers")
        })
    }

    // Not at every sentence: taking the memory anew costs this voice a tenth of its time.
    fn rest(&mut self) -> Result<(), EngineError> {
        self.give_back().map_err(|error| EngineError::run("Resting", error))
    }
}

/// The speakers of the voice with this `config`, in the order of their numbers; none if there is
/// but one, or the file cannot be read.
#[must_use]
pub fn speakers(config: &Path) -> Vec<String> {
    let parsed = fs::read_to_string(config).ok().and_then(|json| parse_config(&json).ok());
    let Some(parsed) = parsed.filter(|config| config.num_speakers > 1) else { return Vec::new() };
    let mut speakers: Vec<(i64, String)> =
        parsed.speaker_id_map.into_iter().map(|(name, number)| (number, name)).collect();
    speakers.sort();
    speakers.into_iter().map(|(_, name)| name).collect()
}

/// The number of the speaker called `name`.
fn speaker_number(config: &ModelConfig, name: Option<&str>) -> Result<i64, EngineError> {
    let Some(name) = name else { return Ok(0) };
    config.speaker_id_map.get(name).copied().ok_or_else(|| {
        let mut known: Vec<&str> = config.speaker_id_map.keys().map(String::as_str).collect();
        known.sort_unstable();
        let known = if known.is_empty() { "only one".to_owned() } else { known.join(", ") };
        EngineError::UnsupportedLanguage(format!(
            "The voice has no speaker `{name}`; it has {known}."
        ))
    })
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

    #[test]
    fn a_speaker_is_found_by_name_and_an_unknown_one_is_told_with_those_there_are() {
        let json = r#"{"audio":{"sample_rate":22050},"espeak":{"voice":"fr"},
            "inference":{"noise_scale":0.6,"length_scale":1,"noise_w":0.8},"num_speakers":2,
            "speaker_id_map":{"pierre":1,"jessica":0},"phoneme_id_map":{"_":[0]}}"#;
        let config = parse_config(json).expect("a configuration");
        let number = |name| speaker_number(&config, name).map_err(|error| error.to_string());
        assert_eq!(number(None), Ok(0));
        assert_eq!(number(Some("pierre")), Ok(1));
        assert!(number(Some("paul")).expect_err("no such speaker").contains("jessica, pierre"));
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("voice.json");
        fs::write(&path, json).expect("a file");
        assert_eq!(speakers(&path), ["jessica", "pierre"]);
        assert_eq!(sample_rate(&path), Some(22_050));
    }
}
