//! The worker: an OS thread that owns the stages and runs what is due.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::{Claim, Job, JobError, JobFolder, JobStore};
use crate::engine::{Control, Progress};
use crate::stage::{
    Artifacts, ErrorCode, Stage, StageContext, StageError, StageKind, StageOutput, Timing,
};
use crate::text::Transcript;

/// After the job table failed, the worker waits this long before it tries again.
const TABLE_RETRY: Duration = Duration::from_secs(1);

/// Whether the worker can take jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Readiness {
    /// Models are being loaded.
    Loading {
        /// The stage that is being loaded.
        stage: Option<StageKind>,
    },
    /// Every stage has loaded.
    Ready,
    /// A stage could not be loaded; jobs will fail there.
    Failed {
        /// The stage that could not be loaded.
        stage: StageKind,
        /// Why, for the person.
        message: String,
    },
}

/// A running worker.
pub struct Worker {
    thread: thread::JoinHandle<()>,
    stopping: Arc<AtomicBool>,
    store: JobStore,
    readiness: watch::Receiver<Readiness>,
}

impl Worker {
    /// Starts the thread. It loads every stage, then runs what is due until it is stopped.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(store: JobStore, stages: Vec<Box<dyn Stage>>) -> Result<Self, JobError> {
        let (sender, readiness) = watch::channel(Readiness::Loading { stage: None });
        let stopping = Arc::new(AtomicBool::new(false));
        let mut work = Work {
            store: store.clone(),
            stages,
            stopping: Arc::clone(&stopping),
            runtime: Handle::current(),
        };
        let thread = thread::Builder::new()
            .name("worker".to_owned())
            .spawn(move || {
                work.load(&sender);
                work.run();
            })
            .map_err(JobError::io("starting the worker"))?;
        Ok(Self { thread, stopping, store, readiness })
    }

    /// Whether jobs can be taken, and every change of it.
    #[must_use]
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.clone()
    }

    /// Lets the running stage finish within `grace`; past that it is stopped, and runs
    /// again at the next start.
    pub async fn stop(self, grace: Duration) {
        self.stopping.store(true, Ordering::SeqCst);
        self.store.wake();
        let events = self.store.events().clone();
        let thread = self.thread;
        let mut ended = tokio::task::spawn_blocking(move || thread.join());
        if tokio::time::timeout(grace, &mut ended).await.is_err() {
            events.cancel_all();
            let _ = ended.await;
        }
    }
}

struct Work {
    store: JobStore,
    stages: Vec<Box<dyn Stage>>,
    stopping: Arc<AtomicBool>,
    runtime: Handle,
}

impl Work {
    fn load(&mut self, readiness: &watch::Sender<Readiness>) {
        for stage in &mut self.stages {
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            let kind = stage.kind();
            readiness.send_replace(Readiness::Loading { stage: Some(kind) });
            let loaded = catch_unwind(AssertUnwindSafe(|| stage.load()))
                .unwrap_or_else(|panic| Err(panicked(kind, panic.as_ref())));
            if let Err(error) = loaded {
                log_failure(kind, &error);
                readiness.send_replace(Readiness::Failed { stage: kind, message: error.message });
                return;
            }
        }
        readiness.send_replace(Readiness::Ready);
    }

    fn run(&mut self) {
        while !self.stopping.load(Ordering::SeqCst) {
            match self.runtime.block_on(self.store.claim()) {
                Ok(Some(claim)) => {
                    if let Err(error) = self.run_claim(&claim) {
                        tracing::error!(job = %claim.job.id, stage = %claim.stage, %error, "the job table failed");
                        thread::sleep(TABLE_RETRY);
                        self.put_back(&claim);
                    }
                }
                Ok(None) => self.runtime.block_on(self.store.wait_due()),
                Err(error) => {
                    tracing::error!(%error, "the job table failed");
                    thread::sleep(TABLE_RETRY);
                }
            }
        }
        // Another worker of the same store must not wait for a wake-up this one has consumed.
        self.store.wake();
    }

