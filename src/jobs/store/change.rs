//! What a person does to a job: cancel, delete, retry, run again.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Row, query};

use super::super::{Job, JobError, JobEventKind, JobId, JobState};
use super::finish::end_open_runs;
use super::submit::{insert_version, room};
use super::writer::Operation;
use super::{JobStore, Run, blocking, make_due, remove_folder};
use crate::stage::{JobOptions, StageKind};

impl JobStore {
    /// Stops a job. It counts as canceled at once; a stage that runs ends at its next look at
    /// the flag, and whatever it still makes is dropped. Returns false if the job does not
    /// exist or had already ended.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn cancel(&self, id: JobId) -> Result<bool, JobError> {
        let running = self.0.events.live(id).map(|live| live.stage);
        self.0.events.cancel(id);
        let canceled = self.0.writer.run(Cancel { id, now: self.now_ms() }).await?;
        if canceled {
            let state = JobState::Canceled;
            if let Some(stage) = running {
                self.0.events.send(id, JobEventKind::Stage { stage, state });
            }
            self.0.events.send(id, JobEventKind::Job { state });
        }
        Ok(canceled)
    }

    /// Removes a job, its rows and its files, stopping it first if it runs. Returns
    /// false if it does not exist.
    ///
    /// # Errors
    /// When the table or the disk fails. Files whose rows are gone are removed at the
    /// next start at the latest.
    pub async fn delete(&self, id: JobId) -> Result<bool, JobError> {
        self.0.events.cancel(id);
        self.delete_where(Delete { id, ended_only: false }).await
    }

    /// Removes a job as [`JobStore::delete`] does, but only if it neither waits nor runs.
    pub(super) async fn delete_if_ended(&self, id: JobId) -> Result<bool, JobError> {
        self.delete_where(Delete { id, ended_only: true }).await
    }

    async fn delete_where(&self, delete: Delete) -> Result<bool, JobError> {
        let id = delete.id;
        let only_ended = delete.ended_only;
        let gone = self.0.writer.run(delete).await?;
        if only_ended && !gone {
            return Ok(false);
        }
        let folder = self.folder(id);
        blocking(move || remove_folder(&folder)).await?;
        if gone {
            self.0.events.send(id, JobEventKind::Deleted);
            // There may be room on the disk now for a worker that waits for it.
            self.wake();
        }
        Ok(gone)
    }

    /// Goes on with a job that failed or was canceled, from the stage that has no
    /// result yet. Returns false if there is no such job.
    ///
    /// # Errors
    /// [`JobError::NotNow`] when the job has not ended or has succeeded, and the
    /// refusals of [`JobStore::submit`].
    pub async fn retry(&self, id: JobId) -> Result<bool, JobError> {
        self.check_disk()?;
        let Some(job) = self.get(id).await? else { return Ok(false) };
        if !matches!(job.state, JobState::Failed | JobState::Canceled) {
            let why =
                format!("Only a failed or canceled job can be retried; this one {}.", is(&job));
            return Err(JobError::NotNow(why));
        }
        self.check_released(id)?;
        let missing = StageKind::ALL.into_iter().find(|&stage| job.artifact(stage).is_none());
        let stage = missing.unwrap_or(StageKind::ALL[0]);
        let run = Run { id, version: job.version, stage };
        self.queue_again(run, None).await
    }

    /// Runs an ended job again from stage `from` with `options`, as a new version. What
    /// comes before `from` is taken over; the old version stays. Returns false if
    /// there is no such job.
    ///
    /// # Errors
    /// [`JobError::NotNow`] when the job has not ended or a stage before `from` has no
    /// result, and the refusals of [`JobStore::submit`].
    pub async fn run_from(
        &self,
        id: JobId,
        from: StageKind,
        options: JobOptions,
    ) -> Result<bool, JobError> {
        self.check_disk()?;
        let Some(job) = self.get(id).await? else { return Ok(false) };
        if !job.state.is_final() {
            return Err(JobError::NotNow(format!(
                "A job can be run again once it has ended; this one {}.",
                is(&job)
            )));
        }
        self.check_released(id)?;
        let earlier = StageKind::ALL.into_iter().take_while(|&stage| stage < from);
        if let Some(stage) = earlier.into_iter().find(|&stage| job.artifact(stage).is_none()) {
            return Err(JobError::NotNow(format!(
                "There is no result of {stage} to go on from; run again from there."
            )));
        }
        let run = Run { id, version: job.version + 1, stage: from };
        self.queue_again(run, Some(options)).await
    }

    /// A canceled job may have a worker that has not noticed yet.
    fn check_released(&self, id: JobId) -> Result<(), JobError> {
        if self.0.events.is_held(id) {
            let why = "The job is still being stopped. Try again in a moment.";
            return Err(JobError::NotNow(why.to_owned()));
        }
        Ok(())
    }

    /// Puts an ended job back into the queue. With `options` the run begins a version.
    async fn queue_again(&self, run: Run, options: Option<JobOptions>) -> Result<bool, JobError> {
        let max_queued = Some(self.0.options.max_queued);
        self.again(Again { run, options, max_queued, now: self.now_ms() }).await
    }

    /// Makes a stage of the newest version run again whose result was lost, with all
    /// that follows it.
    pub(in crate::jobs) async fn repair(&self, run: Run) -> Result<(), JobError> {
        // What was accepted once is not refused now.
        self.again(Again { run, options: None, max_queued: None, now: self.now_ms() }).await?;
        Ok(())
    }

    async fn again(&self, again: Again) -> Result<bool, JobError> {
        let id = again.run.id;
        let queued = self.0.writer.run(again).await??;
        if queued {
            self.0.events.send(id, JobEventKind::Job { state: JobState::Queued });
            self.wake();
        }
        Ok(queued)
    }

    /// Removes a version of a job that is not its newest. What the next version took
    /// over from it is kept and counted as that version's. Returns false if there is
    /// no such job or version.
    ///
    /// # Errors
    /// [`JobError::NotNow`] for the newest version, or while the job has not ended.
    pub async fn delete_version(&self, id: JobId, version: u32) -> Result<bool, JobError> {
        let Some(job) = self.get(id).await? else { return Ok(false) };
        let Some(at) = job.versions.iter().position(|it| it.version == version) else {
            return Ok(false);
        };
        let Some(heir) = job.versions.get(at + 1) else {
            let why = "The newest version goes only with its job: delete the job.";
            return Err(JobError::NotNow(why.to_owned()));
        };
        if !job.state.is_final() {
            let why = format!("Versions can be deleted once the job has ended; it {}.", is(&job));
            return Err(JobError::NotNow(why));
        }
        let drop = DropVersion { id, version, heir: heir.version, heir_first: heir.first_stage };
        let Some(files) = self.0.writer.run(drop).await? else { return Ok(false) };
        let folder = self.folder(id);
        blocking(move || {
            // A file that stays behind is removed at the next start.
            for file in &files {
                drop_file(&folder.path(file));
            }
            // What was made of these files must not outlive them.
            let _ = std::fs::remove_dir_all(folder.cache_dir());
            Ok(())
        })
        .await?;
        self.0.events.send(id, JobEventKind::Job { state: job.state });
        Ok(true)
    }

    /// Forgets an artifact that nothing shows any more and whose file is lost.
    pub(in crate::jobs) async fn forget(&self, run: Run) -> Result<(), JobError> {
        self.0.writer.run(Forget(run)).await
    }
}

