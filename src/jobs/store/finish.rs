//! How a stage run ended: with a result, with an error, or put back to run again.

use serde_json::json;
use sqlx::query;
use sqlx::sqlite::SqliteConnection;

use super::super::fault::{self, Point};
use super::super::{JobError, JobEventKind, JobId, JobState, StoredArtifact};
use super::claim::{Take, Taken};
use super::writer::Operation;
use super::{Claim, JobStore, Run};
use crate::stage::{ErrorCode, StageError, Timing};

impl JobStore {
    /// Ends a stage run with its artifact and makes the next stage due, or ends the job.
    /// Returns false if the job was canceled or deleted meanwhile.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn succeed(
        &self,
        run: Run,
        artifact: &StoredArtifact,
        timing: &Timing,
    ) -> Result<bool, JobError> {
        let succeed = self.success(run, artifact, timing);
        let recorded = self.0.writer.run(succeed).await?;
        if recorded {
            self.tell_success(run)?;
        }
        Ok(recorded)
    }

    /// As [`JobStore::succeed`] followed by [`JobStore::claim`], in one transaction: one wait
    /// for the disk less a stage.
    ///
    /// # Errors
    /// When the table fails. The outer error says that neither was done, the inner one that
    /// only the end is recorded.
    pub async fn succeed_and_claim(
        &self,
        run: Run,
        artifact: &StoredArtifact,
        timing: &Timing,
    ) -> Result<(bool, Result<Option<Claim>, JobError>), JobError> {
        fault::reach(Point::BeforeClaim).map_err(JobError::io("taking on a stage"))?;
        let succeed = self.success(run, artifact, timing);
        let take = Take { now: succeed.now };
        let (recorded, taken) = self.0.writer.run(SucceedAndTake { succeed, take }).await?;
        let told = if recorded { self.tell_success(run) } else { Ok(()) };
        let claim = match taken {
            Some(taken) => self.claimed(taken).await,
            None => Ok(None),
        };
        Ok((recorded, told.and(claim)))
    }

    fn success(&self, run: Run, artifact: &StoredArtifact, timing: &Timing) -> Succeed {
        let timing = serde_json::to_string(timing).expect("a timing has only strings and numbers");
        Succeed { run, artifact: artifact.clone(), timing, now: self.now_ms() }
    }

    fn tell_success(&self, run: Run) -> Result<(), JobError> {
        let Run { id, stage, .. } = run;
        self.0.events.send(id, JobEventKind::Stage { stage, state: JobState::Succeeded });
        if stage.next().is_none() {
            fault::reach(Point::JobFinished).map_err(JobError::io("finishing"))?;
            self.0.events.send(id, JobEventKind::Job { state: JobState::Succeeded });
        }
        Ok(())
    }

    /// Ends a stage run and its job with an error, or as canceled.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn fail(&self, run: Run, error: &StageError) -> Result<(), JobError> {
        let fail = Fail { run, error: error.clone(), now: self.now_ms() };
        let state = fail.state();
        if !self.0.writer.run(fail).await? {
            // It was canceled or deleted meanwhile, which was told already.
            return Ok(());
        }
        self.0.events.send(run.id, JobEventKind::Stage { stage: run.stage, state });
        self.0.events.send(run.id, JobEventKind::Job { state });
        Ok(())
    }

    /// Queues a stage run again whose failure may pass, not to be started before `due_ms`.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn try_again_at(
        &self,
        run: Run,
        error: &StageError,
        due_ms: i64,
    ) -> Result<(), JobError> {
        let error = json!({ "code": error.code, "message": error.message }).to_string();
        self.0.writer.run(PutBack { run, due_ms, error: Some(error), uncount: false }).await?;
        self.0
            .events
            .send(run.id, JobEventKind::Stage { stage: run.stage, state: JobState::Queued });
        self.wake();
        Ok(())
    }

    /// Queues a stage run again that was stopped through no fault of its own; the
    /// attempt does not count.
    pub(in crate::jobs) async fn put_back(&self, run: Run) -> Result<(), JobError> {
        let due_ms = self.now_ms();
        self.0.writer.run(PutBack { run, due_ms, error: None, uncount: true }).await?;
        self.wake();
        Ok(())
    }

    /// Queues a stage run again that the end of the last process interrupted; the
    /// attempt counts.
    pub(in crate::jobs) async fn queue_interrupted(&self, run: Run) -> Result<(), JobError> {
        let due_ms = self.now_ms();
        self.0.writer.run(PutBack { run, due_ms, error: None, uncount: false }).await
    }
}

struct Succeed {
    run: Run,
    artifact: StoredArtifact,
    timing: String,
    now: i64,
}

/// Ends a run that is going on, and records its artifact. The next stage has the same turn as
/// this one: a job once begun is finished first.
macro_rules! succeed_run {
    () => {
        "UPDATE stage_runs SET state = 'succeeded', finished_ms = $4, timing = $5 \
         WHERE job_id = $1 AND version = $2 AND stage = $3 AND state = 'running'; \
         INSERT OR REPLACE INTO artifacts \
         (job_id, version, stage, file, media_type, size_bytes, sha256, duration_ms) \
         SELECT $1, $2, $3, $6, $7, $8, $9, $11 WHERE changes() > 0; "
    };
}

