//! SentencePiece vocabularies (`.spm`), read through the crate fxtranslate.
//!
//! Called by the translators `firefox` and `marian`.

use std::path::Path;

use fxtranslate::spm::SpmVocab;

use super::EngineError;
use super::guard::caught;

/// Reads a unigram vocabulary with its normaliser.
///
/// # Errors
/// `Missing` when there is no such file, `Load` when it is not a SentencePiece
/// model. The crate reads any bytes without complaint, so a file that yields no
/// pieces, or no piece for unknown characters, is refused here.
pub fn read(path: &Path) -> Result<SpmVocab, EngineError> {
    const WHAT: &str = "The vocabulary of the translation model";
    let bytes = std::fs::read(path).map_err(|error| EngineError::unreadable(WHAT, path, &error))?;
    let vocabulary = caught(|| SpmVocab::from_bytes(&bytes))
        .map_err(|detail| EngineError::load(WHAT, detail))?;
    let knows_unknown = (0..vocabulary.len() as u32).any(|id| vocabulary.piece(id) == "<unk>");
    if !knows_unknown {
        let detail = format!("{} is not a SentencePiece model", path.display());
        return Err(EngineError::load(WHAT, detail));
    }
    Ok(vocabulary)
}
