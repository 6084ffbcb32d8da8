//! What happens to jobs, as it happens: for the live page and the event stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::broadcast;

use super::{JobId, JobState};
use crate::engine::{Cancel, Progress};
use crate::stage::StageKind;

/// Events that a slow listener may fall behind before it misses some.
const BACKLOG: usize = 1024;

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobEvent {
    /// The job.
    pub job: JobId,
    /// What happened.
    #[serde(flatten)]
    pub kind: JobEventKind,
}

/// What happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JobEventKind {
    /// The job is in a new state.
    Job {
        /// The new state.
        state: JobState,
    },
    /// A stage of the job is in a new state.
    Stage {
        /// Which stage.
        stage: StageKind,
        /// The new state.
        state: JobState,
    },
    /// A running stage has come further.
    Progress {
        /// Which stage.
        stage: StageKind,
        /// How far, or what text is new.
        progress: Progress,
        /// Characters of the stage's text that came before this event, so that
        /// a listener who joins late can tell what it has from what it misses.
        offset: u64,
    },
    /// The job and its files are gone.
    Deleted,
}

/// How far the running stage of a job has come: for a page opened in the middle of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LiveProgress {
    /// The running stage.
    pub stage: StageKind,
    /// Units done and in all.
    pub fraction: Option<(u64, u64)>,
    /// Text made so far.
    pub text: String,
}

#[derive(Debug, Default)]
struct Live {
    progress: HashMap<JobId, LiveProgress>,
    cancels: HashMap<JobId, Cancel>,
}

/// Spreads events and knows what is running. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventHub {
    sender: broadcast::Sender<JobEvent>,
    live: Arc<Mutex<Live>>,
}

impl Default for EventHub {
    fn default() -> Self {
        Self { sender: broadcast::channel(BACKLOG).0, live: Arc::default() }
    }
}

impl EventHub {
    /// Every event from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<JobEvent> {
        self.sender.subscribe()
    }

    /// How far the running stage of `job` has come.
    #[must_use]
    pub fn live(&self, job: JobId) -> Option<LiveProgress> {
        self.lock().progress.get(&job).cloned()
    }

    /// Tells all listeners. Nobody listening is fine.
    pub(super) fn send(&self, job: JobId, kind: JobEventKind) {
        let _ = self.sender.send(JobEvent { job, kind });
    }

    /// A stage of `job` begins; the returned flag stops it.
    pub(super) fn begin(&self, job: JobId, stage: StageKind) -> Cancel {
        let cancel = Cancel::default();
        let mut live = self.lock();
        live.cancels.insert(job, cancel.clone());
        live.progress.insert(job, LiveProgress { stage, fraction: None, text: String::new() });
        cancel
    }

    /// The running stage of `job` tells of its progress.
    pub(super) fn progress(&self, job: JobId, stage: StageKind, progress: Progress) {
        let mut offset = 0;
        if let Some(live) = self.lock().progress.get_mut(&job) {
            offset = live.text.chars().count() as u64;
            match &progress {
                Progress::Fraction { done, total } => live.fraction = Some((*done, *total)),
                Progress::Text { delta } => live.text.push_str(delta),
            }
        }
        self.send(job, JobEventKind::Progress { stage, progress, offset });
    }

    /// The running stage of `job` has ended; how it ended has yet to be recorded.
    pub(super) fn end(&self, job: JobId) {
        self.lock().progress.remove(&job);
    }

    /// The worker is through with `job`: whatever it had to record is recorded.
    pub(super) fn release(&self, job: JobId) {
        self.lock().cancels.remove(&job);
    }

    /// Whether a worker is at `job`, if only to end it.
    pub(super) fn is_held(&self, job: JobId) -> bool {
        self.lock().cancels.contains_key(&job)
    }

    /// Asks the running stage of `job`, if there is one, to stop.
    pub(super) fn cancel(&self, job: JobId) -> bool {
        self.lock().cancels.get(&job).inspect(|cancel| cancel.cancel()).is_some()
    }

    /// Asks every running stage to stop.
    pub(super) fn cancel_all(&self) {
        self.lock().cancels.values().for_each(Cancel::cancel);
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        // The maps stay consistent even if a holder panicked between two inserts.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
