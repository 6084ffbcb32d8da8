//! `/healthz` and `/readyz`, for scripts and orchestrators.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::super::state::AppState;
use crate::jobs::Readiness;

/// `GET /healthz`: the process answers. Says nothing of models.
pub(in crate::web) async fn alive() -> Json<serde_json::Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /readyz`: 200 once every stage has its models, 503 with the reason before that.
pub(in crate::web) async fn ready(State(state): State<AppState>) -> Response {
    let readiness = state.readiness.borrow().clone();
    let (status, body) = match readiness {
        Readiness::Ready => (StatusCode::OK, json!({ "status": "ready" })),
        Readiness::Paused { message } => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "paused", "reason": message }))
        }
        Readiness::Loading { stage } => (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({ "status": "loading", "stage": stage, "reason": "The models are being loaded." }),
        ),
        Readiness::Failed { stage, message } => (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({ "status": "failed", "stage": stage, "reason": message }),
        ),
    };
    (status, Json(body)).into_response()
}