fn is(job: &Job) -> String {
    match job.state {
        JobState::Queued => "is queued".to_owned(),
        JobState::Running => "is running".to_owned(),
        ended => format!("has {ended}"),
    }
}

fn drop_file(path: &std::path::Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a file of a deleted version stays behind");
    }
}

struct Cancel {
    id: JobId,
    now: i64,
}

impl Operation for Cancel {
    type Output = bool;

    async fn apply(&self, table: &mut SqliteConnection) -> Result<bool, JobError> {
        let canceled = query(
            "UPDATE jobs SET state = 'canceled', finished_ms = ? \
             WHERE id = ? AND state IN ('queued', 'running')",
        )
        .bind(self.now)
        .bind(self.id.to_string())
        .execute(&mut *table)
        .await?
        .rows_affected();
        end_open_runs(table, self.id, JobState::Canceled, self.now).await?;
        Ok(canceled > 0)
    }
}

struct Delete {
    id: JobId,
    ended_only: bool,
}

impl Operation for Delete {
    type Output = bool;

    async fn apply(&self, table: &mut SqliteConnection) -> Result<bool, JobError> {
        let deleted = query("DELETE FROM jobs WHERE id = ? AND (finished_ms IS NOT NULL OR NOT ?)")
            .bind(self.id.to_string())
            .bind(self.ended_only);
        Ok(deleted.execute(table).await?.rows_affected() > 0)
    }
}

struct Again {
    run: Run,
    /// What the new version asks for; `None` goes on with the newest one.
    options: Option<JobOptions>,
    /// Most jobs that may wait; `None` does not ask.
    max_queued: Option<u32>,
    now: i64,
}

impl Operation for Again {
    type Output = Result<bool, JobError>;

