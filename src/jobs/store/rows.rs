//! Rows of the table turned into what the rest of the program sees.
//!
//! A job is read in one query: its versions, runs and artifacts come with it as JSON that
//! SQLite puts together. Each query costs two switches between threads, and a page shows
//! dozens of jobs.

use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::super::{Job, JobError, JobId};
use crate::stage::StageKind;

/// A list of [`super::super::ArtifactRow`], for the job of the row at hand.
macro_rules! artifacts {
    () => {
        "(SELECT json_group_array(json_object('stage', stage, 'version', version, 'file', file, \
            'media_type', media_type, 'size_bytes', size_bytes, 'sha256', sha256, \
            'duration_ms', duration_ms)) FROM artifacts WHERE job_id = jobs.id)"
    };
}
pub(super) use artifacts;

/// Selects one column that [`job`] reads, of the jobs that the rest of the query says.
macro_rules! select_job {
    ($which:literal) => {
        concat!(
            "SELECT json_object('id', id, 'state', state, 'version', version, \
        'created_ms', created_ms, 'started_ms', started_ms, 'finished_ms', finished_ms, \
        'prompt_file', prompt_file, 'prompt_name', prompt_name, 'prompt_type', prompt_type, \
        'prompt_ms', prompt_ms, 'prompt_bytes', prompt_bytes, \
        'error', iif(failed_stage IS NULL, NULL, json_object('stage', failed_stage, \
            'code', error_code, 'message', error_message)), \
        'versions', (SELECT json_group_array(json_object('version', version, \
            'first_stage', first_stage, 'options', json(options), 'created_ms', created_ms) \
            ORDER BY version) FROM versions WHERE job_id = jobs.id), \
        'stages', (SELECT json_group_array(json_object('stage', stage, 'version', version, \
            'state', state, 'attempt', attempt, 'due_ms', due_ms, 'started_ms', started_ms, \
            'finished_ms', finished_ms, 'timing', json(timing), 'error', json(error))) \
            FROM stage_runs WHERE job_id = jobs.id), \
        'artifacts', ",
            $crate::jobs::store::rows::artifacts!(),
            ") FROM jobs ",
            $which
        )
    };
}
pub(super) use select_job;

/// Selects one column that [`json`] reads as the artifacts of all versions of a job.
pub(super) const SELECT_ARTIFACTS: &str =
    concat!("SELECT ", artifacts!(), " FROM jobs WHERE id = ?");

/// A job with the runs and artifacts of all its versions, of which one is to be shown.
pub(super) fn job(row: &SqliteRow) -> Result<Job, JobError> {
    json("job", row)
}

/// Reads the JSON in the first column.
pub(super) fn json<T: DeserializeOwned>(
    what: &'static str,
    row: &SqliteRow,
) -> Result<T, JobError> {
    let json: String = row.try_get(0)?;
    serde_json::from_str(&json)
        .map_err(|error| JobError::Corrupt { what, value: format!("{json} ({error})") })
}

pub(super) fn id(row: &SqliteRow) -> Result<JobId, JobError> {
    row.try_get::<String, _>(0)?.parse()
}

pub(super) fn parse_stage(name: &str) -> Result<StageKind, JobError> {
    name.parse().map_err(|_| JobError::Corrupt { what: "stage", value: name.to_owned() })
}