/// Makes the artifact's text one that can be searched for.
macro_rules! insert_text {
    () => {
        "INSERT INTO texts (job_id, version, stage, text) \
         SELECT $1, $2, $3, $12 WHERE $12 IS NOT NULL AND changes() > 0"
    };
}

impl Operation for Succeed {
    type Output = bool;

    async fn apply(&self, table: &mut SqliteConnection) -> Result<bool, JobError> {
        let Self { run, artifact, timing, now } = self;
        // One query, because each costs two switches between threads: every statement goes on
        // only where the one before it changed something. `$` and not `?`, of which sqlx binds
        // too few where a statement leaves out numbers.
        let (statements, next) = match run.stage.next() {
            Some(next) => (
                concat!(
                    succeed_run!(),
                    "INSERT INTO stage_runs (job_id, version, stage, state, turn_ms, due_ms) \
                     SELECT job_id, version, $10, 'queued', turn_ms, $4 FROM stage_runs \
                     WHERE job_id = $1 AND version = $2 AND stage = $3 AND changes() > 0; ",
                    insert_text!()
                ),
                Some(next.as_str()),
            ),
            None => (
                concat!(
                    succeed_run!(),
                    "UPDATE jobs SET state = 'succeeded', finished_ms = $4 \
                     WHERE id = $1 AND changes() > 0; ",
                    insert_text!()
                ),
                None,
            ),
        };
        let changed = query(statements)
            .bind(run.id.to_string())
            .bind(run.version)
            .bind(run.stage.as_str())
            .bind(now)
            .bind(timing)
            .bind(&artifact.file)
            .bind(artifact.media_type)
            .bind(artifact.size_bytes as i64)
            .bind(&artifact.sha256)
            .bind(next)
            .bind(artifact.duration_ms.map(|ms| ms as i64))
            .bind(&artifact.text)
            .execute(table)
            .await?
            .rows_affected();
        Ok(changed > 0)
    }
}

struct SucceedAndTake {
    succeed: Succeed,
    take: Take,
}

impl Operation for SucceedAndTake {
    type Output = (bool, Option<Taken>);

    async fn apply(&self, table: &mut SqliteConnection) -> Result<Self::Output, JobError> {
        Ok((self.succeed.apply(table).await?, self.take.apply(table).await?))
    }
}

struct Fail {
    run: Run,
    error: StageError,
    now: i64,
}

impl Fail {
    fn state(&self) -> JobState {
        if self.error.code == ErrorCode::Canceled { JobState::Canceled } else { JobState::Failed }
    }
}

impl Operation for Fail {
    /// Whether the run was still going on.
    type Output = bool;

    async fn apply(&self, table: &mut SqliteConnection) -> Result<bool, JobError> {
        let Self { run, error, now } = self;
        let state = self.state();
        let failure = (state == JobState::Failed).then_some(error);
        if end_open_runs(table, run.id, state, *now).await? == 0 {
            return Ok(false);
        }
        query(
            "UPDATE jobs SET state = ?, finished_ms = ?, failed_stage = ?, error_code = ?, \
             error_message = ? WHERE id = ?",
        )
        .bind(state.as_str())
        .bind(now)
        .bind(failure.map(|_| run.stage.as_str()))
        .bind(failure.map(|error| error.code.as_str()))
        .bind(failure.map(|error| error.message.as_str()))
        .bind(run.id.to_string())
        .execute(table)
        .await?;
        Ok(true)
    }
}

struct PutBack {
    run: Run,
    due_ms: i64,
    /// JSON, why the attempt ended.
    error: Option<String>,
    /// Whether the attempt shall not count.
    uncount: bool,
}

impl Operation for PutBack {
    type Output = ();

    async fn apply(&self, table: &mut SqliteConnection) -> Result<(), JobError> {
        query(
            "UPDATE stage_runs SET state = 'queued', due_ms = ?, error = ?, \
             attempt = attempt - ? \
             WHERE job_id = ? AND version = ? AND stage = ? AND state = 'running'",
        )
        .bind(self.due_ms)
        .bind(&self.error)
        .bind(u32::from(self.uncount))
        .bind(self.run.id.to_string())
        .bind(self.run.version)
        .bind(self.run.stage.as_str())
        .execute(table)
        .await?;
        Ok(())
    }
}

/// Ends whatever of a job is queued or running, and returns how much that was.
pub(super) async fn end_open_runs(
    table: &mut SqliteConnection,
    id: JobId,
    state: JobState,
    now: i64,
) -> Result<u64, JobError> {
    let ended = query(
        "UPDATE stage_runs SET state = ?, finished_ms = ? \
         WHERE job_id = ? AND state IN ('queued', 'running')",
    )
    .bind(state.as_str())
    .bind(now)
    .bind(id.to_string())
    .execute(table)
    .await?;
    Ok(ended.rows_affected())
}
