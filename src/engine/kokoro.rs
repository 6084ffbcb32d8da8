//! Kokoro-82M voices on ONNX Runtime.
//!
//! Called by the speaking stages. One [`KokoroModel`] serves any number of
//! [`Kokoro`] voices, which differ in a file of style vectors and in language.
//! Inputs and limits are those of the model's reference package, `kokoro`; how
//! phonemes are written is in [`super::kokoro_symbols`].

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ort::session::{RunOptions, Session};
use ort::value::Tensor;

use super::kokoro_symbols::{Language, Vocabulary};
use super::{Cancel, EngineError, Hardware, Voice, onnx, phonemes, voice};
use crate::audio::speech;

/// Samples per second of the model's output.
pub const SAMPLE_RATE: u32 = 24_000;
/// Most tokens that the model takes at once, the pad at either end not counted.
const MAX_TOKENS: usize = 510;
/// Numbers in one style vector.
const STYLE_WIDTH: usize = 256;
/// Silence between two chunks of one long sentence: 100 ms.
const CHUNK_PAUSE: usize = SAMPLE_RATE as usize / 10;

/// The model that all Kokoro voices share.
pub struct KokoroModel {
    session: Session,
    /// Taking the memory anew for every sentence costs nothing that could be measured.
    giving_back: RunOptions,
    vocabulary: Vocabulary,
}

impl KokoroModel {
    /// Loads the model `onnx` with the vocabulary in `config`, the `config.json`
    /// published with it, ready to be shared among voices.
    ///
    /// # Errors
    /// When a file is absent or damaged, or ONNX Runtime has not been opened.
    pub fn load(
        onnx: &Path,
        config: &Path,
        hardware: &Hardware,
    ) -> Result<Arc<Mutex<Self>>, EngineError> {
        let vocabulary = Vocabulary::load(config)?;
        let session = onnx::quick_session(onnx, hardware)?;
        let giving_back =
            onnx::giving_back().map_err(|error| EngineError::load("Kokoro", error))?;
        Ok(Arc::new(Mutex::new(Self { session, giving_back, vocabulary })))
    }

    /// The tokens of `symbols`, the pads around them left out.
    #[must_use]
    pub fn tokens(&self, symbols: &str) -> Vec<i64> {
        self.vocabulary.tokens(symbols)
    }

    /// Speaks at most [`MAX_TOKENS`] `tokens` in a `style` of [`STYLE_WIDTH`] numbers.
    fn run(&mut self, tokens: &[i64], style: &[f32], speed: f32) -> ort::Result<Vec<f32>> {
        let padded: Vec<i64> = [&[0], tokens, &[0]].concat();
        let inputs = ort::inputs! {
            "input_ids" => Tensor::from_array(([1, padded.len()], padded))?,
            "style" => Tensor::from_array(([1, style.len()], style.to_vec()))?,
            "speed" => Tensor::from_array(([1], vec![speed]))?,
        };
        let outputs = self.session.run_with_options(inputs, &self.giving_back)?;
        let (_, samples) = outputs[0].try_extract_tensor::<f32>()?;
        Ok(samples.to_vec())
    }
}

/// One voice in one language.
pub struct Kokoro {
    model: Arc<Mutex<KokoroModel>>,
    /// [`MAX_TOKENS`] rows of [`STYLE_WIDTH`]: row n serves n + 1 tokens.
    styles: Vec<f32>,
    language: Language,
}

impl Kokoro {
    /// Loads a model for this voice alone; see [`KokoroModel::load`] and [`Kokoro::with_model`].
    ///
    /// # Errors
    /// As those two.
    pub fn load(
        onnx: &Path,
        config: &Path,
        voice: &Path,
        language: &str,
        hardware: &Hardware,
    ) -> Result<Self, EngineError> {
        Self::with_model(KokoroModel::load(onnx, config, hardware)?, voice, language)
    }

    /// A voice on a `model` that other voices may share. `voice` holds its style
    /// vectors: 510 rows of 256 little-endian `f32`. `language` is a BCP 47 tag.
    ///
    /// # Errors
    /// When the file is absent or of another size, or Kokoro does not speak the language.
    pub fn with_model(
        model: Arc<Mutex<KokoroModel>>,
        voice: &Path,
        language: &str,
    ) -> Result<Self, EngineError> {
        let language = Language::from_tag(language)?;
        let bytes = fs::read(voice).map_err(|_| EngineError::Missing {
            what: "The voice's style file".into(),
            path: voice.into(),
        })?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        let styles: Vec<f32> = numbers.iter().copied().map(f32::from_le_bytes).collect();
        if !rest.is_empty() || styles.len() != MAX_TOKENS * STYLE_WIDTH {
            let what = format!("The voice's style file {}", voice.display());
            let expected = MAX_TOKENS * STYLE_WIDTH * size_of::<f32>();
            let detail = format_args!("it has {} bytes instead of {expected}", bytes.len());
            return Err(EngineError::load(what, detail));
        }
        Ok(Self { model, styles, language })
    }

