//! A job accepted is never lost and never done twice.

mod support;

use std::fs;
use std::sync::mpsc;
use std::time::Duration;

use mega_pipeline::engine::{Cancel, Progress};
use mega_pipeline::jobs::{EventHub, JobState, JobStore, Recovered, StoreOptions, Workers};
use mega_pipeline::stage::{
    Artifact, Artifacts, ErrorCode, Stage, StageContext, StageError, StageKind, StageOutput,
    Timing, stub,
};
use support::jobs::{ended, get, open, submit};

const GRACE: Duration = Duration::from_secs(10);

/// A stage that does what the test says.
struct Scripted<F>(StageKind, F);

impl<F> Stage for Scripted<F>
where
    F: FnMut(&Artifacts, &StageContext<'_>) -> Result<StageOutput, StageError> + Send,
{
    fn kind(&self) -> StageKind {
        self.0
    }

    fn load(&mut self) -> Result<(), StageError> {
        Ok(())
    }

    fn run(
        &mut self,
        inputs: &Artifacts,
        ctx: &StageContext<'_>,
    ) -> Result<StageOutput, StageError> {
        self.1(inputs, ctx)
    }
}

/// The stub stages, with one of them replaced.
fn with(
    kind: StageKind,
    run: impl FnMut(&Artifacts, &StageContext<'_>) -> Result<StageOutput, StageError> + Send + 'static,
) -> Vec<Box<dyn Stage>> {
    let mut stages = stub::stages();
    stages[kind as usize] = Box::new(Scripted(kind, run));
    stages
}

fn text(text: &str) -> StageOutput {
    StageOutput { artifact: Artifact::Text(text.to_owned()), timing: Timing::default() }
}

/// Stub stages whose `kind` tells that it has begun and goes on once it is let.
fn held(kind: StageKind) -> (Vec<Box<dyn Stage>>, Begun, mpsc::Sender<()>) {
    let (started, begun) = mpsc::channel();
    let (go, wait_go) = mpsc::channel();
    let stages = with(kind, move |_, _| {
        started.send(()).expect("the test waits for it");
        wait_go.recv().expect("the test lets it go on");
        Ok(text("too late"))
    });
    (stages, Begun(begun), go)
}

/// Stub stages whose `kind` tells that it has begun and runs until it is canceled.
fn until_canceled(kind: StageKind) -> (Vec<Box<dyn Stage>>, Begun) {
    let (started, begun) = mpsc::channel();
    let stages = with(kind, move |_, ctx| {
        started.send(()).expect("the test waits for it");
        Err(wait_for_cancel(ctx.control.cancel))
    });
    (stages, Begun(begun))
}

/// That a stage has begun.
struct Begun(mpsc::Receiver<()>);

impl Begun {
    /// Waits for it.
    async fn wait(self) {
        let begun = tokio::task::spawn_blocking(move || self.0.recv()).await;
        begun.expect("no panic").expect("the stage begins");
    }
}

fn wait_for_cancel(cancel: &Cancel) -> StageError {
    while !cancel.is_canceled() {
        std::thread::yield_now();
    }
    StageError::canceled()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_through_the_five_stages_in_order_and_keeps_every_result() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let worker = Workers::start(&store, vec![stub::stages()]).unwrap();
    let id = submit(&store).await;
    let job = ended(&store, id).await;
    worker.stop(GRACE).await;

    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(job.stages.iter().map(|run| run.stage).collect::<Vec<_>>(), StageKind::ALL);
    assert!(job.stages.iter().all(|run| run.attempt == 1 && run.timing.is_some()));
    assert!(job.stages.windows(2).all(|pair| pair[0].finished_ms <= pair[1].started_ms));
    assert_eq!(job.artifacts.len(), 5);
    for artifact in &job.artifacts {
        let size = fs::metadata(store.folder(id).path(&artifact.file)).unwrap().len();
        assert_eq!(size, artifact.size_bytes, "{}", artifact.file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_in_the_order_in_which_they_were_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(submit(&store).await);
    }
    let worker = Workers::start(&store, vec![stub::stages()]).unwrap();
    let mut finished = Vec::new();
    for &id in &ids {
        finished.push(ended(&store, id).await.finished_ms);
    }
    worker.stop(GRACE).await;
    assert!(finished.is_sorted(), "{finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_stage_ends_the_job_with_its_code_and_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let stages = with(StageKind::TranscribeAudio, |_, _| {
        Err(StageError::new(ErrorCode::NoSpeech, "No speech was found."))
    });
    let worker = Workers::start(&store, vec![stages]).unwrap();
    let job = ended(&store, submit(&store).await).await;
    worker.stop(GRACE).await;

    assert_eq!(job.state, JobState::Failed);
    let error = job.error.unwrap();
    assert_eq!(error.stage, StageKind::TranscribeAudio);
    assert_eq!(error.code, ErrorCode::NoSpeech);
    assert_eq!(error.message, "No speech was found.");
    assert_eq!(job.artifacts, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_stage_fails_its_job_and_the_worker_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut first = true;
    let stages = with(StageKind::GenerateText, move |_, _| {
        assert!(!std::mem::take(&mut first), "secret detail");
        Ok(text("second job"))
    });
    let worker = Workers::start(&store, vec![stages]).unwrap();
    let failed = ended(&store, submit(&store).await).await;
    let fine = ended(&store, submit(&store).await).await;
    worker.stop(GRACE).await;

    let error = failed.error.unwrap();
    assert_eq!(error.code, ErrorCode::Internal);
    assert!(!error.message.contains("secret"), "{}", error.message);
    assert_eq!(fine.state, JobState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_is_canceled_inside_its_stage() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let (stages, begun) = until_canceled(StageKind::GenerateText);
    let worker = Workers::start(&store, vec![stages]).unwrap();
    let id = submit(&store).await;
    begun.wait().await;
    assert!(store.cancel(id).await.unwrap());
    let job = ended(&store, id).await;
    worker.stop(GRACE).await;

    assert_eq!(job.state, JobState::Canceled);
    assert_eq!(job.error, None);
    assert_eq!(job.artifacts.len(), 1, "the transcript stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_job_is_canceled_without_a_worker_and_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let id = submit(&store).await;
    assert!(store.cancel(id).await.unwrap());
    assert!(!store.cancel(id).await.unwrap());
    assert_eq!(get(&store, id).await.state, JobState::Canceled);
    assert!(store.claim().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_running_job_leaves_neither_rows_nor_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let (stages, begun, go) = held(StageKind::GenerateText);
    let worker = Workers::start(&store, vec![stages]).unwrap();
    let id = submit(&store).await;
    begun.wait().await;
    assert!(store.delete(id).await.unwrap());
    go.send(()).unwrap();
    worker.stop(GRACE).await;

    assert_eq!(store.get(id).await.unwrap(), None);
    assert!(!store.folder(id).dir().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_outlives_the_grace_period_runs_again_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let id = {
        let store = open(dir.path()).await;
        let (stages, begun) = until_canceled(StageKind::TranslateText);
        let worker = Workers::start(&store, vec![stages]).unwrap();
        let id = submit(&store).await;
        begun.wait().await;
        worker.stop(Duration::ZERO).await;
        assert_eq!(get(&store, id).await.state, JobState::Running);
        id
    };
    let store = open(dir.path()).await;
    let worker = Workers::start(&store, vec![stub::stages()]).unwrap();
    let job = ended(&store, id).await;
    worker.stop(GRACE).await;
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(job.stage(StageKind::TranslateText).unwrap().attempt, 1, "a stop is no failure");
    assert_eq!(job.stage(StageKind::GenerateText).unwrap().attempt, 1, "done is done");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_interrupted_is_queued_again_with_its_attempt_counted() {
    let dir = tempfile::tempdir().unwrap();
    let id = {
        let store = open(dir.path()).await;
        let id = submit(&store).await;
        // The process "dies" between the claim and its end.
        store.claim().await.unwrap().unwrap();
        id
    };
    let store = open(dir.path()).await;
    let recovered = store.recover().await.unwrap();
    assert_eq!(recovered, Recovered { queued_again: 1, ..Recovered::default() });
    let claim = store.claim().await.unwrap().unwrap();
    assert_eq!(claim.job.id, id);
    assert_eq!(claim.job.stage(StageKind::TranscribeAudio).unwrap().attempt, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_takes_the_program_down_five_times_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let id = {
        let store = open(dir.path()).await;
        submit(&store).await
    };
    for _ in 0..5 {
        let store = open(dir.path()).await;
        store.recover().await.unwrap();
        store.claim().await.unwrap().unwrap();
    }
    let store = open(dir.path()).await;
    assert_eq!(store.recover().await.unwrap().given_up, 1);
    let job = get(&store, id).await;
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(job.error.unwrap().code, ErrorCode::Internal);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_whose_file_is_gone_is_made_again_with_all_that_follows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let worker = Workers::start(&store, vec![stub::stages()]).unwrap();
    let id = submit(&store).await;
    ended(&store, id).await;
    worker.stop(GRACE).await;
    fs::remove_file(store.folder(id).path("generate_text.v1.txt")).unwrap();

    assert_eq!(store.recover().await.unwrap().run_again, 1);
    let worker = Workers::start(&store, vec![stub::stages()]).unwrap();
    let job = ended(&store, id).await;
    worker.stop(GRACE).await;
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(job.artifacts.len(), 5);
    assert!(store.folder(id).path("generate_text.v1.txt").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_without_a_row_are_removed_and_foreign_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let id = submit(&store).await;
    let folder = store.folder(id);
    fs::write(folder.path("generate_text.v1.txt"), "never recorded").unwrap();
    fs::write(folder.path("generate_text.v1.txt.tmp"), "half").unwrap();
    fs::write(folder.path("notes.txt"), "somebody's own").unwrap();
    fs::write(store.incoming_dir().join("abandoned"), "upload").unwrap();
    let orphan = store.folder(mega_pipeline::jobs::JobId::new());
    fs::create_dir(orphan.dir()).unwrap();
    // A deletion that a crash interrupted.
    let going = orphan.dir().with_extension("deleted");
    fs::create_dir(&going).unwrap();
    fs::write(going.join("prompt.wav"), "sound").unwrap();

    assert_eq!(store.recover().await.unwrap().removed, 5);
    assert!(folder.path("notes.txt").is_file());
    assert!(folder.path("prompt.wav").is_file());
    assert!(!folder.path("generate_text.v1.txt").exists());
    assert!(!orphan.dir().exists() && !going.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_put_into_a_folder_meanwhile_do_not_keep_its_job_from_being_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for _ in 0..50 {
        let id = submit(&store).await;
        let folder = store.folder(id);
        let busy = std::thread::spawn(move || {
            let mut number = 0;
            while fs::write(folder.path(&format!("{number}.wav")), "sound").is_ok() {
                number += 1;
            }
        });
        assert!(store.delete(id).await.unwrap());
        busy.join().unwrap();
    }
    assert_eq!(fs::read_dir(dir.path().join("jobs")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(dir.path()).await;
    let error = JobStore::open(dir.path(), EventHub::default(), StoreOptions::default())
        .await
        .expect_err("the folder is taken");
    assert!(error.to_string().contains("in use by another mega-pipeline"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("data")).await;
    let id = submit(&store).await;
    for folder in [store.folder(id).dir(), store.incoming_dir(), &dir.path().join("data")] {
        let mode = fs::metadata(folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", folder.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_opened_in_the_middle_of_a_job_can_show_what_was_made_so_far() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let (said, wait_said) = mpsc::channel();
    let (go, wait_go) = mpsc::channel::<()>();
    let stages = with(StageKind::GenerateText, move |_, ctx| {
        ctx.control.say("half a ");
        ctx.control.say("sentence");
        ctx.control.report(2, 4);
        said.send(()).unwrap();
        wait_go.recv().unwrap();
        Ok(text("half a sentence more"))
    });
    let worker = Workers::start(&store, vec![stages]).unwrap();
    let mut events = store.events().subscribe();
    let id = submit(&store).await;
    tokio::task::spawn_blocking(move || wait_said.recv()).await.unwrap().unwrap();
    let live = store.events().live(id).unwrap();
    assert_eq!(live.stage, StageKind::GenerateText);
    assert_eq!(live.text, "half a sentence");
    assert_eq!(live.fraction, Some((2, 4)));
    go.send(()).unwrap();
    ended(&store, id).await;
    worker.stop(GRACE).await;

    assert_eq!(store.events().live(id), None);
    let mut heard = String::new();
    while let Ok(event) = events.try_recv() {
        if let mega_pipeline::jobs::JobEventKind::Progress {
            stage: StageKind::GenerateText,
            progress: Progress::Text { delta },
            ..
        } = event.kind
        {
            heard += &delta;
        }
    }
    assert_eq!(heard, "half a sentence");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_was_changed_on_disk_is_found_by_its_hash_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let workers = Workers::start(&store, vec![stub::stages()]).unwrap();
    let id = submit(&store).await;
    let before = ended(&store, id).await;
    let path = store.folder(id).path("translate_text.v1.txt");
    let good = fs::read(&path).unwrap();
    fs::write(&path, vec![b'x'; good.len()]).unwrap();

    assert_eq!(store.verify_history().await.unwrap(), 1);
    let after = ended(&store, id).await;
    workers.stop(GRACE).await;
    assert_eq!(fs::read(&path).unwrap(), good);
    assert_eq!(after.artifacts, before.artifacts);
    let attempts = |stage| after.stage(stage).unwrap().finished_ms;
    assert_eq!(
        attempts(StageKind::GenerateText),
        before.stage(StageKind::GenerateText).unwrap().finished_ms,
        "what was whole is not made again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_share_the_jobs_and_every_stage_runs_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let runs = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let set = || {
        let runs = std::sync::Arc::clone(&runs);
        with(StageKind::GenerateText, move |_, _| {
            runs.lock().unwrap().push(std::thread::current().name().unwrap().to_owned());
            Ok(text("done"))
        })
    };
    let workers = Workers::start(&store, vec![set(), set(), set()]).unwrap();
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(submit(&store).await);
    }
    for id in ids {
        let job = ended(&store, id).await;
        assert_eq!(job.state, JobState::Succeeded);
        assert!(job.stages.iter().all(|run| run.attempt == 1));
    }
    workers.stop(GRACE).await;
    assert_eq!(runs.lock().unwrap().len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_counts_at_once_and_what_the_stage_still_makes_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let (stages, begun, go) = held(StageKind::GenerateText);
    let workers = Workers::start(&store, vec![stages]).unwrap();
    let id = submit(&store).await;
    begun.wait().await;
    assert!(store.cancel(id).await.unwrap());
    assert_eq!(get(&store, id).await.state, JobState::Canceled, "the stage still runs");
    assert!(!store.cancel(id).await.unwrap(), "it is canceled already");
    let error = store.retry(id).await.unwrap_err();
    assert!(matches!(error, mega_pipeline::jobs::JobError::NotNow(_)), "{error}");
    go.send(()).unwrap();
    workers.stop(GRACE).await;

    let job = get(&store, id).await;
    assert_eq!((job.state, job.artifacts.len()), (JobState::Canceled, 1));
    assert!(!store.folder(id).path("generate_text.v1.txt").exists());
    assert!(store.retry(id).await.unwrap(), "nobody is at it any more");
}
