//! `/api/v1/jobs/{id}/…`: go on with a job that failed, run one again with other
//! options, and look after the versions that come of it.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::super::body::JsonBody;
use super::super::error::{ErrorBody, WebError};
use super::super::options;
use super::super::state::AppState;
use super::{find_job, find_version, no_such_version, sentence};
use crate::jobs::{Job, JobId};
use crate::stage::StageKind;

/// Goes on with a failed or canceled job where it stopped.
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/retry", tag = "Jobs",
    params(("id" = String, Path, description = "The job")),
    responses(
        (status = 202, description = "Queued again", body = Job),
        (status = 404, description = "There is no such job", body = ErrorBody),
        (status = 409, description = "The job has not failed", body = ErrorBody),
        (status = 429, description = "Too many jobs wait", body = ErrorBody),
        (status = 507, description = "The disk is full", body = ErrorBody),
    )
)]
pub(in crate::web) async fn retry(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Job>), WebError> {
    let id: JobId = id.parse()?;
    queued(&state, id, state.store.retry(id).await?).await
}

/// What is to be run again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::web) struct RunAgain {
    /// The first stage to run; those before it are taken over.
    #[schema(value_type = StageKind)]
    from: String,
    /// Any fields of the job's options; the others stay as they were.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    options: Map<String, Value>,
}

/// Runs an ended job again from a stage, as a new version.
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/rerun", tag = "Jobs", request_body = RunAgain,
    params(("id" = String, Path, description = "The job")),
    responses(
        (status = 202, description = "Queued again", body = Job),
        (status = 400, description = "The request cannot be understood", body = ErrorBody),
        (status = 404, description = "There is no such job", body = ErrorBody),
        (status = 409, description = "The job has not ended", body = ErrorBody),
        (status = 413, description = "The request is too large", body = ErrorBody),
        (status = 415, description = "The request is not JSON", body = ErrorBody),
        (status = 422, description = "There is no such stage, or an option is not served", body = ErrorBody),
        (status = 429, description = "Too many jobs wait", body = ErrorBody),
        (status = 507, description = "The disk is full", body = ErrorBody),
    )
)]
pub(in crate::web) async fn run_again(
    State(state): State<AppState>,
    Path(id): Path<String>,
    JsonBody(wanted): JsonBody<RunAgain>,
) -> Result<(StatusCode, Json<Job>), WebError> {
    let job = find_job(&state, &id).await?;
    let from: StageKind = wanted.from.parse().map_err(|message: String| {
        WebError::unprocessable("unknown_stage", sentence(&message)).param("from")
    })?;
    let options = options::change(&state.config, &job.options, wanted.options)?;
    queued(&state, job.id, state.store.run_from(job.id, from, options).await?).await
}

/// A job as it was in a version.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}/versions/{version}", tag = "Jobs",
    params(
        ("id" = String, Path, description = "The job"),
        ("version" = u32, Path, description = "Which version, from 1"),
    ),
    responses(
        (status = 200, description = "The job", body = Job),
        (status = 404, description = "There is no such job or version", body = ErrorBody),
    )
)]
pub(in crate::web) async fn show(
    State(state): State<AppState>,
    Path((id, version)): Path<(String, String)>,
) -> Result<Json<Job>, WebError> {
    Ok(Json(find_version(&state, &id, parse(&version)?).await?))
}

/// Removes a version that is not the newest.
#[utoipa::path(
    delete, path = "/api/v1/jobs/{id}/versions/{version}", tag = "Jobs",
    params(
        ("id" = String, Path, description = "The job"),
        ("version" = u32, Path, description = "Which version, from 1"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such job or version", body = ErrorBody),
        (status = 409, description = "It is the newest, or the job has not ended", body = ErrorBody),
    )
)]
pub(in crate::web) async fn remove(
    State(state): State<AppState>,
    Path((id, version)): Path<(String, String)>,
) -> Result<StatusCode, WebError> {
    if state.store.delete_version(id.parse()?, parse(&version)?).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(no_such_version())
    }
}

async fn queued(
    state: &AppState,
    id: JobId,
    known: bool,
) -> Result<(StatusCode, Json<Job>), WebError> {
    if !known {
        return Err(WebError::no_such_job());
    }
    let job = state.store.get(id).await?.ok_or_else(WebError::no_such_job)?;
    Ok((StatusCode::ACCEPTED, Json(job)))
}

fn parse(version: &str) -> Result<u32, WebError> {
    version.parse().map_err(|_| no_such_version())
}
