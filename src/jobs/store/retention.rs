//! Which ended jobs are kept no longer.

use sqlx::{Row, query};

use super::super::{JobError, JobId};
use super::{JobStore, rows};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// How much history is kept. Zero sets no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Days after its end that a job is kept.
    pub days: u32,
    /// Most jobs that are kept, those that have not ended included.
    pub max_jobs: u32,
    /// Most bytes of recordings and results that are kept.
    pub max_bytes: u64,
}

impl JobStore {
    /// Deletes ended jobs, the one that ended first first, until `keep` holds. A job
    /// that waits or runs is never touched. Returns how many were deleted.
    ///
    /// # Errors
    /// When the table or the disk fails.
    pub async fn apply(&self, keep: &Retention) -> Result<usize, JobError> {
        if *keep == Retention::default() {
            // Nothing is limited; adding up all of history would be for nothing.
            return Ok(0);
        }
        let ended = self.ended().await?;
        let (mut jobs, mut bytes) = self.totals().await?;
        let oldest_ms = self.now_ms() - i64::from(keep.days) * DAY_MS;
        let mut deleted = 0;
        for Ended { id, finished_ms, size_bytes } in ended {
            let too_old = keep.days > 0 && finished_ms < oldest_ms;
            let too_many = keep.max_jobs > 0 && jobs > u64::from(keep.max_jobs);
            let too_large = keep.max_bytes > 0 && bytes > keep.max_bytes;
            if !(too_old || too_many || too_large) {
                break;
            }
            // It may have been queued again since the list was made.
            if self.delete_if_ended(id).await? {
                jobs -= 1;
                bytes = bytes.saturating_sub(size_bytes);
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// Ended jobs, the one that ended first first.
    async fn ended(&self) -> Result<Vec<Ended>, JobError> {
        let rows = query(
            "SELECT id, finished_ms, prompt_bytes + \
             (SELECT coalesce(sum(size_bytes), 0) FROM artifacts WHERE job_id = id) AS size_bytes \
             FROM jobs WHERE finished_ms IS NOT NULL ORDER BY finished_ms, id",
        )
        .fetch_all(&self.0.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Ended {
                    id: rows::id(row)?,
                    finished_ms: row.try_get("finished_ms")?,
                    size_bytes: row.try_get::<i64, _>("size_bytes")? as u64,
                })
            })
            .collect()
    }

    /// How many jobs there are, and the bytes of all of them.
    async fn totals(&self) -> Result<(u64, u64), JobError> {
        let row = query(
            "SELECT (SELECT count(*) FROM jobs), \
             (SELECT coalesce(sum(prompt_bytes), 0) FROM jobs) + \
             (SELECT coalesce(sum(size_bytes), 0) FROM artifacts)",
        )
        .fetch_one(&self.0.readers)
        .await?;
        Ok((row.try_get::<i64, _>(0)? as u64, row.try_get::<i64, _>(1)? as u64))
    }
}

struct Ended {
    id: JobId,
    finished_ms: i64,
    size_bytes: u64,
}
