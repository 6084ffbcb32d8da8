//! What was found when a model's files were hashed, so that it need not be done again.
//!
//! One file, `.installed.toml`, in each model's folder. A file counts as
//! installed when it has a stamp, the stamp has the catalogue's hash, and the
//! length is still the one it had. `models verify` hashes again.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{FileSpec, ModelsError, digest};

/// Name of the file in a model's folder.
const FILE_NAME: &str = ".installed.toml";

/// The stamps of one model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamps {
    #[serde(default, rename = "file")]
    pub(super) files: Vec<Stamp>,
}

/// What is known of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub(super) name: String,
    /// Length on disk, of a folder with all that is in it.
    pub(super) size_bytes: u64,
    /// Hash on disk.
    pub(super) sha256: String,
    /// Hash of what was fetched, if it was packed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) packed_sha256: Option<String>,
    /// Where it came from.
    pub(super) source: String,
}

impl Stamps {
    /// The stamps in a model's folder; none if there are none or they cannot be read,
    /// which costs hashing again and nothing else.
    pub(super) fn read(dir: &Path) -> Self {
        let text = std::fs::read_to_string(dir.join(FILE_NAME)).unwrap_or_default();
        toml::from_str(&text).unwrap_or_default()
    }

    /// The stamp of `file`, if the file still is what it was stamped for.
    pub(super) fn valid(&self, dir: &Path, file: &FileSpec) -> Option<&Stamp> {
        let stamp = self.files.iter().find(|stamp| stamp.name == file.name)?;
        let expected = match (&file.sha256, &file.packed) {
            (Some(sha256), _) => stamp.sha256 == *sha256,
            (None, Some(packed)) => stamp.packed_sha256.as_ref() == Some(&packed.sha256),
            (None, None) => false,
        };
        let unchanged = digest::size_bytes(&dir.join(&file.name)) == Some(stamp.size_bytes);
        (expected && unchanged).then_some(stamp)
    }

    /// Puts `stamp` in the place of an earlier one of the same file.
    pub(super) fn set(&mut self, stamp: Stamp) {
        self.remove(&stamp.name);
        self.files.push(stamp);
    }

    /// Forgets a file.
    pub(super) fn remove(&mut self, name: &str) {
        self.files.retain(|stamp| stamp.name != name);
    }

    /// Writes the stamps into a model's folder.
    pub(super) fn write(&self, dir: &Path) -> Result<(), ModelsError> {
        let text = toml::to_string(self).map_err(ModelsError::io(dir.join(FILE_NAME)))?;
        write_atomically(&dir.join(FILE_NAME), &text)
    }
}

/// Writes a small file so that a reader sees the old text or the new one, never a part.
pub(super) fn write_atomically(path: &Path, text: &str) -> Result<(), ModelsError> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    // The models may be used by another user than the one who pulled them.
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(dir)
        .map_err(ModelsError::io(path))?;
    file.write_all(text.as_bytes()).map_err(ModelsError::io(path))?;
    file.as_file().sync_all().map_err(ModelsError::io(path))?;
    file.persist(path).map_err(ModelsError::io(path))?;
    Ok(())
}
