//! The choices that `models pull` made: role to model, hash and source.
//!
//! Kept beside the models, so that a restart, a copy of the folder and a report
//! all speak of the same weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ModelsError, toml_file};

/// Name of the file in the folder of the models.
const FILE_NAME: &str = "models.lock.toml";

const HEADER: &str = "# Written by `mega-pipeline models pull`: which model does which job.\n\n";

/// The model chosen for one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Model id, or [`super::LLM`].
    pub model: String,
    /// Hash of its weights, the first of its files.
    pub sha256: String,
    /// Where they came from.
    pub source: String,
}

/// All choices, by role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lock {
    #[serde(default)]
    pub(super) role: BTreeMap<String, Choice>,
}

impl Lock {
    /// The choices made in the folder `models`; none if nothing was pulled yet.
    pub(super) fn read(models: &Path) -> Result<Self, ModelsError> {
        toml_file::read(&file_in(models))
    }

    /// Writes the choices, if they differ from what is there.
    pub(super) fn write(&self, models: &Path) -> Result<(), ModelsError> {
        if Self::read(models).is_ok_and(|old| old == *self) {
            return Ok(());
        }
        toml_file::write(&file_in(models), HEADER, self)
    }
}

fn file_in(models: &Path) -> PathBuf {
    models.join(FILE_NAME)
}
