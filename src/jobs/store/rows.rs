//! Rows of the table turned into what the rest of the program sees.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::super::{ArtifactRow, Job, JobError, JobFailure, JobId, RunFailure, StageRun, Version};
use crate::stage::{JobOptions, StageKind};

/// A job without its versions, runs and artifacts: only the newest version is known.
pub(super) fn job(row: &SqliteRow) -> Result<Job, JobError> {
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
        id: row.try_get::<String, _>("id")?.parse()?,
        state: row.try_get::<String, _>("state")?.parse()?,
        version: row.try_get("version")?,
        created_ms: row.try_get("created_ms")?,
        started_ms: row.try_get("started_ms")?,
        finished_ms: row.try_get("finished_ms")?,
        prompt_file: row.try_get("prompt_file")?,
        prompt_name: row.try_get("prompt_name")?,
        prompt_type: row.try_get("prompt_type")?,
        prompt_ms: row.try_get::<Option<i64>, _>("prompt_ms")?.map(|ms| ms as u64),
        prompt_bytes: row.try_get::<i64, _>("prompt_bytes")? as u64,
        options: JobOptions::default(),
        error,
        versions: Vec::new(),
        stages: Vec::new(),
        artifacts: Vec::new(),
    })
}

pub(super) fn version(row: &SqliteRow) -> Result<Version, JobError> {
    Ok(Version {
        version: row.try_get("version")?,
        first_stage: parse_stage(&row.try_get::<String, _>("first_stage")?)?,
        options: parse_json("options", &row.try_get::<String, _>("options")?)?,
        created_ms: row.try_get("created_ms")?,
    })
}

pub(super) fn stage_run(row: &SqliteRow) -> Result<StageRun, JobError> {
    let timing: Option<String> = row.try_get("timing")?;
    let error: Option<String> = row.try_get("error")?;
    Ok(StageRun {
        stage: parse_stage(&row.try_get::<String, _>("stage")?)?,
        version: row.try_get("version")?,
        state: row.try_get::<String, _>("state")?.parse()?,
        attempt: row.try_get("attempt")?,
        due_ms: row.try_get("due_ms")?,
        started_ms: row.try_get("started_ms")?,
        finished_ms: row.try_get("finished_ms")?,
        timing: timing.map(|json| parse_json("timing", &json)).transpose()?,
        error: error.map(|json| parse_json::<RunFailure>("error", &json)).transpose()?,
    })
}

pub(super) fn artifact(row: &SqliteRow) -> Result<ArtifactRow, JobError> {
    Ok(ArtifactRow {
        stage: parse_stage(&row.try_get::<String, _>("stage")?)?,
        version: row.try_get("version")?,
        file: row.try_get("file")?,
        media_type: row.try_get("media_type")?,
        size_bytes: row.try_get::<i64, _>("size_bytes")? as u64,
        sha256: row.try_get("sha256")?,
        duration_ms: row.try_get::<Option<i64>, _>("duration_ms")?.map(|ms| ms as u64),
    })
}

pub(super) fn id(row: &SqliteRow) -> Result<JobId, JobError> {
    row.try_get::<String, _>(0)?.parse()
}

pub(super) fn parse_stage(name: &str) -> Result<StageKind, JobError> {
    name.parse().map_err(|_| JobError::Corrupt { what: "stage", value: name.to_owned() })
}

fn parse_json<T: serde::de::DeserializeOwned>(
    what: &'static str,
    json: &str,
) -> Result<T, JobError> {
    serde_json::from_str(json).map_err(|_| JobError::Corrupt { what, value: json.to_owned() })
}
