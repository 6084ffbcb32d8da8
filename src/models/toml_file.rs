//! Files of TOML that a pull writes beside the models.
//!
//! Called by `lock` and `pairs`.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ModelsError, stamp};

/// What the file at `path` holds; the default if it is not there.
pub(super) fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, ModelsError> {
    let wrong = |detail: String| ModelsError::Lock { path: path.to_owned(), detail };
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| wrong(error.message().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// Replaces the file at `path`; `header` says to a person what it is.
pub(super) fn write(
    path: &Path,
    header: &str,
    content: &impl Serialize,
) -> Result<(), ModelsError> {
    let text = toml::to_string(content).map_err(ModelsError::io(path))?;
    stamp::write_atomically(path, &(header.to_owned() + &text))
}
