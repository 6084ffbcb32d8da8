//! A job table in a temporary folder, and jobs to put into it.

use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use mega_pipeline::jobs::{
    Clock, EventHub, Job, JobError, JobEvent, JobEventKind, JobId, JobStore, NewJob, StoreOptions,
};
use mega_pipeline::stage::JobOptions;
use tokio::sync::{broadcast, watch};

/// Opens the job table in `dir`.
pub async fn open(dir: &Path) -> JobStore {
    open_with(dir, StoreOptions::default()).await
}

/// Opens the job table in `dir` with options of the test's own.
pub async fn open_with(dir: &Path, options: StoreOptions) -> JobStore {
    JobStore::open(dir, EventHub::default(), options).await.expect("the job table opens")
}

/// A clock that stands still until it is told to go on.
#[derive(Debug)]
pub struct StoppedClock(watch::Sender<i64>);

impl StoppedClock {
    /// Noon of the first day of 1970.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(watch::channel(12 * 60 * 60 * 1000).0))
    }

    /// Moves the hands on.
    pub fn advance_ms(&self, ms: i64) {
        self.0.send_modify(|now| *now += ms);
    }
}

impl Clock for StoppedClock {
    fn now_ms(&self) -> i64 {
        *self.0.borrow()
    }

    fn reached(&self, at_ms: i64) -> BoxFuture<'_, ()> {
        let mut hands = self.0.subscribe();
        Box::pin(async move {
            // The sender lives as long as the clock, so that this ends when the time has come.
            let _ = hands.wait_for(|&now| now >= at_ms).await;
        })
    }
}

/// Waits for an event that `wanted` knows, and gives it.
pub async fn event(
    events: &mut broadcast::Receiver<JobEvent>,
    wanted: impl Fn(&JobEventKind) -> bool,
) -> JobEvent {
    loop {
        let event = events.recv().await.expect("the event stream goes on");
        if wanted(&event.kind) {
            return event;
        }
    }
}

/// Submits a job whose prompt is a few bytes.
pub async fn submit(store: &JobStore) -> JobId {
    try_submit(store).await.expect("the job is accepted")
}

/// Submits a job that may be refused.
pub async fn try_submit(store: &JobStore) -> Result<JobId, JobError> {
    let upload = store.incoming_dir().join("upload");
    tokio::fs::write(&upload, b"not really audio").await.expect("the upload is written");
    let new = NewJob {
        prompt_name: Some("prompt.wav".to_owned()),
        prompt_type: "audio/wav".to_owned(),
        prompt_extension: "wav",
        prompt_ms: Some(1000),
        options: JobOptions::default(),
        idempotency: None,
    };
    store.submit(new, &upload).await
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
