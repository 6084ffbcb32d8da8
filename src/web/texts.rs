//! Reads the texts that stages have left, for the page and for the JSON interface.

use std::path::Path;

use super::error::WebError;
use crate::jobs::{Job, JobStore};
use crate::stage::StageKind;
use crate::text::Transcript;

/// The text that `stage` made for `job`; `None` while it has made none.
///
/// # Errors
/// When a recorded file cannot be read.
pub(super) async fn of_stage(
    store: &JobStore,
    job: &Job,
    stage: StageKind,
) -> Result<Option<String>, WebError> {
    let Some(artifact) = job.artifact(stage) else { return Ok(None) };
    let path = store.folder(job.id).path(&artifact.file);
    let text = match stage {
        StageKind::TranscribeAudio => transcript(&path).await.map(|it| it.text),
        _ => tokio::fs::read_to_string(&path).await.map_err(|error| unreadable(&path, &error)),
    };
    text.map(Some)
}

/// A stored transcript.
///
/// # Errors
/// When the file cannot be read or is no transcript.
pub(super) async fn transcript(path: &Path) -> Result<Transcript, WebError> {
    let stored = tokio::fs::read(path).await.map_err(|error| unreadable(path, &error))?;
    serde_json::from_slice(&stored).map_err(|error| {
        WebError::internal(format_args!("{} is no transcript: {error}", path.display()))
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> WebError {
    WebError::io(&format!("{} cannot be read", path.display()), error)
}