    async fn apply(&self, table: &mut SqliteConnection) -> Result<Self::Output, JobError> {
        let Self { run, options, max_queued, now } = self;
        if let Some(max_queued) = max_queued
            && let Err(full) = room(table, *max_queued).await?
        {
            return Ok(Err(full));
        }
        let id = run.id.to_string();
        let ended = query(
            "UPDATE jobs SET state = 'queued', version = ?, started_ms = NULL, \
             finished_ms = NULL, failed_stage = NULL, error_code = NULL, error_message = NULL \
             WHERE id = ? AND (state IN ('succeeded', 'failed', 'canceled') OR ?)",
        )
        .bind(run.version)
        .bind(&id)
        .bind(max_queued.is_none())
        .execute(&mut *table)
        .await?
        .rows_affected();
        if ended == 0 {
            return Ok(Ok(false));
        }
        if let Some(options) = options {
            insert_version(table, *run, options, *now).await?;
        } else {
            clear_from(table, *run).await?;
        }
        make_due(table, *run, *now).await?;
        Ok(Ok(true))
    }
}

/// Makes a version forget its stages from `run.stage` on, and own them from now on.
async fn clear_from(table: &mut SqliteConnection, run: Run) -> Result<(), JobError> {
    let id = run.id.to_string();
    for stage in StageKind::ALL.into_iter().filter(|&stage| stage >= run.stage) {
        for forget in [
            "DELETE FROM artifacts WHERE job_id = ? AND version = ? AND stage = ?",
            "DELETE FROM stage_runs WHERE job_id = ? AND version = ? AND stage = ?",
        ] {
            query(forget)
                .bind(&id)
                .bind(run.version)
                .bind(stage.as_str())
                .execute(&mut *table)
                .await?;
        }
    }
    let first: String = query("SELECT first_stage FROM versions WHERE job_id = ? AND version = ?")
        .bind(&id)
        .bind(run.version)
        .fetch_one(&mut *table)
        .await?
        .try_get(0)?;
    if run.stage < super::rows::parse_stage(&first)? {
        query("UPDATE versions SET first_stage = ? WHERE job_id = ? AND version = ?")
            .bind(run.stage.as_str())
            .bind(&id)
            .bind(run.version)
            .execute(table)
            .await?;
    }
    Ok(())
}

struct DropVersion {
    id: JobId,
    version: u32,
    /// The next version, which took over what came before its first stage.
    heir: u32,
    heir_first: StageKind,
}

impl Operation for DropVersion {
    /// Files that nothing needs any more; `None` if there is no such version.
    type Output = Option<Vec<String>>;

    async fn apply(&self, table: &mut SqliteConnection) -> Result<Self::Output, JobError> {
        let Self { id, version, heir, heir_first } = self;
        let id = id.to_string();
        let row = query("SELECT first_stage FROM versions WHERE job_id = ? AND version = ?")
            .bind(&id)
            .bind(version)
            .fetch_optional(&mut *table)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let first = super::rows::parse_stage(&row.try_get::<String, _>(0)?)?;
        let inherited =
            StageKind::ALL.into_iter().filter(|stage| stage >= &first && stage < heir_first);
        for stage in inherited {
            for hand_down in [
                "UPDATE artifacts SET version = ? WHERE job_id = ? AND version = ? AND stage = ?",
                "UPDATE stage_runs SET version = ? WHERE job_id = ? AND version = ? AND stage = ?",
            ] {
                query(hand_down)
                    .bind(heir)
                    .bind(&id)
                    .bind(version)
                    .bind(stage.as_str())
                    .execute(&mut *table)
                    .await?;
            }
        }
        if first < *heir_first {
            query("UPDATE versions SET first_stage = ? WHERE job_id = ? AND version = ?")
                .bind(first.as_str())
                .bind(&id)
                .bind(heir)
                .execute(&mut *table)
                .await?;
        }
        let rows = query("SELECT file FROM artifacts WHERE job_id = ? AND version = ?")
            .bind(&id)
            .bind(version)
            .fetch_all(&mut *table)
            .await?;
        for forget in [
            "DELETE FROM artifacts WHERE job_id = ? AND version = ?",
            "DELETE FROM stage_runs WHERE job_id = ? AND version = ?",
            "DELETE FROM versions WHERE job_id = ? AND version = ?",
        ] {
            query(forget).bind(&id).bind(version).execute(&mut *table).await?;
        }
        Ok(Some(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?))
    }
}

struct Forget(Run);

impl Operation for Forget {
    type Output = ();

    async fn apply(&self, table: &mut SqliteConnection) -> Result<(), JobError> {
        query("DELETE FROM artifacts WHERE job_id = ? AND version = ? AND stage = ?")
            .bind(self.0.id.to_string())
            .bind(self.0.version)
            .bind(self.0.stage.as_str())
            .execute(table)
            .await?;
        Ok(())
    }
}
