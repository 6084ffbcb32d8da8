//! A job can be gone on with, run again with other options, and keeps what it had.

mod support;

use std::time::Duration;

use mega_pipeline::jobs::{Job, JobError, JobId, JobState, JobStore, StoreOptions, Workers};
use mega_pipeline::stage::{JobOptions, StageKind, stub};
use support::drive;
use support::jobs::{StoppedClock, ended, get, open, open_with, submit};
use support::snapshot::snapshot;

const GRACE: Duration = Duration::from_secs(10);

fn portuguese() -> JobOptions {
    JobOptions { target: "pt".to_owned(), ..JobOptions::default() }
}

/// Runs everything that is due.
async fn run(store: &JobStore, id: JobId) -> Job {
    let workers = Workers::start(store, vec![stub::stages()]).expect("a thread");
    let job = ended(store, id).await;
    workers.stop(GRACE).await;
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_holds_exactly_this_after_each_step_of_a_job() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let id = submit(&store).await;
    assert_eq!(
        snapshot(&store).await,
        "job 1 v1 queued\n  prompt.wav 16 bytes\n  v1 from transcribe_audio to fr\n  \
         transcribe_audio v1 queued attempt 0\n"
    );
    drive::succeed(&store, id, StageKind::TranscribeAudio).await;
    let transcript = "  transcribe_audio.v1.json application/json 212 bytes\n";
    assert_eq!(
        snapshot(&store).await,
        format!(
            "job 1 v1 running started\n  prompt.wav 16 bytes\n  v1 from transcribe_audio to fr\n  \
             transcribe_audio v1 succeeded attempt 1 timed\n  \
             generate_text v1 queued attempt 0\n{transcript}"
        )
    );
    drive::fail(&store, id, StageKind::GenerateText, "No.").await;
    assert_eq!(
        snapshot(&store).await,
        format!(
            "job 1 v1 failed started finished\n  prompt.wav 16 bytes\n  \
             failed at generate_text: no_speech\n  v1 from transcribe_audio to fr\n  \
             transcribe_audio v1 succeeded attempt 1 timed\n  \
             generate_text v1 failed attempt 1\n{transcript}"
        )
    );
    assert!(store.retry(id).await.unwrap());
    assert_eq!(
        snapshot(&store).await,
        format!(
            "job 1 v1 queued\n  prompt.wav 16 bytes\n  v1 from transcribe_audio to fr\n  \
             transcribe_audio v1 succeeded attempt 1 timed\n  \
             generate_text v1 queued attempt 0\n{transcript}"
        )
    );
    for stage in &StageKind::ALL[1..] {
        drive::succeed(&store, id, *stage).await;
    }
    assert!(store.run_from(id, StageKind::SynthesisAudio, portuguese()).await.unwrap());
    drive::succeed(&store, id, StageKind::SynthesisAudio).await;
    assert_eq!(
        snapshot(&store).await,
        format!(
            "job 1 v2 succeeded started finished\n  prompt.wav 16 bytes\n  \
             v1 from transcribe_audio to fr\n  v2 from synthesis_audio to pt\n  \
             transcribe_audio v1 succeeded attempt 1 timed\n  \
             generate_text v1 succeeded attempt 1 timed\n  \
             synthesis_audio_en v1 succeeded attempt 1 timed\n  \
             translate_text v1 succeeded attempt 1 timed\n  \
             synthesis_audio v2 succeeded attempt 1 timed\n{transcript}  \
             generate_text.v1.txt text/plain; charset=utf-8 26 bytes\n  \
             synthesis_audio_en.v1.wav audio/wav 16044 bytes 500 ms\n  \
             translate_text.v1.txt text/plain; charset=utf-8 20 bytes\n  \
             synthesis_audio.v2.wav audio/wav 16044 bytes 500 ms\n"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn running_again_from_a_stage_keeps_what_came_before_and_the_old_version() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let id = submit(&store).await;
    let first = run(&store, id).await;
    assert!(store.run_from(id, StageKind::TranslateText, portuguese()).await.unwrap());
    let second = run(&store, id).await;

    assert_eq!(second.state, JobState::Succeeded);
    assert_eq!(second.options.target, "pt");
    for kept in [StageKind::TranscribeAudio, StageKind::GenerateText, StageKind::SynthesisAudioEn] {
        assert_eq!(second.stage(kept), first.stage(kept), "{kept} did not run again");
    }
    let text = |job: &Job| {
        let file = &job.artifact(StageKind::TranslateText).unwrap().file;
        std::fs::read_to_string(store.folder(id).path(file)).unwrap()
    };
    assert!(text(&second).starts_with("[pt]"), "{}", text(&second));

    let old = store.get_version(id, 1).await.unwrap().unwrap();
    assert_eq!(old.artifacts, first.artifacts);
    assert_eq!(old.options, first.options);
    assert!(text(&old).starts_with("[fr]"));
    assert_eq!(store.get_version(id, 3).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_version_leaves_the_newest_whole_and_no_files_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let id = submit(&store).await;
    run(&store, id).await;
    store.run_from(id, StageKind::TranslateText, portuguese()).await.unwrap();
    let newest = run(&store, id).await;
    assert!(matches!(store.delete_version(id, 2).await, Err(JobError::NotNow(_))));
    assert!(!store.delete_version(id, 7).await.unwrap());

    assert!(store.delete_version(id, 1).await.unwrap());
    let left = get(&store, id).await;
    let files = |job: &Job| job.artifacts.iter().map(|it| it.file.clone()).collect::<Vec<_>>();
    assert_eq!(files(&left), files(&newest));
    assert_eq!(left.versions.len(), 1);
    let on_disk = std::fs::read_dir(store.folder(id).dir()).unwrap().count();
    assert_eq!(on_disk, 6, "the prompt and five results");
    assert_eq!(store.recover().await.unwrap(), mega_pipeline::jobs::Recovered::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_ended_or_has_no_input_is_not_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let id = submit(&store).await;
    let again = |from| store.run_from(id, from, JobOptions::default());
    assert!(matches!(again(StageKind::GenerateText).await, Err(JobError::NotNow(_))));
    assert!(matches!(store.retry(id).await, Err(JobError::NotNow(_))));

    store.cancel(id).await.unwrap();
    let error = again(StageKind::GenerateText).await.unwrap_err().to_string();
    assert!(error.contains("transcribe_audio"), "{error}");
    assert!(again(StageKind::TranscribeAudio).await.unwrap());
    assert!(!store.retry(JobId::new()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_run_again_takes_its_place_behind_those_that_wait_even_if_no_time_has_passed() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { clock: StoppedClock::new(), ..StoreOptions::default() };
    let store = open_with(dir.path(), options).await;
    let old = submit(&store).await;
    run(&store, old).await;
    let waiting = submit(&store).await;
    store.run_from(old, StageKind::TranscribeAudio, portuguese()).await.unwrap();
    assert_eq!(store.claim().await.unwrap().unwrap().run.id, waiting);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_result_that_a_newer_version_took_over_is_made_for_that_version() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let id = submit(&store).await;
    run(&store, id).await;
    store.run_from(id, StageKind::TranslateText, portuguese()).await.unwrap();
    run(&store, id).await;
    std::fs::remove_file(store.folder(id).path("generate_text.v1.txt")).unwrap();

    assert_eq!(store.recover().await.unwrap().run_again, 1);
    let job = run(&store, id).await;
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(job.artifact(StageKind::GenerateText).unwrap().file, "generate_text.v2.txt");
    assert_eq!(store.recover().await.unwrap().run_again, 0, "the loss is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_table_of_the_first_version_is_brought_up_to_date_with_all_its_jobs() {
    use sqlx::{ConnectOptions, Connection};
    let dir = tempfile::tempdir().unwrap();
    let id = JobId::new();
    let mut table = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(dir.path().join("jobs.sqlite3"))
        .create_if_missing(true)
        .connect()
        .await
        .unwrap();
    let first = sqlx::migrate::Migration::new(
        1,
        "jobs".into(),
        sqlx::migrate::MigrationType::Simple,
        sqlx::SqlStr::from_static(include_str!("../migrations/0001_jobs.sql")),
        false,
    );
    let old = sqlx::migrate::Migrator {
        migrations: vec![first].into(),
        ..sqlx::migrate::Migrator::DEFAULT
    };
    old.run_direct(None, &mut table, false).await.unwrap();
    let options = serde_json::to_string(&portuguese()).unwrap();
    sqlx::query(
        "INSERT INTO jobs (id, state, created_ms, prompt_file, prompt_type, options) \
         VALUES (?, 'running', 5, 'prompt.wav', 'audio/wav', ?)",
    )
    .bind(id.to_string())
    .bind(options)
    .execute(&mut table)
    .await
    .unwrap();
    for sql in [
        "INSERT INTO stage_runs (job_id, stage, state, attempt, due_ms) \
         VALUES (?, 'transcribe_audio', 'succeeded', 1, 5)",
        "INSERT INTO stage_runs (job_id, stage, state, due_ms) VALUES (?, 'generate_text', 'queued', 6)",
        "INSERT INTO artifacts (job_id, stage, file, media_type, size_bytes, sha256) \
         VALUES (?, 'transcribe_audio', 'transcribe_audio.json', 'application/json', 2, 'x')",
    ] {
        sqlx::query(sql).bind(id.to_string()).execute(&mut table).await.unwrap();
    }
    table.close().await.unwrap();

    let store = open(dir.path()).await;
    let job = get(&store, id).await;
    assert_eq!((job.version, job.options.target.as_str()), (1, "pt"));
    assert_eq!(job.versions.len(), 1);
    assert_eq!(job.artifacts[0].file, "transcribe_audio.json");
    let claim = store.claim().await.unwrap().unwrap();
    assert_eq!((claim.run.id, claim.run.stage), (id, StageKind::GenerateText));
}
