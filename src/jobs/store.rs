//! The job table: one writing connection, a pool of readers.

use std::borrow::Cow;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Row, Sqlite, Transaction};
use tokio::sync::Notify;

use super::artifact::sync_dir;
use super::{
    ArtifactRow, EventHub, Job, JobError, JobEventKind, JobFailure, JobFolder, JobId, JobState,
    NewJob, StageRun, StoredArtifact,
};
use crate::stage::{JobOptions, StageError, StageKind, Timing};

/// A stage run is given up after it was started this often without an end: it
/// takes the program down with it.
const MOST_ATTEMPTS: u32 = 3;

/// The job table and the files beside it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct JobStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// One connection only: SQLite has one writer, and so has this program.
    writer: SqlitePool,
    readers: SqlitePool,
    jobs_dir: PathBuf,
    incoming_dir: PathBuf,
    events: EventHub,
    due: Notify,
    /// Held for as long as the store lives: one process for one data directory.
    _lock: File,
}

/// A stage run that a worker has taken on.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The job as it stands.
    pub job: Job,
    /// The stage to run.
    pub stage: StageKind,
    /// How long the run had been due.
    pub queue_ms: u64,
}

impl JobStore {
    /// Opens the job table in `data_dir`, makes it where there is none, and takes the
    /// folder for this process alone.
    ///
    /// # Errors
    /// When the folder is not writable or another process uses it.
    pub async fn open(data_dir: &Path, events: EventHub) -> Result<Self, JobError> {
        let jobs_dir = data_dir.join("jobs");
        let incoming_dir = data_dir.join("incoming");
        for dir in [data_dir, &jobs_dir, &incoming_dir] {
            make_private_dir(dir).map_err(JobError::io(format!("making {}", dir.display())))?;
        }
        let lock = lock(data_dir)?;

        let options = SqliteConnectOptions::new()
            .filename(data_dir.join("jobs.sqlite3"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let writer =
            SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        migrator().run(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self(Arc::new(Inner {
            writer,
            readers,
            jobs_dir,
            incoming_dir,
            events,
            due: Notify::new(),
            _lock: lock,
        })))
    }

    /// What happens to jobs, as it happens.
    #[must_use]
    pub fn events(&self) -> &EventHub {
        &self.0.events
    }

    /// Where an upload may be written before it is submitted; on the same disk as the jobs.
    #[must_use]
    pub fn incoming_dir(&self) -> &Path {
        &self.0.incoming_dir
    }

    /// The folder of a job.
    #[must_use]
    pub fn folder(&self, id: JobId) -> JobFolder {
        JobFolder::new(self.0.jobs_dir.join(id.to_string()))
    }

    /// Accepts a job. `prompt` is a complete file in [`JobStore::incoming_dir`]; it is
    /// synced and moved. When this returns, the job survives a crash.
    ///
    /// # Errors
    /// When the disk or the table fails; the job is then not accepted.
    pub async fn submit(&self, new: NewJob, prompt: &Path) -> Result<JobId, JobError> {
        let id = JobId::new();
        let folder = self.folder(id);
        let prompt_file = format!("prompt.{}", new.prompt_extension);
        move_in(prompt, &folder, &prompt_file)?;
        let accepted = self.insert(id, &new, &prompt_file).await;
        if accepted.is_err() {
            let _ = fs::remove_dir_all(folder.dir());
        }
        accepted?;
        self.0.events.send(id, JobEventKind::Job { state: JobState::Queued });
        self.0.due.notify_one();
        Ok(id)
    }

    async fn insert(&self, id: JobId, new: &NewJob, prompt_file: &str) -> Result<(), JobError> {
        let now = now_ms();
        let options =
            serde_json::to_string(&new.options).expect("options have only strings and numbers");
        let mut tx = self.0.writer.begin().await?;
        sqlx::query(
            "INSERT INTO jobs (id, state, created_ms, prompt_file, prompt_name, prompt_type, \
             prompt_ms, options) VALUES (?, 'queued', ?, ?, ?, ?, ?, ?)",
        )
        .bind(id.to_string())
        .bind(now)
        .bind(prompt_file)
        .bind(&new.prompt_name)
        .bind(&new.prompt_type)
        .bind(new.prompt_ms.map(|ms| ms as i64))
        .bind(options)
        .execute(&mut *tx)
        .await?;
        make_due(&mut tx, id, StageKind::ALL[0], now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// One job.
    pub async fn get(&self, id: JobId) -> Result<Option<Job>, JobError> {
        let row = sqlx::query("SELECT * FROM jobs WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&self.0.readers)
            .await?;
        match row {
            Some(row) => self.complete(&row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Up to `limit` jobs, newest first, older than `before`.
    pub async fn list(&self, before: Option<JobId>, limit: u32) -> Result<Vec<Job>, JobError> {
        // A UUIDv7 sorts by time; `~` sorts after every id.
        let before = before.map_or_else(|| "~".to_owned(), |id| id.to_string());
        let rows = sqlx::query("SELECT * FROM jobs WHERE id < ? ORDER BY id DESC LIMIT ?")
            .bind(before)
            .bind(limit)
            .fetch_all(&self.0.readers)
            .await?;
        let mut jobs = Vec::with_capacity(rows.len());
        for row in &rows {
            jobs.push(self.complete(row).await?);
        }
        Ok(jobs)
    }

    /// Stops a job. Returns false if it does not exist or had already ended.
    pub async fn cancel(&self, id: JobId) -> Result<bool, JobError> {
        if self.0.events.cancel(id) {
            // The worker records the end as soon as the stage has stopped.
            return Ok(true);
        }
        let now = now_ms();
        let mut tx = self.0.writer.begin().await?;
        let changed = sqlx::query(
            "UPDATE jobs SET state = 'canceled', finished_ms = ? \
             WHERE id = ? AND state IN ('queued', 'running')",
        )
        .bind(now)
        .bind(id.to_string())
        .execute(&mut *tx)
        .await?
        .rows_affected();
        end_open_runs(&mut tx, id, JobState::Canceled, now).await?;
        tx.commit().await?;
        if changed > 0 {
            self.0.events.send(id, JobEventKind::Job { state: JobState::Canceled });
        }
        Ok(changed > 0)
    }

    /// Removes a job, its rows and its files, stopping it first if it runs. Returns
    /// false if it does not exist.
    pub async fn delete(&self, id: JobId) -> Result<bool, JobError> {
        self.0.events.cancel(id);
        let gone = sqlx::query("DELETE FROM jobs WHERE id = ?")
            .bind(id.to_string())
            .execute(&self.0.writer)
            .await?
            .rows_affected()
            > 0;
        remove_folder(&self.folder(id))?;
        if gone {
            self.0.events.send(id, JobEventKind::Deleted);
        }
        Ok(gone)
    }

    /// Takes on the stage run that has been due longest, first come first served by job.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn claim(&self) -> Result<Option<Claim>, JobError> {
        let now = now_ms();
        let mut tx = self.0.writer.begin().await?;
        let due = sqlx::query(
            "SELECT r.job_id, r.stage, r.due_ms FROM stage_runs r JOIN jobs j ON j.id = r.job_id \
             WHERE r.state = 'queued' ORDER BY j.created_ms, j.id LIMIT 1",
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(due) = due else { return Ok(None) };
        let id: JobId = due.try_get::<String, _>("job_id")?.parse()?;
        let stage = parse_stage(&due.try_get::<String, _>("stage")?)?;
        let due_ms: i64 = due.try_get("due_ms")?;
        sqlx::query(
            "UPDATE stage_runs SET state = 'running', attempt = attempt + 1, started_ms = ? \
             WHERE job_id = ? AND stage = ?",
        )
        .bind(now)
        .bind(id.to_string())
        .bind(stage.as_str())
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE jobs SET state = 'running', started_ms = coalesce(started_ms, ?) WHERE id = ?",
        )
        .bind(now)
        .bind(id.to_string())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        if stage == StageKind::ALL[0] {
            self.0.events.send(id, JobEventKind::Job { state: JobState::Running });
        }
        self.0.events.send(id, JobEventKind::Stage { stage, state: JobState::Running });
        let Some(job) = self.get(id).await? else { return Ok(None) };
        Ok(Some(Claim { job, stage, queue_ms: (now - due_ms).max(0) as u64 }))
    }

    /// Waits until a job may have become due.
    pub async fn wait_due(&self) {
        self.0.due.notified().await;
    }

    /// Wakes whoever waits in [`JobStore::wait_due`].
    pub(super) fn wake(&self) {
        self.0.due.notify_one();
    }

    /// Ends a stage run with its artifact and makes the next stage due, or ends the job.
    /// Returns false if the job was deleted meanwhile.
    pub async fn succeed(
        &self,
        id: JobId,
        stage: StageKind,
        artifact: &StoredArtifact,
        timing: &Timing,
    ) -> Result<bool, JobError> {
        let now = now_ms();
        let timing = serde_json::to_string(timing).expect("a timing has only strings and numbers");
        let mut tx = self.0.writer.begin().await?;
        let known = sqlx::query(
            "UPDATE stage_runs SET state = 'succeeded', finished_ms = ?, timing = ? \
             WHERE job_id = ? AND stage = ? AND state = 'running'",
        )
        .bind(now)
        .bind(timing)
        .bind(id.to_string())
        .bind(stage.as_str())
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if known == 0 {
            return Ok(false);
        }
        sqlx::query(
            "INSERT OR REPLACE INTO artifacts \
             (job_id, stage, file, media_type, size_bytes, sha256, duration_ms) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id.to_string())
        .bind(stage.as_str())
        .bind(&artifact.file)
        .bind(artifact.media_type)
        .bind(artifact.size_bytes as i64)
        .bind(&artifact.sha256)
        .bind(artifact.duration_ms.map(|ms| ms as i64))
        .execute(&mut *tx)
        .await?;
        if let Some(next) = stage.next() {
            make_due(&mut tx, id, next, now).await?;
        } else {
            sqlx::query("UPDATE jobs SET state = 'succeeded', finished_ms = ? WHERE id = ?")
                .bind(now)
                .bind(id.to_string())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        self.0.events.send(id, JobEventKind::Stage { stage, state: JobState::Succeeded });
        if stage.next().is_none() {
            self.0.events.send(id, JobEventKind::Job { state: JobState::Succeeded });
        }
        Ok(true)
    }

    /// Ends a stage run and its job with an error, or as canceled.
    pub async fn fail(
        &self,
        id: JobId,
        stage: StageKind,
        error: &StageError,
    ) -> Result<(), JobError> {
        let now = now_ms();
        let canceled = error.code == crate::stage::ErrorCode::Canceled;
        let state = if canceled { JobState::Canceled } else { JobState::Failed };
        let mut tx = self.0.writer.begin().await?;
        end_open_runs(&mut tx, id, state, now).await?;
        let failure = (!canceled).then_some(error);
        sqlx::query(
            "UPDATE jobs SET state = ?, finished_ms = ?, failed_stage = ?, error_code = ?, \
             error_message = ? WHERE id = ?",
        )
        .bind(state.as_str())
        .bind(now)
        .bind(failure.map(|_| stage.as_str()))
        .bind(failure.map(|error| error.code.as_str()))
        .bind(failure.map(|error| error.message.as_str()))
        .bind(id.to_string())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.0.events.send(id, JobEventKind::Stage { stage, state });
        self.0.events.send(id, JobEventKind::Job { state });
        Ok(())
    }

    /// Puts a stage run that was started but not ended back into the queue.
    pub(super) async fn requeue(&self, id: JobId, stage: StageKind) -> Result<(), JobError> {
        sqlx::query(
            "UPDATE stage_runs SET state = 'queued', due_ms = ? \
             WHERE job_id = ? AND stage = ? AND state = 'running'",
        )
        .bind(now_ms())
        .bind(id.to_string())
        .bind(stage.as_str())
        .execute(&self.0.writer)
        .await?;
        Ok(())
    }

    /// Stage runs that were running when the last process ended, with the attempts made.
    pub(super) async fn interrupted(&self) -> Result<Vec<(JobId, StageKind, bool)>, JobError> {
        let rows =
            sqlx::query("SELECT job_id, stage, attempt FROM stage_runs WHERE state = 'running'")
                .fetch_all(&self.0.writer)
                .await?;
        rows.iter()
            .map(|row| {
                let attempts: u32 = row.try_get("attempt")?;
                Ok((
                    row.try_get::<String, _>("job_id")?.parse()?,
                    parse_stage(&row.try_get::<String, _>("stage")?)?,
                    attempts >= MOST_ATTEMPTS,
                ))
            })
            .collect()
    }

    /// Makes `stage` of a job run again, with all that came after it.
    pub(super) async fn run_again(&self, id: JobId, stage: StageKind) -> Result<(), JobError> {
        let mut tx = self.0.writer.begin().await?;
        for later in StageKind::ALL.into_iter().filter(|&later| later >= stage) {
            for table in [
                "DELETE FROM artifacts WHERE job_id = ? AND stage = ?",
                "DELETE FROM stage_runs WHERE job_id = ? AND stage = ?",
            ] {
                sqlx::query(table)
                    .bind(id.to_string())
                    .bind(later.as_str())
                    .execute(&mut *tx)
                    .await?;
            }
        }
        make_due(&mut tx, id, stage, now_ms()).await?;
        sqlx::query("UPDATE jobs SET state = 'queued', finished_ms = NULL WHERE id = ?")
            .bind(id.to_string())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The folder that holds one folder a job.
    pub(super) fn jobs_dir(&self) -> &Path {
        &self.0.jobs_dir
    }

    /// Ids of all jobs.
    pub(super) async fn ids(&self) -> Result<Vec<JobId>, JobError> {
        let rows = sqlx::query("SELECT id FROM jobs ORDER BY id").fetch_all(&self.0.writer).await?;
        rows.iter().map(|row| row.try_get::<String, _>("id")?.parse()).collect()
    }

    async fn complete(&self, row: &SqliteRow) -> Result<Job, JobError> {
        let id: JobId = row.try_get::<String, _>("id")?.parse()?;
        let runs = sqlx::query("SELECT * FROM stage_runs WHERE job_id = ?")
            .bind(id.to_string())
            .fetch_all(&self.0.readers)
            .await?;
        let artifacts = sqlx::query("SELECT * FROM artifacts WHERE job_id = ?")
            .bind(id.to_string())
            .fetch_all(&self.0.readers)
            .await?;
        let mut stages = runs.iter().map(stage_run).collect::<Result<Vec<_>, _>>()?;
        stages.sort_by_key(|run| run.stage);
        let mut artifacts = artifacts.iter().map(artifact_row).collect::<Result<Vec<_>, _>>()?;
        artifacts.sort_by_key(|artifact| artifact.stage);
        job(id, row, stages, artifacts)
    }
}

fn job(
    id: JobId,
    row: &SqliteRow,
    stages: Vec<StageRun>,
    artifacts: Vec<ArtifactRow>,
) -> Result<Job, JobError> {
    let options: String = row.try_get("options")?;
    let failed_stage: Option<String> = row.try_get("failed_stage")?;
    let error = match failed_stage {
        Some(stage) => Some(JobFailure {
            stage: parse_stage(&stage)?,
            code: parse_json(
                "error_code",
                &format!("\"{}\"", row.try_get::<String, _>("error_code")?),
            )?,
            message: row.try_get("error_message")?,
        }),
        None => None,
    };
    Ok(Job {
        id,
        state: row.try_get::<String, _>("state")?.parse()?,
        created_ms: row.try_get("created_ms")?,
        started_ms: row.try_get("started_ms")?,
        finished_ms: row.try_get("finished_ms")?,
        prompt_file: row.try_get("prompt_file")?,
        prompt_name: row.try_get("prompt_name")?,
        prompt_type: row.try_get("prompt_type")?,
        prompt_ms: row.try_get::<Option<i64>, _>("prompt_ms")?.map(|ms| ms as u64),
        options: parse_json::<JobOptions>("options", &options)?,
        error,
        stages,
        artifacts,
    })
}

fn stage_run(row: &SqliteRow) -> Result<StageRun, JobError> {
    let timing: Option<String> = row.try_get("timing")?;
    Ok(StageRun {
        stage: parse_stage(&row.try_get::<String, _>("stage")?)?,
        state: row.try_get::<String, _>("state")?.parse()?,
        attempt: row.try_get("attempt")?,
        due_ms: row.try_get("due_ms")?,
        started_ms: row.try_get("started_ms")?,
        finished_ms: row.try_get("finished_ms")?,
        timing: timing.map(|json| parse_json("timing", &json)).transpose()?,
    })
}

fn artifact_row(row: &SqliteRow) -> Result<ArtifactRow, JobError> {
    Ok(ArtifactRow {
        stage: parse_stage(&row.try_get::<String, _>("stage")?)?,
        file: row.try_get("file")?,
        media_type: row.try_get("media_type")?,
        size_bytes: row.try_get::<i64, _>("size_bytes")? as u64,
        sha256: row.try_get("sha256")?,
        duration_ms: row.try_get::<Option<i64>, _>("duration_ms")?.map(|ms| ms as u64),
    })
}

fn parse_stage(name: &str) -> Result<StageKind, JobError> {
    name.parse().map_err(|_| JobError::Corrupt { what: "stage", value: name.to_owned() })
}

fn parse_json<T: serde::de::DeserializeOwned>(
    what: &'static str,
    json: &str,
) -> Result<T, JobError> {
    serde_json::from_str(json).map_err(|_| JobError::Corrupt { what, value: json.to_owned() })
}

async fn make_due(
    tx: &mut Transaction<'_, Sqlite>,
    id: JobId,
    stage: StageKind,
    now: i64,
) -> Result<(), JobError> {
    sqlx::query("INSERT INTO stage_runs (job_id, stage, state, due_ms) VALUES (?, ?, 'queued', ?)")
        .bind(id.to_string())
        .bind(stage.as_str())
        .bind(now)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn end_open_runs(
    tx: &mut Transaction<'_, Sqlite>,
    id: JobId,
    state: JobState,
    now: i64,
) -> Result<(), JobError> {
    sqlx::query(
        "UPDATE stage_runs SET state = ?, finished_ms = ? \
         WHERE job_id = ? AND state IN ('queued', 'running')",
    )
    .bind(state.as_str())
    .bind(now)
    .bind(id.to_string())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Moves an uploaded prompt into a new job's folder so that it survives a crash.
fn move_in(prompt: &Path, folder: &JobFolder, prompt_file: &str) -> Result<(), JobError> {
    let move_in = || {
        make_private_dir(folder.dir())?;
        File::open(prompt)?.sync_all()?;
        fs::rename(prompt, folder.path(prompt_file))?;
        sync_dir(folder.dir())?;
        folder.dir().parent().map_or(Ok(()), sync_dir)
    };
    move_in().map_err(|error| {
        let _ = fs::remove_dir_all(folder.dir());
        JobError::io(format!("storing the prompt in {}", folder.dir().display()))(error)
    })
}

/// Removes a job's files; that there are none is fine.
pub(super) fn remove_folder(folder: &JobFolder) -> Result<(), JobError> {
    match fs::remove_dir_all(folder.dir()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(JobError::io(format!("removing {}", folder.dir().display()))(error))
        }
        _ => Ok(()),
    }
}

/// Recordings are private: folders are readable by their owner alone.
fn make_private_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn lock(data_dir: &Path) -> Result<File, JobError> {
    let path = data_dir.join("lock");
    let file = File::create(&path).map_err(JobError::io(format!("making {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(JobError::InUse(data_dir.display().to_string())),
        Err(fs::TryLockError::Error(error)) => {
            Err(JobError::io(format!("locking {}", path.display()))(error))
        }
    }
}

/// The migrations, embedded. Built by hand because sqlx's macro would compile SQLite twice.
fn migrator() -> Migrator {
    let migrations = vec![Migration::new(
        1,
        Cow::Borrowed("jobs"),
        MigrationType::Simple,
        sqlx::SqlStr::from_static(include_str!("../../migrations/0001_jobs.sql")),
        false,
    )];
    Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
