//! Reading the table: one job, a page of jobs, what recovery wants to know.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, query};

use super::super::{ArtifactRow, Job, JobCounts, JobError, JobFilter, JobId, JobState};
use super::rows;
use super::{JobStore, Run};

/// Words of a search that are looked for; those after them are not.
const MOST_WORDS: usize = 16;

impl JobStore {
    /// One job in its newest version.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn get(&self, id: JobId) -> Result<Option<Job>, JobError> {
        self.read(id, None).await
    }

    /// One job as it is in `version`.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn get_version(&self, id: JobId, version: u32) -> Result<Option<Job>, JobError> {
        self.read(id, Some(version)).await
    }

    async fn read(&self, id: JobId, version: Option<u32>) -> Result<Option<Job>, JobError> {
        let row = query(rows::select_job!("WHERE id = ?"))
            .bind(id.to_string())
            .fetch_optional(&self.0.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let mut job = rows::job(&row)?;
        let version = version.unwrap_or(job.version);
        job.show(version);
        let known = job.versions.iter().any(|it| it.version == version);
        Ok(known.then_some(job))
    }

    /// Up to `limit` jobs, newest first, older than `before`, each in its newest version.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn list(&self, before: Option<JobId>, limit: u32) -> Result<Vec<Job>, JobError> {
        self.list_where(&JobFilter { before, ..JobFilter::default() }, limit).await
    }

    /// Up to `limit` jobs that `filter` means, newest first, each in its newest version.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn list_where(&self, filter: &JobFilter, limit: u32) -> Result<Vec<Job>, JobError> {
        self.rows_where(filter, limit).await?.iter().map(newest).collect()
    }

    async fn rows_where(&self, filter: &JobFilter, limit: u32) -> Result<Vec<SqliteRow>, JobError> {
        let rows = query(rows::select_job!(
            "WHERE id < ?1 AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR created_ms >= ?4) \
             ORDER BY id DESC LIMIT ?2"
        ))
        .bind(before_or_all(filter.before))
        .bind(limit)
        .bind(filter.state.map(JobState::as_str))
        .bind(filter.since_ms)
        .fetch_all(&self.0.readers)
        .await?;
        Ok(rows)
    }

    /// Up to `limit` jobs, newest first, older than `before`, each with the stage runs of all its
    /// versions.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn list_whole(
        &self,
        before: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<Job>, JobError> {
        let rows = self.rows_where(&JobFilter { before, ..JobFilter::default() }, limit).await?;
        let whole = |row: &SqliteRow| {
            let mut job = rows::job(row)?;
            job.stages.sort_by_key(|run| (run.version, run.stage));
            Ok(job)
        };
        rows.iter().map(whole).collect()
    }

    /// Up to `limit` jobs, newest first, older than `before`, in whose texts words begin with
    /// all those of `wanted`, or whose prompt's name holds `wanted` as it stands.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn search(
        &self,
        wanted: &str,
        before: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<Job>, JobError> {
        // In quotes nothing of the index's own language has a meaning.
        let words = wanted.split(|character: char| !character.is_alphanumeric());
        let words = words.filter(|word| !word.is_empty()).take(MOST_WORDS);
        let all_words = words.map(|word| format!("\"{word}\"*")).collect::<Vec<_>>().join(" ");
        let rows = query(rows::select_job!(
            "WHERE id < ?1 AND (instr(lower(prompt_name), lower(?4)) > 0 OR id IN ( \
             SELECT job_id FROM texts WHERE ?3 <> '' AND id IN ( \
             SELECT rowid FROM text_index WHERE text_index MATCH ?3))) \
             ORDER BY id DESC LIMIT ?2"
        ))
        .bind(before_or_all(before))
        .bind(limit)
        .bind(all_words)
        .bind(wanted)
        .fetch_all(&self.0.readers)
        .await?;
        rows.iter().map(newest).collect()
    }

    /// How many jobs there are.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn counts(&self) -> Result<JobCounts, JobError> {
        let row = query(
            "SELECT count(*), count(*) FILTER (WHERE state = 'queued'), \
             count(*) FILTER (WHERE state = 'running'), \
             count(*) FILTER (WHERE state = 'succeeded'), \
             count(*) FILTER (WHERE state = 'failed'), \
             count(*) FILTER (WHERE state = 'canceled'), \
             (SELECT min(due_ms) FROM stage_runs WHERE state = 'queued') FROM jobs",
        )
        .fetch_one(&self.0.readers)
        .await?;
        Ok(JobCounts {
            all: row.try_get(0)?,
            queued: row.try_get(1)?,
            running: row.try_get(2)?,
            succeeded: row.try_get(3)?,
            failed: row.try_get(4)?,
            canceled: row.try_get(5)?,
            oldest_queued_ms: row.try_get(6)?,
        })
    }

    /// Every artifact of a job, in whatever version it was made.
    pub(in crate::jobs) async fn artifacts(&self, id: JobId) -> Result<Vec<ArtifactRow>, JobError> {
        let row = query(rows::SELECT_ARTIFACTS)
            .bind(id.to_string())
            .fetch_optional(&self.0.readers)
            .await?;
        row.map_or(Ok(Vec::new()), |row| rows::json("artifacts", &row))
    }

    /// Ids of all jobs.
    pub(in crate::jobs) async fn ids(&self) -> Result<Vec<JobId>, JobError> {
        let rows = query("SELECT id FROM jobs ORDER BY id").fetch_all(&self.0.readers).await?;
        rows.iter().map(rows::id).collect()
    }

    /// Stage runs that were running when the last process ended, with the attempts made.
    pub(in crate::jobs) async fn interrupted(&self) -> Result<Vec<(Run, u32)>, JobError> {
        let rows =
            query("SELECT job_id, version, stage, attempt FROM stage_runs WHERE state = 'running'")
                .fetch_all(&self.0.readers)
                .await?;
        rows.iter()
            .map(|row| {
                let run = Run {
                    id: rows::id(row)?,
                    version: row.try_get("version")?,
                    stage: rows::parse_stage(&row.try_get::<String, _>("stage")?)?,
                };
                Ok((run, row.try_get("attempt")?))
            })
            .collect()
    }
}

/// A UUIDv7 sorts by time; `~` sorts after every id.
fn before_or_all(before: Option<JobId>) -> String {
    before.map_or_else(|| "~".to_owned(), |id| id.to_string())
}

/// A job as its newest version shows it.
fn newest(row: &SqliteRow) -> Result<Job, JobError> {
    let mut job = rows::job(row)?;
    job.show(job.version);
    Ok(job)
}
