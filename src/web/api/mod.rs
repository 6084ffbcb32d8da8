//! The JSON interface, version 1: one file a resource.
//!
//! Called by `router` only. Errors are [`super::error::WebError`].

pub(super) mod artifacts;
pub(super) mod events;
pub(super) mod health;
pub(super) mod jobs;
pub(super) mod versions;

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
