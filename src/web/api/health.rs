//! `/healthz` and `/readyz`, for scripts and orchestrators.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::state::AppState;
use crate::jobs::Readiness;
use crate::stage::StageKind;

/// Whether the server can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct Health {
    /// `ok`, `ready`, `loading`, `paused` or `failed`.
    status: &'static str,
    /// Which stage is being loaded, or failed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<StageKind>,
    /// Why the server is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The process answers. Says nothing of models.
#[utoipa::path(
    get, path = "/healthz", tag = "Watching",
    responses((status = 200, description = "It answers", body = Health))
)]
pub(in crate::web) async fn alive() -> Json<Health> {
    Json(Health { status: "ok", stage: None, reason: None })
}

/// Whether every stage has its models.
#[utoipa::path(
    get, path = "/readyz", tag = "Watching",
    responses(
        (status = 200, description = "Every stage has its models", body = Health),
        (status = 503, description = "Not yet, or not at all", body = Health),
    )
)]
pub(in crate::web) async fn ready(State(state): State<AppState>) -> Response {
    let readiness = state.readiness.borrow().clone();
    let not_ready = |status, stage, reason: &str| {
        let reason = Some(reason.to_owned());
        (StatusCode::SERVICE_UNAVAILABLE, Health { status, stage, reason })
    };
    let (status, body) = match readiness {
        Readiness::Ready => (StatusCode::OK, Health { status: "ready", stage: None, reason: None }),
        Readiness::Paused { message } => not_ready("paused", None, &message),
        Readiness::Loading { stage } => not_ready("loading", stage, "The models are being loaded."),
        Readiness::Failed { stage, message } => not_ready("failed", Some(stage), &message),
    };
    (status, Json(body)).into_response()
}
