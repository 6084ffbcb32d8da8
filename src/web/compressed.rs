//! Speech in a smaller form than it is stored in: made when somebody first asks for it,
//! kept in the folder `cache` of the job, gone with the job.
//!
//! Called by `api::artifacts`. A kept file is named after the artifact, its hash and the
//! form, so that it never outlives what it was made of. It is made under another name in
//! the folder of incoming files, which is emptied at start, and then renamed: whoever
//! finds it finds all of it.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::error::WebError;
use super::state::AppState;
use crate::audio::{self, Compression};
use crate::jobs::{ArtifactRow, JobId};

/// How much of the artifact's hash is part of the file's name.
const HASH_DIGITS: usize = 16;

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
    let folder = state.store.folder(job);
    let hash = artifact.sha256.get(..HASH_DIGITS).unwrap_or(&artifact.sha256);
    let name = format!("{}.{hash}.{}", artifact.file, compression.extension());
    let kept = folder.cache_dir().join(name);
    if tokio::fs::try_exists(&kept).await.unwrap_or(false) {
        return Ok(kept);
    }
    // One at a time: the models need the processor, and whoever waited finds it done.
    let permit = state.compressing.clone().acquire_owned().await.map_err(WebError::internal)?;
    let original = folder.path(&artifact.file);
    let incoming = state.store.incoming_dir().to_owned();
    let made = tokio::task::spawn_blocking(move || {
        // Held until the work is done, also when nobody waits for it any more.
        let _permit = permit;
        if !kept.exists() {
            make(&original, &incoming, &kept, compression)?;
        }
        Ok(kept)
    });
    made.await.map_err(WebError::internal)?.map_err(|error: io::Error| match error.kind() {
        // The folder went with its job.
        io::ErrorKind::NotFound => WebError::no_such_job(),
        _ => WebError::io("speech cannot be compressed", &error),
    })
}

fn make(original: &Path, incoming: &Path, kept: &Path, compression: Compression) -> io::Result<()> {
    let audio = audio::read_wav(original)?;
    let mut temporary = tempfile::Builder::new().prefix("compressed-").tempfile_in(incoming)?;
    let mut out = BufWriter::new(temporary.as_file_mut());
    compression.write(&audio, &mut out)?;
    out.flush()?;
    drop(out);
    // Without this a crash could leave an empty file under the final name.
    temporary.as_file().sync_all()?;
    // Not with its parents: a job's folder that is gone must stay gone.
    if let Some(cache) = kept.parent()
        && let Err(error) = fs::create_dir(cache)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    temporary.persist(kept).map_err(|error| error.error)?;
    Ok(())
}
