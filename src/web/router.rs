//! Every address the server answers.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};

use tower_http::timeout::RequestBodyTimeoutLayer;

use super::state::AppState;
use super::{
    api, archive, assets, auth, describe, error, guard, libretranslate, openai, page, request_id,
};
use crate::stage::StageKind;

/// Room for a form's other fields beside the recording.
const FORM_OVERHEAD_BYTES: u64 = 1024 * 1024;

/// All routes, with the headers and checks that every one of them shares. A server that does the
/// work of some stages alone has no page and takes no jobs.
pub fn router(state: AppState) -> Router {
    let config = Arc::clone(&state.config);
    let largest_body = state.config.max_upload_bytes.saturating_add(FORM_OVERHEAD_BYTES);
    let largest_body = usize::try_from(largest_body).unwrap_or(usize::MAX);
    let does = |stage| config.only.is_empty() || config.only.contains(&stage);
    let mut routes = Router::new()
        .route("/healthz", get(api::health::alive))
        .route("/readyz", get(api::health::ready))
        .route("/metrics", get(api::watch::metrics))
        .route("/api/v1/info", get(api::watch::info))
        .nest("/v1", openai::routes(largest_body, does));
    if does(StageKind::TranslateText) {
        routes = routes.merge(libretranslate::routes());
    }
    if config.only.is_empty() {
        routes = routes.merge(pages()).merge(jobs(largest_body));
    }
    let routes = routes
        .fallback(error::no_such_path)
        .layer(RequestBodyTimeoutLayer::new(config.patience))
        .layer(middleware::from_fn(error::explain_method))
        .layer(middleware::from_fn(error::write_pages))
        .layer(middleware::from_fn_with_state(state.clone(), auth::require))
        .layer(middleware::from_fn_with_state(state.clone(), api::watch::count))
        .with_state(state);
    guard::protect(routes, &config).layer(middleware::from_fn(request_id::name))
}

/// What a person opens in a browser.
fn pages() -> Router<AppState> {
    Router::new()
        .route("/", get(page::home::show))
        .route("/sample", post(page::actions::sample))
        .route("/jobs/{id}", get(page::job::show))
        .route("/jobs/{id}/row", get(page::job_row::show))
        .route("/jobs/{id}/waveform/{part}", get(page::waveform::show))
        .route("/jobs/{id}/cancel", post(page::actions::cancel))
        .route("/jobs/{id}/delete", post(page::actions::delete))
        .route("/jobs/{id}/retry", post(page::actions::retry))
        .route("/jobs/{id}/rerun", post(page::actions::run_again))
        .route("/jobs/{id}/versions/{version}/delete", post(page::actions::delete_version))
        .route("/models", get(page::models::show))
        .route("/status", get(page::status::show))
        .route("/static/{name}", get(assets::asset))
        .route("/login", get(auth::page).post(auth::sign_in))
        .route("/logout", post(auth::sign_out))
        .route("/api", get(describe::show))
}

/// The job table for programs.
fn jobs(largest_body: usize) -> Router<AppState> {
    let uploads = post(api::jobs::create).layer(DefaultBodyLimit::max(largest_body));
    let jobs = Router::new()
        .route("/", get(api::jobs::list).merge(uploads))
        .route("/{id}", get(api::jobs::show).delete(api::jobs::remove))
        .route("/{id}/cancel", post(api::jobs::cancel))
        .route("/{id}/retry", post(api::versions::retry))
        .route("/{id}/rerun", post(api::versions::run_again))
        .route("/{id}/versions/{version}", get(api::versions::show).delete(api::versions::remove))
        .route("/{id}/events", get(api::events::of_job))
        .route("/{id}/artifacts/{stage}", get(api::artifacts::show))
        .route("/{id}/archive", get(archive::show));
    Router::new()
        .route("/api/openapi.json", get(describe::description))
        .route("/api/v1/jobs.csv", get(api::export::csv))
        .route("/api/v1/jobs.json", get(api::export::json))
        .route("/api/v1/events", get(api::events::of_all))
        .nest("/api/v1/jobs", jobs)
}
