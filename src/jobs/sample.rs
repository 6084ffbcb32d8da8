//! The bundled spoken prompt, for who has nothing to say yet.

use super::error::JobError;
use super::store::JobStore;
use super::types::{JobId, NewJob};
use crate::stage::JobOptions;

const SAMPLE: &[u8] = include_bytes!("../../samples/prompt.flac");

/// Queues the bundled prompt.
///
/// # Errors
/// Those of [`JobStore::submit`], and when the recording cannot be written.
pub async fn submit_sample(store: &JobStore, options: JobOptions) -> Result<JobId, JobError> {
    store.check_room().await?;
    let file = tempfile::Builder::new().prefix("sample-").tempfile_in(store.incoming_dir());
    // Gone at the end of this function, unless the job has taken it.
    let path = file.map_err(JobError::io("the sample prompt"))?.into_temp_path();
    tokio::fs::write(&path, SAMPLE).await.map_err(JobError::io("the sample prompt"))?;
    let sample = NewJob {
        prompt_name: Some("sample prompt".to_owned()),
        prompt_type: "audio/flac".to_owned(),
        prompt_extension: "flac",
        prompt_ms: None,
        options,
        idempotency: None,
    };
    store.submit(sample, &path).await
}