    /// Runs one stage of one job and records how it ended.
    fn run_claim(&mut self, claim: &Claim) -> Result<(), JobError> {
        let (id, kind) = (claim.job.id, claim.stage);
        let folder = self.store.folder(id);
        let outcome = self.run_stage(claim, &folder);
        self.store.events().end(id);
        match outcome {
            Ok(mut output) => {
                output.timing.queue_ms = claim.queue_ms;
                match folder.store(kind, &output.artifact) {
                    Ok(stored) => {
                        let recorded = self.store.succeed(id, kind, &stored, &output.timing);
                        if self.runtime.block_on(recorded)? {
                            log_success(&claim.job, kind, &output.timing);
                        } else {
                            super::store::remove_folder(&folder)?;
                        }
                        Ok(())
                    }
                    Err(error) => self.fail(claim, &storage_error(&error)),
                }
            }
            Err(error)
                if error.code == ErrorCode::Canceled && self.stopping.load(Ordering::SeqCst) =>
            {
                self.runtime.block_on(self.store.requeue(id, kind))
            }
            Err(error) => self.fail(claim, &error),
        }
    }

    fn run_stage(&mut self, claim: &Claim, folder: &JobFolder) -> Result<StageOutput, StageError> {
        let (id, kind) = (claim.job.id, claim.stage);
        let events = self.store.events().clone();
        let cancel = events.begin(id, kind);
        let inputs = inputs(&claim.job, folder)?;
        let stage = self.stages.iter_mut().find(|stage| stage.kind() == kind).ok_or_else(|| {
            StageError::internal(format!("{kind} is not served here."), "no such stage")
        })?;
        let progress = move |progress: Progress| events.progress(id, kind, progress);
        let context = StageContext {
            options: &claim.job.options,
            control: Control { cancel: &cancel, progress: &progress },
        };
        catch_unwind(AssertUnwindSafe(|| stage.run(&inputs, &context)))
            .unwrap_or_else(|panic| Err(panicked(kind, panic.as_ref())))
    }

    fn fail(&self, claim: &Claim, error: &StageError) -> Result<(), JobError> {
        if error.code != ErrorCode::Canceled {
            log_failure(claim.stage, error);
        }
        self.runtime.block_on(self.store.fail(claim.job.id, claim.stage, error))
    }

    fn put_back(&self, claim: &Claim) {
        if let Err(error) = self.runtime.block_on(self.store.requeue(claim.job.id, claim.stage)) {
            // Recovery at the next start finds it.
            tracing::error!(job = %claim.job.id, %error, "a stage run could not be queued again");
        }
    }
}

/// What earlier stages of `job` left, read back from disk.
fn inputs(job: &Job, folder: &JobFolder) -> Result<Artifacts, StageError> {
    let read = |kind: StageKind| -> Result<Option<String>, StageError> {
        let Some(artifact) = job.artifact(kind) else { return Ok(None) };
        std::fs::read_to_string(folder.path(&artifact.file)).map(Some).map_err(|error| {
            StageError::internal(format!("The result of {kind} could not be read."), error)
        })
    };
    let transcript = read(StageKind::TranscribeAudio)?
        .map(|json| serde_json::from_str::<Transcript>(&json))
        .transpose()
        .map_err(|error| StageError::internal("The transcript could not be read.", error))?;
    Ok(Artifacts {
        prompt: folder.path(&job.prompt_file),
        transcript,
        text: read(StageKind::GenerateText)?,
        translation: read(StageKind::TranslateText)?,
    })
}

fn storage_error(error: &JobError) -> StageError {
    if error.is_disk_full() {
        StageError {
            code: ErrorCode::DiskFull,
            message: "The disk is full: the result could not be stored.".to_owned(),
            detail: Some(error.to_string()),
        }
    } else {
        StageError::internal("The result could not be stored.", error)
    }
}

fn panicked(kind: StageKind, panic: &(dyn Any + Send)) -> StageError {
    let detail = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown panic".to_owned());
    StageError::internal(format!("{kind} stopped with a fault of this program."), detail)
}

fn log_success(job: &Job, kind: StageKind, timing: &Timing) {
    tracing::info!(
        job = %job.id,
        stage = %kind,
        queue_ms = timing.queue_ms,
        load_ms = timing.load_ms,
        run_ms = timing.run_ms,
        model = timing.model,
        device = timing.device,
        "stage done"
    );
}

fn log_failure(kind: StageKind, error: &StageError) {
    tracing::error!(
        stage = %kind,
        code = error.code.as_str(),
        detail = error.detail.as_deref().unwrap_or_default(),
        "{}",
        error.message
    );
}
