//! What can be made again of a job's results: kept in the folder `cache` of the job, gone
//! with the job.
//!
//! It is made under another name in the folder of incoming files, which is emptied at
//! start, and then renamed: whoever finds it finds all of it.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::error::WebError;
use super::state::AppState;
use crate::jobs::{ArtifactRow, JobId};

/// How much of the artifact's hash is part of the file's name.
const HASH_DIGITS: usize = 16;

/// Begins the name of a file that is made of `artifact`, and of nothing else.
pub(super) fn name(artifact: &ArtifactRow) -> String {
    let hash = artifact.sha256.get(..HASH_DIGITS).unwrap_or(&artifact.sha256);
    format!("{}.{hash}", artifact.file)
}

/// The file `name` of the job's cache, which `write` makes where it is not there yet.
///
/// One at a time: the models need the processor, and whoever waited finds it done.
///
/// # Errors
/// When it cannot be made; 404 when its job went meanwhile.
pub(super) async fn file(
    state: &AppState,
    job: JobId,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Result<PathBuf, WebError> {
    let kept = state.store.folder(job).cache_dir().join(name);
    if tokio::fs::try_exists(&kept).await.unwrap_or(false) {
        return Ok(kept);
    }
    let permit = state.making.clone().acquire_owned().await.map_err(WebError::internal)?;
    let incoming = state.store.incoming_dir().to_owned();
    let made = tokio::task::spawn_blocking(move || {
        // Held until the work is done, also when nobody waits for it any more.
        let _permit = permit;
        if !kept.exists() {
            make(&incoming, &kept, write)?;
        }
        Ok(kept)
    });
    made.await.map_err(WebError::internal)?.map_err(|error: io::Error| match error.kind() {
        // The folder went with its job.
        io::ErrorKind::NotFound => WebError::no_such_job(),
        _ => WebError::io("what is kept of a result cannot be made", &error),
    })
}

fn make(
    incoming: &Path,
    kept: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut temporary = tempfile::Builder::new().prefix("kept-").tempfile_in(incoming)?;
    let mut out = BufWriter::new(temporary.as_file_mut());
    write(&mut out)?;
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
