//! `/api/v1/jobs/{id}/…`: go on with a job that failed, run one again with other
//! options, and look after the versions that come of it.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::error::WebError;
use super::super::options;
use super::super::state::AppState;
use super::{find_job, find_version, no_such_version, sentence};
use crate::jobs::{Job, JobId};
use crate::stage::StageKind;

/// `POST /api/v1/jobs/{id}/retry`: goes on with a failed or canceled job where it stopped.
pub(in crate::web) async fn retry(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Job>), WebError> {
    let id: JobId = id.parse()?;
    queued(&state, id, state.store.retry(id).await?).await
}

/// What is to be run again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::web) struct RunAgain {
    /// The first stage to run; those before it are taken over.
    from: String,
    /// Any fields of the job's options; the others stay as they were.
    #[serde(default)]
    options: Map<String, Value>,
}

/// `POST /api/v1/jobs/{id}/rerun` with `{"from": …, "options": {…}}`: runs an ended job
/// again from a stage, as a new version.
pub(in crate::web) async fn run_again(
    State(state): State<AppState>,
    Path(id): Path<String>,
    body: Result<Json<RunAgain>, JsonRejection>,
) -> Result<(StatusCode, Json<Job>), WebError> {
    let Json(wanted) =
        body.map_err(|error| WebError::bad_request("bad_json", format!("{}.", error.body_text())))?;
    let job = find_job(&state, &id).await?;
    let from: StageKind = wanted.from.parse().map_err(|message: String| {
        WebError::unprocessable("unknown_stage", sentence(&message)).param("from")
    })?;
    let options = options::change(&state.config, &job.options, wanted.options)?;
    queued(&state, job.id, state.store.run_from(job.id, from, options).await?).await
}

/// `GET /api/v1/jobs/{id}/versions/{version}`: the job as it was in that version.
pub(in crate::web) async fn show(
    State(state): State<AppState>,
    Path((id, version)): Path<(String, String)>,
) -> Result<Json<Job>, WebError> {
    Ok(Json(find_version(&state, &id, parse(&version)?).await?))
}

/// `DELETE /api/v1/jobs/{id}/versions/{version}`: removes a version that is not the newest.
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
