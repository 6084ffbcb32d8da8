//! `/metrics` and `/api/v1/info`: for whoever watches the server.

use std::time::Duration;

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid};
use utoipa::ToSchema;

use super::super::error::{ErrorBody, WebError};
use super::super::state::{AppState, Task};
use crate::jobs::JobState;
use crate::metrics::{Now, commit};
use crate::stage::StageKind;

/// The form of [`metrics`], as Prometheus asks for it.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is counted, in Prometheus's form.
#[utoipa::path(
    get, path = "/metrics", tag = "Watching",
    responses(
        (status = 200, description = "The figures", body = String, content_type = "application/openmetrics-text"),
        (status = 500, description = "Something went wrong in the server", body = ErrorBody),
    )
)]
pub(in crate::web) async fn metrics(State(state): State<AppState>) -> Result<Response, WebError> {
    let counts = state.store.counts().await?;
    let (free_bytes, _) = state.store.disk()?;
    let now_ms = state.store.clock().now_ms();
    let waited = counts.oldest_queued_ms.map_or(0, |since| (now_ms - since).max(0) as u64);
    let now = Now {
        jobs: vec![
            (JobState::Queued.as_str(), counts.queued),
            (JobState::Running.as_str(), counts.running),
            (JobState::Succeeded.as_str(), counts.succeeded),
            (JobState::Failed.as_str(), counts.failed),
            (JobState::Canceled.as_str(), counts.canceled),
        ],
        oldest_queued: Duration::from_millis(waited),
        resident_bytes: resident_bytes(),
        free_bytes,
    };
    let text = state.store.metrics().render(&now);
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

/// Memory that the process has.
fn resident_bytes() -> u64 {
    let Ok(own) = get_current_pid() else { return 0 };
    let mut system = System::new();
    let memory = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), false, memory);
    system.process(own).map_or(0, sysinfo::Process::memory)
}

/// Counts every answer by the pattern of its address.
pub(in crate::web) async fn count(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let began = std::time::Instant::now();
    let response = next.run(request).await;
    let route = route.as_deref().unwrap_or("other");
    let status = response.status().as_u16();
    state.store.metrics().answered(method.as_str(), route, status, began.elapsed());
    response
}

/// What runs here.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct Info {
    version: &'static str,
    /// The commit that this was built from, or `unknown`.
    commit: &'static str,
    /// Parts that were built in.
    features: Vec<&'static str>,
    /// Jobs that run side by side.
    workers: usize,
    /// Whether a token is asked for.
    asks_for_token: bool,
    /// What does the work of each stage of a job that names nothing.
    stages: Vec<StageInfo>,
    /// What does the work of requests without a job.
    served: Vec<ServedInfo>,
    /// Installed weights.
    models: Vec<ModelInfo>,
}

/// What does the work of a stage.
#[derive(Debug, Serialize, ToSchema)]
struct StageInfo {
    stage: StageKind,
    /// Absent where no model is installed.
    model: Option<String>,
    /// `cpu`, `cuda:0` or `remote`.
    device: String,
}

/// A model that does a task.
#[derive(Debug, Serialize, ToSchema)]
struct ServedInfo {
    /// `transcription`, `text` or `speech`.
    task: &'static str,
    model: String,
    /// `cpu`, `cuda:0` or `remote`.
    device: String,
}

/// Installed weights.
#[derive(Debug, Serialize, ToSchema)]
struct ModelInfo {
    id: String,
    licence: String,
    files: Vec<FileInfo>,
}

/// A file of a model.
#[derive(Debug, Serialize, ToSchema)]
struct FileInfo {
    name: String,
    /// Absent for a file that is not pinned.
    sha256: Option<String>,
}

/// What runs here: version, devices, models with their hashes.
#[utoipa::path(
    get, path = "/api/v1/info", tag = "Watching",
    responses((status = 200, description = "What runs here", body = Info))
)]
pub(in crate::web) async fn info(State(state): State<AppState>) -> Json<Info> {
    let config = &state.config;
    let features =
        [("cuda", cfg!(feature = "cuda")), ("sound-device", cfg!(feature = "sound-device"))];
    let stages = config.stages.iter().map(|it| StageInfo {
        stage: it.stage,
        model: it.model.clone(),
        device: it.device.clone(),
    });
    let served = config.served.iter().map(|served| ServedInfo {
        task: match served.task {
            Task::Transcription => "transcription",
            Task::Text => "text",
            Task::Speech => "speech",
        },
        model: served.model.clone(),
        device: served.device.clone(),
    });
    let store = config.models.as_ref().map(|models| &models.store);
    let models = store.into_iter().flat_map(|store| {
        let installed = store.manifest().models.iter().filter(|it| store.is_installed(&it.id));
        installed.map(|model| ModelInfo {
            id: model.id.clone(),
            licence: model.licence.clone(),
            files: model
                .files_here()
                .map(|file| FileInfo { name: file.name.clone(), sha256: file.sha256.clone() })
                .collect(),
        })
    });
    Json(Info {
        version: env!("CARGO_PKG_VERSION"),
        commit: commit(),
        features: features.into_iter().filter(|(_, built)| *built).map(|(name, _)| name).collect(),
        workers: config.workers,
        asks_for_token: !config.access.is_open(),
        stages: stages.collect(),
        served: served.collect(),
        models: models.collect(),
    })
}
