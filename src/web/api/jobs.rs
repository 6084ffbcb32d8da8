//! `/api/v1/jobs`: submit, list, show, cancel and delete.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::error::{ErrorBody, WebError, wants_page};
use super::super::state::AppState;
use super::super::upload;
use super::find_job;
use crate::jobs::{Job, JobFilter, JobId, JobState};

const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 100;

/// What a new job is called.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct Created {
    id: JobId,
}

/// A recording and what is to become of it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the form")]
pub(in crate::web) struct JobForm {
    /// The recording.
    #[schema(value_type = String, format = Binary)]
    file: String,
    /// Any fields of a job's options, as JSON; the fields below override them.
    options: Option<String>,
    /// Tag of what is spoken, or `auto`.
    language: Option<String>,
    /// Tag of the language to translate to.
    target: Option<String>,
    /// Name of a prompt template.
    template: Option<String>,
    /// Most tokens of the text.
    #[schema(minimum = 1, maximum = 8192)]
    max_tokens: Option<u32>,
    /// What to do with the transcript, in place of the template's words.
    instruction: Option<String>,
    /// The English voice.
    voice_en: Option<String>,
    /// The voice of the target language.
    voice: Option<String>,
}

/// Takes a recording and queues a job for it.
///
/// The body is a form, or the recording itself with the options in the query. The content
/// decides what kind of recording it is. With an `Idempotency-Key`, the same recording sent
/// again gives the same job. A browser that sends the form without a script is led back to the
/// page.
#[utoipa::path(
    post, path = "/api/v1/jobs", tag = "Jobs",
    params(("Idempotency-Key" = Option<String>, Header, description = "The client's word for this upload, at most 255 characters")),
    request_body(content((JobForm = "multipart/form-data"), (Vec<u8> = "audio/*"))),
    responses(
        (status = 202, description = "Queued; `Location` says where", body = Created),
        (status = 400, description = "The request cannot be understood", body = ErrorBody),
        (status = 408, description = "The upload stood still for too long", body = ErrorBody),
        (status = 413, description = "The recording is too large", body = ErrorBody),
        (status = 415, description = "This is no recording", body = ErrorBody),
        (status = 422, description = "The recording cannot be used, or an option is not served", body = ErrorBody),
        (status = 429, description = "Too many jobs or uploads; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "The disk is full", body = ErrorBody),
    )
)]
pub(in crate::web) async fn create(State(state): State<AppState>, request: Request) -> Response {
    let page = wants_page(request.headers());
    match upload::accept(&state, request).await {
        Ok(_) if page => Redirect::to("/").into_response(),
        Ok(id) => {
            let location = format!("/api/v1/jobs/{id}");
            (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(Created { id }))
                .into_response()
        }
        Err(error) if page => error.into_page(),
        Err(error) => error.into_response(),
    }
}

/// Which part of the table [`list`] gives.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::web) struct ListQuery {
    /// Most jobs in the answer; 20 when it is not named.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next` of the part before.
    #[param(format = "uuid")]
    cursor: Option<String>,
    /// Jobs in this state alone.
    #[param(value_type = Option<JobState>)]
    state: Option<String>,
    /// Jobs that were accepted then or later, such as `2026-01-31T12:00:00Z`.
    #[param(format = "date-time")]
    since: Option<String>,
}

/// A part of the table.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct JobList {
    jobs: Vec<Job>,
    /// The `cursor` of the following part, or null at the end.
    next: Option<JobId>,
}

/// Jobs, newest first.
#[utoipa::path(
    get, path = "/api/v1/jobs", tag = "Jobs", params(ListQuery),
    responses(
        (status = 200, description = "The jobs", body = JobList),
        (status = 400, description = "The query cannot be understood", body = ErrorBody),
    )
)]
pub(in crate::web) async fn list(
    State(state): State<AppState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<JobList>, WebError> {
    let Query(query) = query.map_err(|error| WebError::bad_query(&error))?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(bad_query("limit", format!("must be a number from 1 to {MAX_LIMIT}")));
    }
    let filter = filter(&query)?;
    // One more than asked for tells whether there is a following part.
    let mut jobs = state.store.list_where(&filter, limit + 1).await?;
    let more = jobs.len() > limit as usize;
    jobs.truncate(limit as usize);
    let next = jobs.last().filter(|_| more).map(|job| job.id);
    Ok(Json(JobList { jobs, next }))
}

fn filter(query: &ListQuery) -> Result<JobFilter, WebError> {
    let cursor = query.cursor.as_deref().map(str::parse).transpose();
    let state = query.state.as_deref().map(str::parse).transpose();
    let since = query.since.as_deref().map(str::parse::<jiff::Timestamp>).transpose();
    Ok(JobFilter {
        before: cursor.map_err(|_| bad_query("cursor", "must be the id of a job"))?,
        state: state.map_err(|_| {
            bad_query("state", "must be queued, running, succeeded, failed or canceled")
        })?,
        since_ms: since
            .map_err(|_| bad_query("since", "must be a time such as 2026-01-31T12:00:00Z"))?
            .map(jiff::Timestamp::as_millisecond),
    })
}

fn bad_query(param: &str, why: impl std::fmt::Display) -> WebError {
    WebError::bad_request("bad_query", format!("{param} {why}.")).param(param)
}

/// One job.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}", tag = "Jobs",
    params(("id" = String, Path, description = "The job")),
    responses(
        (status = 200, description = "The job in its newest version", body = Job),
        (status = 404, description = "There is no such job", body = ErrorBody),
    )
)]
pub(in crate::web) async fn show(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<Job>, WebError> {
    Ok(Json(find_job(&state, &id).await?))
}

/// Asks a job to stop and shows it as it is then.
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/cancel", tag = "Jobs",
    params(("id" = String, Path, description = "The job")),
    responses(
        (status = 200, description = "The job", body = Job),
        (status = 404, description = "There is no such job", body = ErrorBody),
        (status = 409, description = "The job is over already", body = ErrorBody),
    )
)]
pub(in crate::web) async fn cancel(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<Job>, WebError> {
    let job = find_job(&state, &id).await?;
    if !state.store.cancel(job.id).await? {
        return Err(WebError::new(StatusCode::CONFLICT, "job_over", "The job is over already."));
    }
    Ok(Json(find_job(&state, &id).await?))
}

/// Removes a job and its files, and stops it first if need be.
#[utoipa::path(
    delete, path = "/api/v1/jobs/{id}", tag = "Jobs",
    params(("id" = String, Path, description = "The job")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such job", body = ErrorBody),
    )
)]
pub(in crate::web) async fn remove(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<StatusCode, WebError> {
    if state.store.delete(id.parse()?).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(WebError::no_such_job())
    }
}
