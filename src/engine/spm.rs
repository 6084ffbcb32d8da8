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
/// model. The crate reads any bytes without complaint, so a file that was cut
/// off, or that has no piece for unknown characters, is refused here.
pub fn read(path: &Path) -> Result<SpmVocab, EngineError> {
    const WHAT: &str = "The vocabulary of the translation model";
    let bytes = std::fs::read(path).map_err(|error| EngineError::unreadable(WHAT, path, &error))?;
    let vocabulary = caught(|| SpmVocab::from_bytes(&bytes))
        .map_err(|detail| EngineError::load(WHAT, detail))?;
    let knows_unknown = (0..vocabulary.len() as u32).any(|id| vocabulary.piece(id) == "<unk>");
    if !knows_unknown || !is_whole(&bytes) {
        let detail = format!("{} is damaged or not a SentencePiece model", path.display());
        return Err(EngineError::load(WHAT, detail));
    }
    Ok(vocabulary)
}

/// Whether the fields of a protobuf message end where `message` ends.
///
/// The file is one message whose fields are messages themselves, told by their
/// length (wire type 2); a file that was cut off ends within one of them.
fn is_whole(mut message: &[u8]) -> bool {
    const LENGTH_DELIMITED: u64 = 2;
    while !message.is_empty() {
        let rest = varint(message)
            .filter(|(tag, _)| tag & 7 == LENGTH_DELIMITED)
            .and_then(|(_, rest)| varint(rest))
            .and_then(|(length, rest)| rest.get(usize::try_from(length).ok()?..));
        match rest {
            Some(rest) => message = rest,
            None => return false,
        }
    }
    true
}

/// The number at the start of `bytes`, seven bits a byte, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}
