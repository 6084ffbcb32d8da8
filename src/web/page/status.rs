//! `GET /status`: how the server is.

use askama::Template;
use axum::extract::State;

use super::super::error::{PageError, WebError};
use super::super::state::{AppState, WebConfig};
use super::super::words::Words;
use super::{Page, page, plot, show};
use crate::jobs::{Job, JobCounts, JobId, Readiness};
use crate::models::human_bytes;
use crate::stage::StageKind;

/// Jobs that the figures are taken from.
const LAST: u32 = 100;
/// Errors that are shown.
const ERRORS: usize = 10;

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage<'a> {
    w: &'static Words,
    config: &'a WebConfig,
    readiness: Readiness,
    build: &'static str,
    gpu: bool,
    counts: JobCounts,
    free: String,
    floor: String,
    stages: Vec<StageFigures>,
    errors: Vec<LastError>,
}

struct StageFigures {
    stage: StageKind,
    index: usize,
    median: String,
    device: String,
    model: String,
    course: String,
}

struct LastError {
    id: JobId,
    when: String,
    stage: StageKind,
    code: &'static str,
    message: String,
}

/// Renders the page.
pub(in crate::web) async fn show(
    State(state): State<AppState>,
    w: &'static Words,
) -> Result<Page, PageError> {
    let jobs = state.store.list(None, LAST).await.map_err(WebError::from)?;
    let counts = state.store.counts().await.map_err(WebError::from)?;
    let (free, floor) = state.store.disk().map_err(WebError::from)?;
    let last_error = |job: &Job| {
        let error = job.error.as_ref()?;
        Some(LastError {
            id: job.id,
            when: show::moment(job.finished_ms.unwrap_or(job.created_ms)).1,
            stage: error.stage,
            code: error.code.as_str(),
            message: error.message.clone(),
        })
    };
    page(&StatusPage {
        w,
        config: &state.config,
        readiness: state.readiness.borrow().clone(),
        build: env!("CARGO_PKG_VERSION"),
        gpu: cfg!(feature = "cuda"),
        counts,
        free: human_bytes(free),
        floor: human_bytes(floor),
        stages: StageKind::ALL.into_iter().filter_map(|stage| figures(w, stage, &jobs)).collect(),
        errors: jobs.iter().filter_map(last_error).take(ERRORS).collect(),
    })
}

/// What a stage took in `jobs`, newest first; `None` if it has not run.
fn figures(w: &Words, stage: StageKind, jobs: &[Job]) -> Option<StageFigures> {
    let timings: Vec<_> =
        jobs.iter().rev().filter_map(|job| job.stage(stage)?.timing.as_ref()).collect();
    let latest = timings.last()?;
    let run_ms: Vec<u64> = timings.iter().map(|timing| timing.run_ms).collect();
    Some(StageFigures {
        stage,
        index: stage as usize,
        median: show::length(median(run_ms.clone())),
        device: latest.device.clone(),
        model: latest.model.clone(),
        course: plot::course(stage, &run_ms, w),
    })
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![9, 1, 5]), 5);
        assert_eq!(median(Vec::new()), 0);
    }
}
