//! The workers: OS threads, each of which owns its stages and runs what is due.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::fault::{self, Point};
use super::readiness::Board;
use super::{Claim, Job, JobError, JobFolder, JobStore, Readiness, StoredArtifact};
use crate::engine::{Control, Progress};
use crate::stage::{
    Artifact, Artifacts, ErrorCode, Stage, StageContext, StageError, StageKind, StageOutput, Timing,
};
use crate::text::Transcript;

/// After the job table failed, a worker waits this long before it tries again.
const TABLE_RETRY: Duration = Duration::from_secs(1);
/// How often a worker looks whether there is room on the disk again.
const ROOM_CHECK_MS: i64 = 5_000;
/// The wait before a second attempt; it doubles with every further one.
const FIRST_BACK_OFF_MS: i64 = 2_000;
/// The longest wait before another attempt.
const LONGEST_BACK_OFF_MS: i64 = 300_000;

/// The five stages of one worker. A worker that has fewer loads them and runs no jobs: they are for
/// requests without one.
pub type StageSet = Vec<Box<dyn Stage>>;

/// Running workers.
pub struct Workers {
    threads: Vec<thread::JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
    store: JobStore,
    readiness: watch::Receiver<Readiness>,
}

impl Workers {
    /// Starts a thread for each set of stages. It loads every stage, then runs what is
    /// due until it is stopped. A stage run belongs to one worker.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(store: &JobStore, sets: Vec<StageSet>) -> Result<Self, JobError> {
        let board = Board::new(sets.len());
        let stopping = Arc::new(AtomicBool::new(false));
        let readiness = board.subscribe();
        let mut threads = Vec::with_capacity(sets.len());
        for (number, stages) in sets.into_iter().enumerate() {
            let mut work = Work {
                number,
                store: store.clone(),
                stages,
                board: Arc::clone(&board),
                stopping: Arc::clone(&stopping),
                runtime: Handle::current(),
            };
            let thread = thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || work.run())
                .map_err(JobError::io("starting a worker"))?;
            threads.push(thread);
        }
        Ok(Self { threads, stopping, store: store.clone(), readiness })
    }

    /// Whether jobs can be taken, and every change of it.
    #[must_use]
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.clone()
    }

    /// Lets the running stages finish within `grace`; past that they are stopped, and run
    /// again at the next start.
    pub async fn stop(self, grace: Duration) {
        self.stopping.store(true, Ordering::SeqCst);
        self.store.wake();
        let events = self.store.events().clone();
        let threads = self.threads;
        let mut ended = tokio::task::spawn_blocking(move || {
            // A worker that panicked has ended too, and its stage runs again at the next start.
            for thread in threads {
                drop(thread.join());
            }
        });
        if tokio::time::timeout(grace, &mut ended).await.is_err() {
            events.cancel_all();
            let _ = ended.await;
        }
    }
}

struct Work {
    number: usize,
    store: JobStore,
    stages: StageSet,
    board: Arc<Board>,
    stopping: Arc<AtomicBool>,
    runtime: Handle,
}

impl Work {
    fn run(&mut self) {
        let loaded = self.load();
        self.board.tell(self.number, loaded.clone());
        if self.stages.len() < StageKind::ALL.len() {
            return;
        }
        let mut next = None;
        while !self.is_stopping() {
            let Some(claim) = next.take().or_else(|| self.take_on(&loaded)) else { continue };
            next = self.run_claim(&claim).unwrap_or_else(|error| {
                tracing::error!(job = %claim.run.id, stage = %claim.run.stage, %error, "the job table failed");
                thread::sleep(TABLE_RETRY);
                self.put_back(&claim);
                None
            });
        }
        if let Some(claim) = next {
            self.put_back(&claim);
        }
        // Another worker of the same store must not wait for a wake-up this one has consumed.
        self.store.wake();
    }

    /// The stage run whose turn it is; waits where there is none.
    fn take_on(&self, loaded: &Readiness) -> Option<Claim> {
        if let Err(error) = self.store.check_disk() {
            self.pause(&error);
            return None;
        }
        self.board.tell(self.number, loaded.clone());
        match self.runtime.block_on(self.store.claim()) {
            Ok(Some(claim)) => return Some(claim),
            Ok(None) => self.runtime.block_on(self.wait()),
            Err(error) => Self::wait_for_table(&error),
        }
        None
    }

