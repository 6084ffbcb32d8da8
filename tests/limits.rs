//! The queue, the disk and the history have limits, and a failure that may pass is tried again.

mod support;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mega_pipeline::jobs::{
    JobError, JobEventKind, JobState, JobStore, Readiness, Retention, StoreOptions, Workers,
};
use mega_pipeline::stage::{ErrorCode, Stage, StageError, StageKind, stub};
use support::drive;
use support::jobs::{StoppedClock, ended, event, get, open_with, submit, try_submit};
use support::snapshot::snapshot;

const GRACE: Duration = Duration::from_secs(10);
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn options(clock: &Arc<StoppedClock>) -> StoreOptions {
    let clock: Arc<StoppedClock> = Arc::clone(clock);
    StoreOptions { clock, ..StoreOptions::default() }
}

async fn refusal(store: &JobStore) -> JobError {
    try_submit(store).await.expect_err("it is refused")
}

/// Stub stages whose transcription fails as often as it is told, then works.
fn failing(code: ErrorCode, mut times: u32) -> Vec<Box<dyn Stage>> {
    struct Failing<F>(Box<dyn Stage>, F);
    impl<F: FnMut() -> Option<StageError> + Send> Stage for Failing<F> {
        fn kind(&self) -> StageKind {
            self.0.kind()
        }
        fn load(&mut self) -> Result<(), StageError> {
            self.0.load()
        }
        fn run(
            &mut self,
            inputs: &mega_pipeline::stage::Artifacts,
            ctx: &mega_pipeline::stage::StageContext<'_>,
        ) -> Result<mega_pipeline::stage::StageOutput, StageError> {
            (self.1)().map_or_else(|| self.0.run(inputs, ctx), Err)
        }
    }
    let mut stages = stub::stages();
    let real = stages.remove(0);
    let fail = move || {
        let fails = times > 0;
        times = times.saturating_sub(1);
        fails.then(|| StageError::new(code, "Not now."))
    };
    stages.insert(0, Box::new(Failing(real, fail)));
    stages
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_may_pass_is_tried_again_after_two_and_four_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let clock = StoppedClock::new();
    let store = open_with(dir.path(), options(&clock)).await;
    let mut events = store.events().subscribe();
    let again =
        |kind: &JobEventKind| matches!(kind, JobEventKind::Stage { state: JobState::Queued, .. });
    let workers = Workers::start(&store, vec![failing(ErrorCode::RemoteUnreachable, 2)]).unwrap();
    let id = submit(&store).await;
    event(&mut events, again).await;
    let waiting = get(&store, id).await;
    let run = waiting.stage(StageKind::TranscribeAudio).unwrap();
    assert_eq!(run.error.as_ref().unwrap().code, ErrorCode::RemoteUnreachable);
    assert_eq!(run.due_ms, waiting.created_ms + 2_000);
    clock.advance_ms(2_000);
    event(&mut events, again).await;
    let run = get(&store, id).await.stage(StageKind::TranscribeAudio).unwrap().clone();
    assert_eq!(run.due_ms, waiting.created_ms + 2_000 + 4_000);
    clock.advance_ms(4_000);
    let job = ended(&store, id).await;
    workers.stop(GRACE).await;
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(job.stage(StageKind::TranscribeAudio).unwrap().attempt, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_last_attempt_the_failure_is_final() {
    let dir = tempfile::tempdir().unwrap();
    let clock = StoppedClock::new();
    let store = open_with(dir.path(), StoreOptions { max_attempts: 1, ..options(&clock) }).await;
    let workers = Workers::start(&store, vec![failing(ErrorCode::DiskFull, 1)]).unwrap();
    let job = ended(&store, submit(&store).await).await;
    workers.stop(GRACE).await;
    assert_eq!(job.error.unwrap().code, ErrorCode::DiskFull);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_stays_is_not_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), StoreOptions::default()).await;
    let workers = Workers::start(&store, vec![failing(ErrorCode::NoSpeech, 1)]).unwrap();
    let job = ended(&store, submit(&store).await).await;
    workers.stop(GRACE).await;
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(job.stage(StageKind::TranscribeAudio).unwrap().attempt, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_takes_jobs_again_once_one_has_begun() {
    let dir = tempfile::tempdir().unwrap();
    let store =
        open_with(dir.path(), StoreOptions { max_queued: 2, ..StoreOptions::default() }).await;
    submit(&store).await;
    submit(&store).await;
    let before = snapshot(&store).await;
    assert!(matches!(refusal(&store).await, JobError::QueueFull { max_queued: 2 }));
    assert_eq!(snapshot(&store).await, before, "nothing is changed");
    assert_eq!(std::fs::read_dir(dir.path().join("jobs")).unwrap().count(), 2);
    store.claim().await.unwrap().unwrap();
    submit(&store).await;
}

/// What the tests of this file that ask for it believe to be free.
static FREE_BYTES: AtomicU64 = AtomicU64::new(u64::MAX);

#[expect(clippy::unnecessary_wraps, reason = "a real disk can fail to tell")]
fn pretended(_: &Path) -> io::Result<u64> {
    Ok(FREE_BYTES.load(Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread")]
async fn with_too_little_disk_nothing_is_taken_or_begun_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let clock = StoppedClock::new();
    let limits = StoreOptions { min_free_bytes: 1000, free_space: pretended, ..options(&clock) };
    let store = open_with(dir.path(), limits).await;
    let id = submit(&store).await;
    FREE_BYTES.store(999, Ordering::SeqCst);
    assert!(matches!(refusal(&store).await, JobError::LowDisk { free_bytes: 999, .. }));
    let workers = Workers::start(&store, vec![stub::stages()]).unwrap();
    let mut readiness = workers.readiness();
    readiness.wait_for(|it| matches!(it, Readiness::Paused { .. })).await.unwrap();
    assert_eq!(get(&store, id).await.state, JobState::Queued);

    FREE_BYTES.store(u64::MAX, Ordering::SeqCst);
    clock.advance_ms(5_000);
    assert_eq!(ended(&store, id).await.state, JobState::Succeeded);
    readiness.wait_for(|it| *it == Readiness::Ready).await.unwrap();
    workers.stop(GRACE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_kept_by_age_number_and_size_and_what_runs_is_never_touched() {
    let dir = tempfile::tempdir().unwrap();
    let clock = StoppedClock::new();
    let store = open_with(dir.path(), options(&clock)).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let id = submit(&store).await;
        drive::succeed_all(&store, id).await;
        ids.push(id);
        clock.advance_ms(DAY_MS);
    }
    let running = submit(&store).await;
    drive::start(&store, running, StageKind::TranscribeAudio).await;
    let left = async || {
        let jobs = store.list(None, 100).await.unwrap();
        jobs.iter().map(|job| job.id).rev().collect::<Vec<_>>()
    };

    assert_eq!(store.apply(&Retention::default()).await.unwrap(), 0, "no limit, nothing goes");
    let days = Retention { days: 3, ..Retention::default() };
    assert_eq!(store.apply(&days).await.unwrap(), 1);
    assert_eq!(left().await, [ids[1], ids[2], ids[3], running]);
    let number = Retention { max_jobs: 3, ..Retention::default() };
    assert_eq!(store.apply(&number).await.unwrap(), 1);
    assert_eq!(left().await, [ids[2], ids[3], running]);
    assert!(!store.folder(ids[1]).dir().exists());
    // A job of `drive` takes 32 kB of speech and a little text.
    let size = Retention { max_bytes: 50_000, ..Retention::default() };
    assert_eq!(store.apply(&size).await.unwrap(), 1);
    assert_eq!(left().await, [ids[3], running]);
    let nothing = Retention { days: 1, max_jobs: 1, max_bytes: 1 };
    clock.advance_ms(100 * DAY_MS);
    assert_eq!(store.apply(&nothing).await.unwrap(), 1);
    assert_eq!(left().await, [running], "it runs");
}
