//! Speech in a smaller form than it is stored in: made when somebody first asks for it.
//!
//! Called by `api::artifacts`. A kept file is named after the artifact, its hash and the
//! form, so that it never outlives what it was made of.

use std::path::PathBuf;

use super::error::WebError;
use super::kept;
use super::state::AppState;
use crate::audio::{self, Compression};
use crate::jobs::{ArtifactRow, JobId};

/// The file with `artifact` of `job` in the form `compression`, made now if need be.
///
/// # Errors
/// 404 when the job was deleted meanwhile, 507 when the disk is full.
pub(super) async fn file(
    state: &AppState,
    job: JobId,
    artifact: &ArtifactRow,
    compression: Compression,
) -> Result<PathBuf, WebError> {
    let name = format!("{}.{}", kept::name(artifact), compression.extension());
    let original = state.store.folder(job).path(&artifact.file);
    kept::file(state, job, &name, move |out| compression.write(&audio::read_wav(&original)?, out))
        .await
}
