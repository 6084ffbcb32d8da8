//! A job table in a temporary folder, and jobs to put into it.

use std::path::Path;

use mega_pipeline::jobs::{EventHub, Job, JobEventKind, JobId, JobStore, NewJob};
use mega_pipeline::stage::JobOptions;

/// Opens the job table in `dir`.
pub async fn open(dir: &Path) -> JobStore {
    JobStore::open(dir, EventHub::default()).await.expect("the job table opens")
}

/// Submits a job whose prompt is a few bytes.
pub async fn submit(store: &JobStore) -> JobId {
    let upload = store.incoming_dir().join("upload");
    tokio::fs::write(&upload, b"not really audio").await.expect("the upload is written");
    let new = NewJob {
        prompt_name: Some("prompt.wav".to_owned()),
        prompt_type: "audio/wav".to_owned(),
        prompt_extension: "wav",
        prompt_ms: Some(1000),
        options: JobOptions::default(),
    };
    store.submit(new, &upload).await.expect("the job is accepted")
}

/// The job, which must exist.
pub async fn get(store: &JobStore, id: JobId) -> Job {
    store.get(id).await.expect("the table answers").expect("the job exists")
}

/// Waits until the job has ended, by its events.
pub async fn ended(store: &JobStore, id: JobId) -> Job {
    let mut events = store.events().subscribe();
    loop {
        let job = get(store, id).await;
        if job.state.is_final() {
            return job;
        }
        loop {
            let event = events.recv().await.expect("the event stream goes on");
            let end = matches!(event.kind, JobEventKind::Job { state } if state.is_final());
            if event.job == id && end {
                break;
            }
        }
    }
}