    fn wait_for_table(error: &JobError) {
        tracing::error!(%error, "the job table failed");
        thread::sleep(TABLE_RETRY);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn load(&mut self) -> Readiness {
        for stage in &mut self.stages {
            if self.stopping.load(Ordering::SeqCst) {
                break;
            }
            let kind = stage.kind();
            self.board.tell(self.number, Readiness::Loading { stage: Some(kind) });
            let loaded = catch_unwind(AssertUnwindSafe(|| stage.load()))
                .unwrap_or_else(|panic| Err(panicked(kind, panic.as_ref())));
            if let Err(error) = loaded {
                log_failure(kind, &error);
                return Readiness::Failed { stage: kind, message: error.message };
            }
        }
        Readiness::Ready
    }

    /// Waits until there may be something to do.
    async fn wait(&self) {
        match self.store.next_due_ms().await {
            Ok(due_ms) => self.store.wait_due(due_ms).await,
            Err(error) => Self::wait_for_table(&error),
        }
    }

    /// Waits until there may be room on the disk again. Nothing is begun meanwhile.
    fn pause(&self, error: &JobError) {
        let message = format!("Jobs wait until there is room on the disk: {error}.");
        tracing::warn!("{message}");
        self.board.tell(self.number, Readiness::Paused { message });
        let at_ms = self.store.clock().now_ms() + ROOM_CHECK_MS;
        self.runtime.block_on(self.store.wait_due(Some(at_ms)));
    }

    /// Runs one stage of one job and records how it ended; returns the run that was taken on
    /// with the record.
    fn run_claim(&mut self, claim: &Claim) -> Result<Option<Claim>, JobError> {
        let run = claim.run;
        let folder = self.store.folder(run.id);
        let outcome = self.run_stage(claim, &folder);
        self.store.events().end(run.id);
        let recorded = self.record(claim, &folder, outcome);
        self.store.events().release(run.id);
        recorded
    }

    fn record(
        &self,
        claim: &Claim,
        folder: &JobFolder,
        outcome: Result<StageOutput, StageError>,
    ) -> Result<Option<Claim>, JobError> {
        let run = claim.run;
        match outcome {
            Ok(mut output) => {
                output.timing.queue_ms = claim.queue_ms;
                if self.store.logs_content() {
                    log_content(&claim.job, run.stage, &output.artifact);
                }
                fault::reach(Point::StageDone).map_err(JobError::io("ending a stage"))?;
                match folder.store(run.stage, run.version, &output.artifact) {
                    Ok(stored) => return self.succeed(claim, folder, &stored, &output.timing),
                    Err(error) => self.fail(claim, &storage_error(&error))?,
                }
            }
            Err(error) if error.code == ErrorCode::Canceled && self.is_stopping() => {
                self.runtime.block_on(self.store.put_back(claim.run))?;
            }
            Err(error) => self.fail(claim, &error)?,
        }
        Ok(None)
    }

    fn succeed(
        &self,
        claim: &Claim,
        folder: &JobFolder,
        stored: &StoredArtifact,
        timing: &Timing,
    ) -> Result<Option<Claim>, JobError> {
        let go_on = !self.is_stopping() && self.store.check_disk().is_ok();
        let (recorded, next) = self.runtime.block_on(async {
            if go_on {
                self.store.succeed_and_claim(claim.run, stored, timing).await
            } else {
                Ok((self.store.succeed(claim.run, stored, timing).await?, Ok(None)))
            }
        })?;
        if recorded {
            log_success(&claim.job, claim.run.stage, timing);
            self.store.metrics().stage_done(claim.run.stage, timing);
        } else if let Err(error) = self.drop_late(claim, folder, stored) {
            // It has no row, so the next start removes it.
            tracing::warn!(job = %claim.run.id, %error, "a late result could not be removed");
        }
        Ok(next.unwrap_or_else(|error| {
            Self::wait_for_table(&error);
            None
        }))
    }

    /// Removes a result that came after its job was canceled or deleted.
    fn drop_late(
        &self,
        claim: &Claim,
        folder: &JobFolder,
        stored: &StoredArtifact,
    ) -> Result<(), JobError> {
        if self.runtime.block_on(self.store.get(claim.run.id))?.is_none() {
            return super::store::remove_folder(folder);
        }
        let path = folder.path(&stored.file);
        std::fs::remove_file(&path).map_err(JobError::io(format!("removing {}", path.display())))
    }

    fn run_stage(&mut self, claim: &Claim, folder: &JobFolder) -> Result<StageOutput, StageError> {
        let (id, kind) = (claim.run.id, claim.run.stage);
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

    /// Records a failure: another attempt later where that can help, the end of the job otherwise.
    fn fail(&self, claim: &Claim, error: &StageError) -> Result<(), JobError> {
        if error.code != ErrorCode::Canceled {
            log_failure(claim.run.stage, error);
            self.store.metrics().stage_failed(claim.run.stage, error.code);
        }
        if error.is_retriable() && claim.attempt < self.store.max_attempts() {
            let due_ms = self.store.clock().now_ms() + back_off_ms(claim.attempt);
            return self.runtime.block_on(self.store.try_again_at(claim.run, error, due_ms));
        }
        self.runtime.block_on(self.store.fail(claim.run, error))
    }

    fn put_back(&self, claim: &Claim) {
        if let Err(error) = self.runtime.block_on(self.store.put_back(claim.run)) {
            // Recovery at the next start finds it.
            tracing::error!(job = %claim.run.id, %error, "a stage run could not be queued again");
        }
    }
}

/// How long to wait after attempt number `attempt` failed.
fn back_off_ms(attempt: u32) -> i64 {
    let doubled = FIRST_BACK_OFF_MS.saturating_mul(1 << attempt.saturating_sub(1).min(20));
    doubled.min(LONGEST_BACK_OFF_MS)
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

/// Only where the configuration asks for it: these are somebody's own words.
fn log_content(job: &Job, kind: StageKind, artifact: &Artifact) {
    let text = match artifact {
        Artifact::Transcript(transcript) => &transcript.text,
        Artifact::Text(text) => text,
        Artifact::Audio(_) => return,
    };
    tracing::info!(job = %job.id, stage = %kind, text, "stage content");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_before_another_attempt_doubles_up_to_five_minutes() {
        let waits: Vec<i64> = [1, 2, 3, 4, 30].into_iter().map(back_off_ms).collect();
        assert_eq!(waits, [2_000, 4_000, 8_000, 16_000, 300_000]);
    }
}
