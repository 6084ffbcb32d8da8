//! A GGUF file: mapped into memory, its metadata read by name.
//!
//! Used by the rest of `engine/llm`. Format: the GGUF specification in the ggml
//! repository (`docs/gguf.md`); the parsing itself is candle's.

use std::fs::File;
use std::io::Cursor;
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use memmap2::Mmap;

use crate::engine::EngineError;

/// How a person knows what could not be loaded.
pub(super) const WHAT: &str = "The language model";

/// An open GGUF file.
pub(super) struct Gguf {
    map: Mmap,
    content: Content,
}

impl Gguf {
    /// Maps the file and reads its header; tensors stay on disk.
    ///
    /// # Errors
    /// `Missing` when there is no such file, `Load` when it is no GGUF.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let file = File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                EngineError::Missing { what: WHAT.to_owned(), path: path.to_owned() }
            }
            _ => EngineError::load(WHAT, format!("{}: {error}", path.display())),
        })?;
        // SAFETY: the map is only read. Weights are written under another name and renamed into
        // place, never changed in place, so the bytes cannot change while they are mapped.
        let map = unsafe { Mmap::map(&file) }
            .map_err(|error| EngineError::load(WHAT, format!("{}: {error}", path.display())))?;
        let content = Content::read(&mut Cursor::new(&map[..])).map_err(|error| {
            EngineError::load(WHAT, format!("{} is not a GGUF file: {error}", path.display()))
        })?;
        Ok(Self { map, content })
    }

    /// A text value.
    pub fn string(&self, key: &str) -> Option<&str> {
        self.value(key)?.to_string().ok().map(String::as_str)
    }

    /// A text value that must be there.
    pub fn required(&self, key: &str) -> Result<&str, EngineError> {
        self.string(key).ok_or_else(|| missing(key))
    }

    /// A whole number of any width that is not negative.
    pub fn integer(&self, key: &str) -> Option<u64> {
        integer(self.value(key)?)
    }

    /// A truth value.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.value(key)?.to_bool().ok()
    }

    /// A list of texts that must be there.
    pub fn strings(&self, key: &str) -> Result<Vec<String>, EngineError> {
        self.list(key)?
            .iter()
            .map(|value| value.to_string().cloned().map_err(|_| missing(key)))
            .collect()
    }

    /// A list of numbers that must be there.
    pub fn integers(&self, key: &str) -> Result<Vec<u64>, EngineError> {
        self.list(key)?.iter().map(|value| integer(value).ok_or_else(|| missing(key))).collect()
    }

    /// The header and the mapped bytes, for candle to take the tensors from.
    pub fn into_parts(self) -> (Content, Mmap) {
        (self.content, self.map)
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    fn list(&self, key: &str) -> Result<&Vec<Value>, EngineError> {
        self.value(key).and_then(|value| value.to_vec().ok()).ok_or_else(|| missing(key))
    }
}

fn integer(value: &Value) -> Option<u64> {
    match *value {
        Value::I8(number) => u64::try_from(number).ok(),
        Value::I16(number) => u64::try_from(number).ok(),
        Value::I32(number) => u64::try_from(number).ok(),
        Value::I64(number) => u64::try_from(number).ok(),
        ref unsigned => unsigned.to_u64().ok(),
    }
}

fn missing(key: &str) -> EngineError {
    EngineError::load(WHAT, format!("its file has no usable `{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_reported_as_missing() {
        let error = Gguf::open(Path::new("no/such/model.gguf")).err();
        assert!(matches!(error, Some(EngineError::Missing { .. })), "{error:?}");
    }

    #[test]
    fn a_file_that_is_no_gguf_is_reported_with_its_name() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("notes.gguf");
        std::fs::write(&path, "these are notes, not weights").expect("the file is written");
        let error = Gguf::open(&path).err().expect("notes are refused").to_string();
        assert!(error.contains("notes.gguf is not a GGUF file"), "{error}");
    }
}
