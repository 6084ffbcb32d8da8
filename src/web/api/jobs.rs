//! `/api/v1/jobs`: submit, list, show, cancel and delete.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::json;

use super::super::error::{WebError, wants_page};
use super::super::state::AppState;
use super::super::upload;
use super::find_job;
use crate::jobs::{Job, JobId};

const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 100;

/// `POST /api/v1/jobs`: takes a recording and queues it. Programs get 202 with
/// the id; a form sent without JavaScript goes back to the page.
pub(in crate::web) async fn create(State(state): State<AppState>, request: Request) -> Response {
    let page = wants_page(request.headers());
    match upload::accept(&state, request).await {
        Ok(_) if page => Redirect::to("/").into_response(),
        Ok(id) => {
            let location = format!("/api/v1/jobs/{id}");
            (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(json!({ "id": id })))
                .into_response()
        }
        Err(error) if page => error.into_page(),
        Err(error) => error.into_response(),
    }
}

/// Which part of the table [`list`] gives.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::web) struct ListQuery {
    limit: Option<u32>,
    before: Option<String>,
}

/// `GET /api/v1/jobs?limit=&before=`: newest first; `next` is the `before` of
/// the following part, or null at the end.
pub(in crate::web) async fn list(
    State(state): State<AppState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<serde_json::Value>, WebError> {
    let Query(query) = query.map_err(|error| WebError::bad_query(&error))?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let message = format!("limit must be a number from 1 to {MAX_LIMIT}.");
        return Err(WebError::bad_request("bad_query", message).param("limit"));
    }
    let before = query.before.as_deref().map(parse_before).transpose()?;
    // One more than asked for tells whether there is a following part.
    let mut jobs = state.store.list(before, limit + 1).await?;
    let more = jobs.len() > limit as usize;
    jobs.truncate(limit as usize);
    let next = jobs.last().filter(|_| more).map(|job| job.id);
    Ok(Json(json!({ "jobs": jobs, "next": next })))
}

fn parse_before(id: &str) -> Result<JobId, WebError> {
    id.parse().map_err(|_| {
        WebError::bad_request("bad_query", "before must be the id of a job.").param("before")
    })
}

/// `GET /api/v1/jobs/{id}`.
pub(in crate::web) async fn show(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<Job>, WebError> {
    Ok(Json(find_job(&state, &id).await?))
}

/// `POST /api/v1/jobs/{id}/cancel`: asks the job to stop and shows it as it is
/// then. 409 when it is over already.
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

/// `DELETE /api/v1/jobs/{id}`: removes the job and its files, and stops it first if need be.
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
