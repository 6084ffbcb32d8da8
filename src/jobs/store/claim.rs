//! A worker takes on the stage run whose turn it is.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Row, query};

use super::super::fault::{self, Point};
use super::super::{Job, JobError, JobEventKind, JobState};
use super::rows::parse_stage;
use super::writer::Operation;
use super::{JobStore, Run};

/// A stage run that a worker has taken on.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The job in the version that is to be made.
    pub job: Job,
    /// Which run.
    pub run: Run,
    /// How often it was started, this time included.
    pub attempt: u32,
    /// How long the run had been due.
    pub queue_ms: u64,
}

impl JobStore {
    /// Takes on the due stage run of the job that was queued first.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn claim(&self) -> Result<Option<Claim>, JobError> {
        fault::reach(Point::BeforeClaim).map_err(JobError::io("taking on a stage"))?;
        let now = self.now_ms();
        let Some(taken) = self.0.writer.run(Take { now }).await? else { return Ok(None) };
        self.claimed(taken).await
    }

    /// Makes known what a worker has taken on, and reads the job for it.
    pub(super) async fn claimed(&self, taken: Taken) -> Result<Option<Claim>, JobError> {
        let run = taken.run;
        let claim = self.begin(taken).await;
        if claim.is_err() {
            // Otherwise it would count as running until the next start, and nobody run it.
            self.put_back(run).await?;
        }
        claim
    }

    async fn begin(&self, taken: Taken) -> Result<Option<Claim>, JobError> {
        let Taken { run, attempt, queue_ms, job_begins } = taken;
        fault::reach(Point::StageStarted).map_err(JobError::io("taking on a stage"))?;
        // Another worker may find more to do.
        self.wake();
        if job_begins {
            self.0.events.send(run.id, JobEventKind::Job { state: JobState::Running });
        }
        let started = JobEventKind::Stage { stage: run.stage, state: JobState::Running };
        self.0.events.send(run.id, started);
        let job = self.get_version(run.id, run.version).await?;
        Ok(job.map(|job| Claim { job, run, attempt, queue_ms }))
    }

    /// When the next stage run that waits for its time becomes due.
    pub(in crate::jobs) async fn next_due_ms(&self) -> Result<Option<i64>, JobError> {
        let row = query("SELECT min(due_ms) FROM stage_runs WHERE state = 'queued'")
            .fetch_one(&self.0.readers)
            .await?;
        Ok(row.try_get(0)?)
    }
}

pub(super) struct Take {
    pub now: i64,
}

pub(super) struct Taken {
    run: Run,
    attempt: u32,
    queue_ms: u64,
    /// Whether this is the job's first stage run since it was queued.
    job_begins: bool,
}

impl Operation for Take {
    type Output = Option<Taken>;

    async fn apply(&self, table: &mut SqliteConnection) -> Result<Self::Output, JobError> {
        let taken = query(
            "UPDATE stage_runs SET state = 'running', attempt = attempt + 1, started_ms = ?1, \
             error = NULL WHERE (job_id, version, stage) = (SELECT job_id, version, stage \
             FROM stage_runs WHERE state = 'queued' AND due_ms <= ?1 \
             ORDER BY turn_ms, job_id LIMIT 1) \
             RETURNING job_id, version, stage, attempt, due_ms, \
             (SELECT state = 'queued' FROM jobs WHERE id = job_id) AS job_begins",
        )
        .bind(self.now)
        .fetch_optional(&mut *table)
        .await?;
        let Some(row) = taken else { return Ok(None) };
        let run = Run {
            id: row.try_get::<String, _>("job_id")?.parse()?,
            version: row.try_get("version")?,
            stage: parse_stage(&row.try_get::<String, _>("stage")?)?,
        };
        let job_begins = row.try_get("job_begins")?;
        if job_begins {
            query(
                "UPDATE jobs SET state = 'running', started_ms = coalesce(started_ms, ?) \
                 WHERE id = ?",
            )
            .bind(self.now)
            .bind(run.id.to_string())
            .execute(table)
            .await?;
        }
        let queue_ms = (self.now - row.try_get::<i64, _>("due_ms")?).max(0) as u64;
        Ok(Some(Taken { run, attempt: row.try_get("attempt")?, queue_ms, job_begins }))
    }
}
