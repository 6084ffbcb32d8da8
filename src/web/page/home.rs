//! `GET /`: the recorder and the table of jobs.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Html;
use serde::Deserialize;

use super::super::error::{PageError, WebError};
use super::super::state::{AppState, WebConfig};
use super::job_row::JobRow;
use crate::jobs::{JobId, Readiness};

/// Rows on one page.
const ROWS: u32 = 30;

/// Which part of the table is shown.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct HomeQuery {
    before: Option<String>,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    config: &'a WebConfig,
    readiness: Readiness,
    rows: Vec<JobRow>,
    /// Whether newer jobs are on another page.
    is_older_part: bool,
    /// Where the next part of the table begins.
    older: Option<JobId>,
}

/// Renders the page.
pub(in crate::web) async fn show(
    State(state): State<AppState>,
    Query(query): Query<HomeQuery>,
) -> Result<Html<String>, PageError> {
    let before: Option<JobId> =
        query.before.map(|id| id.parse()).transpose().map_err(|_| WebError::no_such_job())?;
    // One more than is shown tells whether there is an older part.
    let mut jobs = state.store.list(before, ROWS + 1).await.map_err(WebError::from)?;
    let more = jobs.len() > ROWS as usize;
    jobs.truncate(ROWS as usize);
    let older = jobs.last().filter(|_| more).map(|job| job.id);
    let mut rows = Vec::with_capacity(jobs.len());
    for job in &jobs {
        rows.push(JobRow::new(&state, job).await);
    }
    let page = Home {
        config: &state.config,
        readiness: state.readiness.borrow().clone(),
        rows,
        is_older_part: before.is_some(),
        older,
    };
    Ok(Html(page.render()?))
}
