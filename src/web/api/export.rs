//! `GET /api/v1/jobs.csv` and `/api/v1/jobs.json`: what every stage of every job cost.

use std::io;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::error::WebError;
use super::super::state::AppState;
use crate::jobs::{Job, JobId, JobStore, StageRun};

/// Jobs that are read at once.
const PAGE: u32 = 200;

/// A stage run, flat.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct StageRow {
    job: String,
    job_state: &'static str,
    created_ms: i64,
    target: String,
    template: String,
    version: u32,
    stage: &'static str,
    state: &'static str,
    attempt: u32,
    started_ms: Option<i64>,
    finished_ms: Option<i64>,
    queue_ms: Option<u64>,
    load_ms: Option<u64>,
    run_ms: Option<u64>,
    audio_ms: Option<u64>,
    real_time_factor: Option<f64>,
    tokens: Option<u64>,
    unit: Option<String>,
    device: Option<String>,
    model: Option<String>,
}

impl StageRow {
    /// Names of the columns, in the order of the fields.
    const NAMES: [&'static str; 20] = [
        "job",
        "job_state",
        "created_ms",
        "target",
        "template",
        "version",
        "stage",
        "state",
        "attempt",
        "started_ms",
        "finished_ms",
        "queue_ms",
        "load_ms",
        "run_ms",
        "audio_ms",
        "real_time_factor",
        "tokens",
        "unit",
        "device",
        "model",
    ];

    fn new(job: &Job, run: &StageRun) -> Self {
        let timing = run.timing.as_ref();
        let version = job.versions.iter().find(|it| it.version == run.version);
        let options = version.map_or(&job.options, |version| &version.options);
        Self {
            job: job.id.to_string(),
            job_state: job.state.as_str(),
            created_ms: job.created_ms,
            target: options.target.clone(),
            template: options.template.clone(),
            version: run.version,
            stage: run.stage.as_str(),
            state: run.state.as_str(),
            attempt: run.attempt,
            started_ms: run.started_ms,
            finished_ms: run.finished_ms,
            queue_ms: timing.map(|it| it.queue_ms),
            load_ms: timing.map(|it| it.load_ms),
            run_ms: timing.map(|it| it.run_ms),
            audio_ms: timing.and_then(|it| it.audio_ms),
            real_time_factor: timing.and_then(crate::stage::Timing::real_time_factor),
            tokens: timing.and_then(|it| it.tokens),
            unit: timing.and_then(|it| it.unit.clone()),
            device: timing.map(|it| it.device.clone()),
            model: timing.map(|it| it.model.clone()),
        }
    }
}

/// All stage runs, newest job first, page by page: a long history does not fit in memory twice.
fn rows(store: JobStore) -> impl Stream<Item = io::Result<Vec<StageRow>>> {
    let read = |(store, before): (JobStore, Option<JobId>)| async move {
        let jobs = store.list_whole(before, PAGE).await.map_err(io::Error::other)?;
        let Some(last) = jobs.last() else { return Ok(None) };
        let before = Some(last.id);
        let rows = jobs.iter().flat_map(|job| job.stages.iter().map(|run| StageRow::new(job, run)));
        Ok(Some((rows.collect(), (store, before))))
    };
    stream::try_unfold((store, None), read)
}

fn respond(kind: &'static str, name: &'static str, body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}

/// What every stage of every job cost, as a table.
#[utoipa::path(
    get, path = "/api/v1/jobs.csv", tag = "Jobs",
    responses((status = 200, description = "One line for each stage run", body = String, content_type = "text/csv"))
)]
pub(in crate::web) async fn csv(State(state): State<AppState>) -> Result<Response, WebError> {
    let mut heading = Some(StageRow::NAMES);
    // A page without rows, so that the headings stand there even where no job does.
    let pages = stream::once(async { Ok(Vec::new()) }).chain(rows(state.store)).map(move |page| {
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        if let Some(names) = heading.take() {
            writer.write_record(names).map_err(io::Error::other)?;
        }
        for row in page? {
            writer.serialize(row).map_err(io::Error::other)?;
        }
        writer.into_inner().map(Bytes::from).map_err(|error| io::Error::other(error.to_string()))
    });
    let name = "attachment; filename=\"jobs.csv\"";
    Ok(respond("text/csv; charset=utf-8", name, Body::from_stream(pages)))
}

/// What every stage of every job cost, as JSON.
#[utoipa::path(
    get, path = "/api/v1/jobs.json", tag = "Jobs",
    responses((status = 200, description = "One object for each stage run", body = Vec<StageRow>))
)]
pub(in crate::web) async fn json(State(state): State<AppState>) -> Result<Response, WebError> {
    let mut separator: &[u8] = b"[\n";
    let pages = rows(state.store).map(Some).chain(stream::once(async { None }));
    let text = pages.map(move |page| {
        let mut text = Vec::new();
        let Some(page) = page else {
            // Without a row the list was never opened.
            let end: &[u8] = if separator.starts_with(b"[") { b"[]\n" } else { b"\n]\n" };
            return Ok::<_, io::Error>(Bytes::from_static(end));
        };
        for row in page? {
            text.extend_from_slice(separator);
            separator = b",\n";
            serde_json::to_writer(&mut text, &row)?;
        }
        Ok(Bytes::from(text))
    });
    let name = "attachment; filename=\"jobs.json\"";
    Ok(respond("application/json", name, Body::from_stream(text)))
}
