//! `GET /v1/models`: what does the work here.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::error::{ErrorBody, WebError};
use super::super::state::AppState;

/// Models, in OpenAI's form.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct ModelList {
    /// Always `list`.
    object: &'static str,
    /// One entry for each model.
    data: Vec<ModelEntry>,
}

/// A model, in OpenAI's form.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::web) struct ModelEntry {
    /// What it is called.
    id: String,
    /// Always `model`.
    object: &'static str,
    /// Not known here: 0.
    created: u64,
    /// Who serves it.
    owned_by: &'static str,
}

fn entries(state: &AppState) -> impl Iterator<Item = ModelEntry> + '_ {
    state.config.served.iter().map(|served| ModelEntry {
        id: served.model.clone(),
        object: "model",
        created: 0,
        owned_by: "mega-pipeline",
    })
}

/// The models that serve requests.
#[utoipa::path(
    get, path = "/v1/models", tag = "OpenAI-compatible",
    responses((status = 200, description = "The models", body = ModelList))
)]
pub(in crate::web) async fn list(State(state): State<AppState>) -> Json<ModelList> {
    Json(ModelList { object: "list", data: entries(&state).collect() })
}

/// One of the models that serve requests.
#[utoipa::path(
    get, path = "/v1/models/{id}", tag = "OpenAI-compatible",
    params(("id" = String, Path, description = "What the model is called")),
    responses(
        (status = 200, description = "The model", body = ModelEntry),
        (status = 404, description = "There is no such model", body = ErrorBody),
    )
)]
pub(in crate::web) async fn show(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<ModelEntry>, WebError> {
    entries(&state).find(|entry| entry.id == id).map(Json).ok_or_else(|| {
        let message = "There is no such model here. GET /v1/models lists them.";
        WebError::new(StatusCode::NOT_FOUND, "model_not_found", message).param("id")
    })
}
