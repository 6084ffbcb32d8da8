//! Firefox Translations (Marian student models, int8) through the crate fxtranslate.
//!
//! Called by the stage `translate_text` through [`Translator`]. One model serves
//! one pair of languages; the files are those of Mozilla's
//! firefox-translations-models, unpacked.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use fxtranslate::engine::Engine;
use fxtranslate::segment::MAX_SOURCE_TOKENS;
use fxtranslate::shortlist::Shortlist;

use super::guard::caught;
use super::{Control, EngineError, Hardware, Translator, spm};
use crate::text::window::windows;

/// What the model is called in errors.
const MODEL: &str = "The translation model";

/// Stretches translated at once by each thread: a sixth quicker than one by one, for 2 MB.
/// More bring no speed, cost memory (41 MB at 120), and make cancellation wait.
const BATCH: usize = 16;

/// A loaded model.
pub struct Firefox {
    engine: Engine,
    batch: usize,
}

// SAFETY: the engine is not `Send` only because its packed weights are held by
// a pointer into C++ (`PreparedB` in fxtranslate 0.5). That memory is plain heap
// memory, written once; freeing it is `free` and an atomic counter, which any
// thread may call. All else in the engine is owned by it, and scratch buffers
// are thread-local. Look again when fxtranslate changes its version.
unsafe impl Send for Firefox {}

impl Firefox {
    /// Loads a model; its weights are mapped into memory, not copied.
    ///
    /// `source_vocab` and `target_vocab` are the same path for most pairs. The
    /// `shortlist` holds the likely translations of each word: with it the model
    /// is several times as fast, and chooses the words its makers tested.
    ///
    /// # Errors
    /// `Missing` when a file is not there, `Load` when one is damaged.
    pub fn load(
        model: &Path,
        source_vocab: &Path,
        target_vocab: &Path,
        shortlist: Option<&Path>,
        hardware: &Hardware,
    ) -> Result<Self, EngineError> {
        File::open(model).map_err(|error| EngineError::unreadable(MODEL, model, &error))?;
        spm::read(source_vocab)?;
        let words = spm::read(target_vocab)?.len();
        let shortlist = shortlist.map(|path| read_shortlist(path, words)).transpose()?;
        let engine = caught(|| Engine::load_mmapped(model, source_vocab, target_vocab))
            .and_then(|loaded| loaded)
            .map_err(|detail| EngineError::load(MODEL, detail))?;
        let engine = engine.with_threads(hardware.threads);
        let engine = match shortlist {
            Some(shortlist) => engine.with_shortlist(shortlist),
            None => engine,
        };
        Ok(Self { engine, batch: BATCH * hardware.threads })
    }

    /// Translates a batch of stretches that each fit the model's window.
    fn translate_batch(&self, stretches: &[&str]) -> Result<Vec<String>, EngineError> {
        // The engine is not changed by a translation, so a panic leaves it whole.
        caught(AssertUnwindSafe(|| self.engine.translate_batch(stretches)))
            .map_err(|detail| EngineError::run("The translation", detail))
    }

    /// Tokens of `text` as the model reads it, without the end mark.
    fn tokens(&self, text: &str) -> usize {
        self.engine.src_ids(text).len().saturating_sub(1)
    }
}

impl Translator for Firefox {
    /// A sentence without a word stays as it is. One too long for the model's window is
    /// translated in stretches, joined by spaces.
    fn translate(
        &mut self,
        sentences: &[String],
        control: &Control<'_>,
    ) -> Result<Vec<String>, EngineError> {
        let mut translations = sentences.to_vec();
        let mut stretches = Vec::new();
        for (index, sentence) in sentences.iter().enumerate() {
            control.cancel.check()?;
            let parts = windows(sentence, MAX_SOURCE_TOKENS, |text| self.tokens(text));
            if !parts.is_empty() {
                translations[index].clear();
            }
            stretches.extend(parts.into_iter().map(|part| (index, part)));
        }
        let mut begun = 0;
        for batch in stretches.chunks(self.batch) {
            control.cancel.check()?;
            let texts: Vec<&str> = batch.iter().map(|(_, part)| *part).collect();
            for ((index, _), translated) in batch.iter().zip(self.translate_batch(&texts)?) {
                let translation = &mut translations[*index];
                if !translation.is_empty() && !translated.is_empty() {
                    translation.push(' ');
                }
                translation.push_str(translated.trim());
            }
            begun += batch.len();
            // The sentence that the next batch goes on with is not finished yet.
            let done = stretches.get(begun).map_or(sentences.len(), |(index, _)| *index);
            control.report(done, sentences.len());
        }
        Ok(translations)
    }
}

/// Reads a lexical shortlist whose target words number `words`.
///
/// The crate trusts the sizes and indices in the file, so they are checked here:
/// a wrong size could ask for more memory than there is, a wrong index would stop
/// a translation long after loading.
fn read_shortlist(path: &Path, words: usize) -> Result<Shortlist, EngineError> {
    let what = "The word list of the translation model";
    let bytes = std::fs::read(path).map_err(|error| EngineError::unreadable(what, path, &error))?;
    let header = shortlist_header(&bytes);
    if header.is_none_or(|(size, frequent)| size != bytes.len() || frequent > words) {
        let detail = format!("{} is damaged or not a word list", path.display());
        return Err(EngineError::load(what, detail));
    }
    let shortlist = Shortlist::from_bytes(&bytes);
    let source_words: Vec<u32> = (0..words as u32).collect();
    let candidates = caught(AssertUnwindSafe(|| shortlist.candidates(&source_words, false)))
        .map_err(|detail| EngineError::load(what, detail))?;
    match candidates.last() {
        // Padding to a multiple of eight may pass the last word by up to seven.
        Some(&last) if (last as usize) < words + 8 => Ok(shortlist),
        _ => Err(EngineError::load(what, "it belongs to another vocabulary")),
    }
}

/// What a shortlist's header tells of: the size of the file in bytes, and how
/// many of the most frequent words are always candidates. `None` when it is cut
/// off.
///
/// The header is six 64-bit numbers, the third of which counts those words, the
/// fifth 64-bit offsets, and the sixth 32-bit words (marian-dev,
/// `src/data/shortlist.cpp`).
fn shortlist_header(bytes: &[u8]) -> Option<(usize, usize)> {
    const HEADER: usize = 6 * 8;
    let number = |index: usize| {
        let eight = bytes.get(index * 8..index * 8 + 8)?;
        usize::try_from(u64::from_le_bytes(eight.try_into().ok()?)).ok()
    };
    let offsets = number(4)?.checked_mul(8)?;
    let words = number(5)?.checked_mul(4)?;
    Some((HEADER.checked_add(offsets)?.checked_add(words)?, number(2)?))
}
