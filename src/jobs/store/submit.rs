//! Accepting a job: the prompt first, then the row.

use std::fs::{self, File};
use std::path::Path;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Row, query};

use super::super::artifact::sync_dir;
use super::super::fault::{self, Point};
use super::super::{IdempotencyKey, JobError, JobEventKind, JobFolder, JobId, JobState, NewJob};
use super::rows;
use super::writer::Operation;
use super::{JobStore, Run, blocking, make_due, make_private_dir, remove_folder};
use crate::stage::StageKind;

impl JobStore {
    /// Accepts a job. `prompt` is a complete file in [`JobStore::incoming_dir`]; it is
    /// synced and moved. When this returns, the job survives a crash. What was accepted before
    /// under the same key is not accepted again; its job is returned.
    ///
    /// # Errors
    /// When too many jobs wait, or the disk or the table fails; the job is then not accepted.
    pub async fn submit(&self, new: NewJob, prompt: &Path) -> Result<JobId, JobError> {
        // Whether too many wait is asked in the transaction that adds one.
        self.check_disk()?;
        let id = JobId::new();
        let prompt_file = format!("prompt.{}", new.prompt_extension);
        let stored = {
            let (prompt, folder, file) = (prompt.to_owned(), self.folder(id), prompt_file.clone());
            blocking(move || move_in(&prompt, &folder, &file)).await
        };
        let submitted = match stored {
            Ok(prompt_bytes) => {
                let max_queued = self.0.options.max_queued;
                let submit =
                    Submit { id, new, prompt_file, prompt_bytes, max_queued, now: self.now_ms() };
                self.0.writer.run(submit).await.and_then(|accepted| accepted)
            }
            Err(error) => Err(error),
        };
        let known = match submitted {
            Ok(known) if known == id => None,
            other => Some(other),
        };
        if let Some(known) = known {
            let folder = self.folder(id);
            // A folder that stays behind has no row and is removed at the next start.
            let _ = blocking(move || remove_folder(&folder)).await;
            return known;
        }
        fault::reach(Point::Accepted).map_err(JobError::io("accepting"))?;
        // Where a request caused it, its name stands beside this one.
        tracing::info!(job = %id, "accepted");
        self.0.events.send(id, JobEventKind::Job { state: JobState::Queued });
        self.wake();
        Ok(id)
    }

    /// Whether another job would be taken now: to be asked before a long upload.
    ///
    /// # Errors
    /// [`JobError::QueueFull`] or [`JobError::LowDisk`] when not.
    pub async fn check_room(&self) -> Result<(), JobError> {
        self.check_disk()?;
        let mut table = self.0.readers.acquire().await?;
        room(&mut table, self.0.options.max_queued).await?
    }
}

/// The inner error is a refusal, the outer one a fault.
pub(super) async fn room(
    table: &mut SqliteConnection,
    max_queued: u32,
) -> Result<Result<(), JobError>, JobError> {
    let queued: u32 = query("SELECT count(*) FROM jobs WHERE state = 'queued'")
        .fetch_one(table)
        .await?
        .try_get(0)?;
    Ok(if queued >= max_queued { Err(JobError::QueueFull { max_queued }) } else { Ok(()) })
}

struct Submit {
    id: JobId,
    new: NewJob,
    prompt_file: String,
    prompt_bytes: u64,
    max_queued: u32,
    now: i64,
}

impl Operation for Submit {
    /// The new job, or the one that was accepted before under the same key.
    type Output = Result<JobId, JobError>;

    async fn apply(&self, table: &mut SqliteConnection) -> Result<Self::Output, JobError> {
        if let Some(key) = &self.new.idempotency
            && let Some(known) = known(table, key).await?
        {
            return Ok(known);
        }
        if let Err(full) = room(table, self.max_queued).await? {
            return Ok(Err(full));
        }
        let Self { id, new, now, .. } = self;
        query(
            "INSERT INTO jobs (id, state, created_ms, prompt_file, prompt_name, prompt_type, \
             prompt_ms, prompt_bytes) VALUES (?, 'queued', ?, ?, ?, ?, ?, ?)",
        )
        .bind(id.to_string())
        .bind(now)
        .bind(&self.prompt_file)
        .bind(&new.prompt_name)
        .bind(&new.prompt_type)
        .bind(new.prompt_ms.map(|ms| ms as i64))
        .bind(self.prompt_bytes as i64)
        .execute(&mut *table)
        .await?;
        let first = Run { id: *id, version: 1, stage: StageKind::ALL[0] };
        insert_version(table, first, &new.options, *now).await?;
        make_due(table, first, *now).await?;
        if let Some(IdempotencyKey { key, fingerprint }) = &new.idempotency {
            query("INSERT INTO idempotency_keys (key, job_id, fingerprint) VALUES (?, ?, ?)")
                .bind(key)
                .bind(id.to_string())
                .bind(fingerprint)
                .execute(table)
                .await?;
        }
        fault::reach(Point::JobInserted).map_err(JobError::io("accepting"))?;
        Ok(Ok(*id))
    }
}

/// The job that was accepted under this key, if there is one; a refusal if it is another's.
async fn known(
    table: &mut SqliteConnection,
    key: &IdempotencyKey,
) -> Result<Option<Result<JobId, JobError>>, JobError> {
    let found = query("SELECT job_id, fingerprint FROM idempotency_keys WHERE key = ?")
        .bind(&key.key)
        .fetch_optional(table)
        .await?;
    let Some(row) = found else { return Ok(None) };
    if row.try_get::<String, _>(1)? != key.fingerprint {
        return Ok(Some(Err(JobError::KeyReused)));
    }
    Ok(Some(Ok(rows::id(&row)?)))
}

/// Records a version that runs from `first.stage` on.
pub(super) async fn insert_version(
    table: &mut SqliteConnection,
    first: Run,
    options: &crate::stage::JobOptions,
    now: i64,
) -> Result<(), JobError> {
    let options = serde_json::to_string(options).expect("options have only strings and numbers");
    query(
        "INSERT INTO versions (job_id, version, first_stage, options, created_ms) \
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(first.id.to_string())
    .bind(first.version)
    .bind(first.stage.as_str())
    .bind(options)
    .bind(now)
    .execute(table)
    .await?;
    Ok(())
}

/// Moves an uploaded prompt into a new job's folder so that it survives a crash, and
/// returns its size.
fn move_in(prompt: &Path, folder: &JobFolder, prompt_file: &str) -> Result<u64, JobError> {
    let move_in = || {
        fault::reach(Point::BeforeAccept)?;
        make_private_dir(folder.dir())?;
        let file = File::open(prompt)?;
        // Renamed before it is synced: see `write_durably`.
        fs::rename(prompt, folder.path(prompt_file))?;
        file.sync_all()?;
        sync_dir(folder.dir())?;
        folder.dir().parent().map_or(Ok(()), sync_dir)?;
        fault::reach(Point::PromptStored)?;
        Ok(file.metadata()?.len())
    };
    move_in().map_err(JobError::io(format!("storing the prompt in {}", folder.dir().display())))
}
