//! What the pages' buttons do: forms that work with and without JavaScript.
//!
//! A form leads on to another page. The script sends the same form, asking for JSON, and
//! gets errors in that form.

use axum::Form;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::Map;

use super::super::api::find_job;
use super::super::error::{WebError, wants_page};
use super::super::options;
use super::super::state::AppState;
use crate::jobs::JobId;
use crate::stage::StageKind;

/// `POST /jobs/{id}/cancel`.
pub(in crate::web) async fn cancel(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let cancel = async {
        let job = find_job(&state, &id).await?;
        // A job that has ended meanwhile needs no canceling.
        state.store.cancel(job.id).await?;
        Ok(page_of(job.id))
    };
    lead_on(&headers, cancel.await)
}

/// `POST /jobs/{id}/delete`.
pub(in crate::web) async fn delete(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let delete = async {
        // A job that is gone already is what was asked for.
        state.store.delete(id.parse()?).await?;
        Ok("/".to_owned())
    };
    lead_on(&headers, delete.await)
}

/// `POST /jobs/{id}/retry`.
pub(in crate::web) async fn retry(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let retry = async {
        let id: JobId = id.parse()?;
        known(state.store.retry(id).await?)?;
        Ok(page_of(id))
    };
    lead_on(&headers, retry.await)
}

/// What is to be run again, and how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::web) struct RunAgain {
    from: String,
    target: Option<String>,
    template: Option<String>,
    max_tokens: Option<String>,
}

/// `POST /jobs/{id}/rerun`.
pub(in crate::web) async fn run_again(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<RunAgain>,
) -> Response {
    let run_again = async {
        let job = find_job(&state, &id).await?;
        let from: StageKind = form.from.parse().map_err(|message: String| {
            WebError::unprocessable("unknown_stage", format!("{message}.")).param("from")
        })?;
        let mut wanted = Map::new();
        options::take_field(&mut wanted, "target", form.target.as_deref())?;
        // The template that it had already says nothing about the length.
        let template = form.template.filter(|template| *template != job.options.template);
        options::take_field(&mut wanted, "template", template.as_deref())?;
        options::take_field(&mut wanted, "max_tokens", form.max_tokens.as_deref())?;
        let options = options::change(&state.config, &job.options, wanted)?;
        known(state.store.run_from(job.id, from, options).await?)?;
        Ok(page_of(job.id))
    };
    lead_on(&headers, run_again.await)
}

/// `POST /jobs/{id}/versions/{version}/delete`.
pub(in crate::web) async fn delete_version(
    State(state): State<AppState>,
    Path((id, version)): Path<(String, u32)>,
    headers: HeaderMap,
) -> Response {
    let delete = async {
        let id: JobId = id.parse()?;
        known(state.store.delete_version(id, version).await?)?;
        Ok(page_of(id))
    };
    lead_on(&headers, delete.await)
}

fn page_of(id: JobId) -> String {
    format!("/jobs/{id}")
}

fn known(known: bool) -> Result<(), WebError> {
    if known { Ok(()) } else { Err(WebError::no_such_job()) }
}

fn lead_on(headers: &HeaderMap, done: Result<String, WebError>) -> Response {
    match done {
        Ok(next) => Redirect::to(&next).into_response(),
        Err(error) if wants_page(headers) => error.into_page(),
        Err(error) => error.into_response(),
    }
}
