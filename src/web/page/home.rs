//! `GET /`: the recorder and the table of jobs, or the part of it that a search finds.

use askama::Template;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::super::error::{PageError, WebError};
use super::super::state::{AppState, WebConfig};
use super::super::words::Words;
use super::job_row::JobRow;
use super::{LENGTHS, Page, page};
use crate::jobs::{JobId, Readiness};
use crate::stage::JobOptions;

/// Rows on one page.
const ROWS: u32 = 30;

/// Which part of the table is shown.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct HomeQuery {
    before: Option<String>,
    #[serde(default)]
    q: String,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    w: &'static Words,
    config: &'a WebConfig,
    options: &'a JobOptions,
    readiness: Readiness,
    rows: Vec<JobRow>,
    /// What is searched for; empty for everything.
    query: &'a str,
    /// Whether there are newer jobs, or others, than the ones shown.
    is_part: bool,
    /// Where the next part of the table begins.
    older: Option<JobId>,
}

/// Renders the page.
pub(in crate::web) async fn show(
    State(state): State<AppState>,
    w: &'static Words,
    Query(query): Query<HomeQuery>,
) -> Result<Page, PageError> {
    let before: Option<JobId> =
        query.before.map(|id| id.parse()).transpose().map_err(|_| WebError::no_such_job())?;
    let wanted = query.q.trim();
    // One more than is shown tells whether there is an older part.
    let jobs = if wanted.is_empty() {
        state.store.list(before, ROWS + 1).await
    } else {
        state.store.search(wanted, before, ROWS + 1).await
    };
    let mut jobs = jobs.map_err(WebError::from)?;
    let more = jobs.len() > ROWS as usize;
    jobs.truncate(ROWS as usize);
    let older = jobs.last().filter(|_| more).map(|job| job.id);
    let mut rows = Vec::with_capacity(jobs.len());
    for job in &jobs {
        rows.push(JobRow::new(&state, w, job).await);
    }
    page(&Home {
        w,
        config: &state.config,
        options: &state.config.defaults,
        readiness: state.readiness.borrow().clone(),
        rows,
        query: wanted,
        is_part: before.is_some() || !wanted.is_empty(),
        older,
    })
}
