//! The JSON interface, version 1: one file a resource.
//!
//! Called by `router` only. Errors are [`super::error::WebError`].

pub(super) mod artifacts;
pub(super) mod events;
pub(super) mod export;
pub(super) mod health;
pub(super) mod jobs;
pub(super) mod versions;
pub(super) mod watch;

use axum::http::StatusCode;

use crate::jobs::{Job, JobId};

use super::error::WebError;
use super::state::AppState;

/// The job that a path names.
///
/// # Errors
/// 404 when the id is malformed or unknown: to a client both mean that nothing is there.
pub(super) async fn find_job(state: &AppState, id: &str) -> Result<Job, WebError> {
    let id: JobId = id.parse()?;
    state.store.get(id).await?.ok_or_else(WebError::no_such_job)
}

/// The job that a path names, as it was in `version`, or in its newest.
///
/// # Errors
/// 404 when there is no such job or version.
pub(super) async fn find_shown(
    state: &AppState,
    id: &str,
    version: Option<u32>,
) -> Result<Job, WebError> {
    match version {
        Some(version) => find_version(state, id, version).await,
        None => find_job(state, id).await,
    }
}

/// The job that a path names, as it was in a version.
///
/// # Errors
/// 404 when there is no such job or version.
async fn find_version(state: &AppState, id: &str, version: u32) -> Result<Job, WebError> {
    let id: JobId = id.parse()?;
    state.store.get_version(id, version).await?.ok_or_else(no_such_version)
}

fn no_such_version() -> WebError {
    let message = "There is no such version of the job.";
    WebError::new(StatusCode::NOT_FOUND, "version_not_found", message)
}

/// Makes a library's error text a sentence.
fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    chars
        .next()
        .map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), chars.as_str()))
}