    /// The style vector for a chunk of `tokens` tokens, at least one.
    fn style(&self, tokens: usize) -> &[f32] {
        let row = tokens.clamp(1, MAX_TOKENS) - 1;
        &self.styles[row * STYLE_WIDTH..(row + 1) * STYLE_WIDTH]
    }
}

/// What Kokoro reads for `sentence` in a language, a BCP 47 tag: its own symbols, clauses parted
/// by spaces.
///
/// # Errors
/// When Kokoro does not speak the language or espeak-ng has not been started.
pub fn symbols(sentence: &str, language: &str) -> Result<String, EngineError> {
    Ok(clauses(sentence, Language::from_tag(language)?)?.join(" "))
}

fn clauses(sentence: &str, language: Language) -> Result<Vec<String>, EngineError> {
    let clauses = phonemes::phonemes(sentence, language.espeak_voice())?;
    Ok(clauses.iter().map(|clause| language.symbols(clause)).collect())
}

impl Voice for Kokoro {
    fn sample_rate(&self) -> u32 {
        SAMPLE_RATE
    }

    fn say(
        &mut self,
        sentence: &str,
        speed: f32,
        cancel: &Cancel,
    ) -> Result<Vec<f32>, EngineError> {
        let speed = voice::checked_speed(speed)?;
        let clauses = clauses(sentence, self.language)?;
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        let clauses: Vec<Vec<i64>> = clauses.iter().map(|symbols| model.tokens(symbols)).collect();
        let mut samples = Vec::new();
        for tokens in chunks(&clauses, model.vocabulary.space()) {
            cancel.check()?;
            let raw = model
                .run(&tokens, self.style(tokens.len()), speed)
                .map_err(|error| EngineError::run("Speaking", error))?;
            let tidied = speech::tidy(&raw, SAMPLE_RATE).ok_or_else(|| {
                EngineError::run("Speaking", "the model made samples that are no numbers")
            })?;
            if !samples.is_empty() {
                samples.resize(samples.len() + CHUNK_PAUSE, 0.0);
            }
            samples.extend(tidied);
        }
        Ok(samples)
    }
}

/// Joins clauses, parted by `space`, to chunks of at most [`MAX_TOKENS`] tokens. A
/// clause that is longer by itself is cut at a space, or anywhere if it has none.
fn chunks(clauses: &[Vec<i64>], space: i64) -> Vec<Vec<i64>> {
    let mut chunks: Vec<Vec<i64>> = Vec::new();
    for clause in clauses {
        if let Some(chunk) = chunks.last_mut()
            && chunk.len() + 1 + clause.len() <= MAX_TOKENS
        {
            chunk.push(space);
            chunk.extend(clause);
            continue;
        }
        let mut rest = clause.as_slice();
        while rest.len() > MAX_TOKENS {
            let cut = rest[..MAX_TOKENS].iter().rposition(|&token| token == space);
            let (head, tail) = rest.split_at(cut.filter(|&at| at > 0).unwrap_or(MAX_TOKENS));
            chunks.push(head.to_vec());
            rest = tail.strip_prefix(&[space]).unwrap_or(tail);
        }
        if !rest.is_empty() {
            chunks.push(rest.to_vec());
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: i64 = 16;

    #[test]
    fn short_clauses_share_a_chunk() {
        assert_eq!(chunks(&[vec![1, 2], vec![3]], SPACE), [vec![1, 2, SPACE, 3]]);
        assert!(chunks(&[], SPACE).is_empty());
        assert!(chunks(&[vec![]], SPACE).is_empty());
    }

    #[test]
    fn chunks_end_where_clauses_end() {
        let made = chunks(&[vec![1; 300], vec![2; 209], vec![3; 10]], SPACE);
        assert_eq!(made.iter().map(Vec::len).collect::<Vec<_>>(), [510, 10]);
    }

    #[test]
    fn a_clause_that_is_too_long_is_cut_between_words() {
        let mut clause = vec![1; 400];
        clause.push(SPACE);
        clause.extend(vec![2; 400]);
        assert_eq!(chunks(&[clause], SPACE), [vec![1; 400], vec![2; 400]]);
    }

    #[test]
    fn a_word_that_is_too_long_is_cut_anywhere() {
        let made = chunks(&[vec![1; 1100]], SPACE);
        assert_eq!(made.iter().map(Vec::len).collect::<Vec<_>>(), [510, 510, 80]);
    }
}
