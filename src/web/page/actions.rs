//! What the pages' buttons do: forms that work with and without JavaScript.
//!
//! A form leads on to another page. The script sends the same form, asking for JSON, and
//! gets errors in that form.

use axum::Form;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};

use super::super::api::find_job;
use super::super::error::{WebError, wants_page};
use super::super::options::{self, Wanted};
use super::super::state::AppState;
use crate::jobs::{JobId, submit_sample};
use crate::stage::StageKind;

/// `POST /sample`: queues the bundled prompt.
pub(in crate::web) async fn sample(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let queued = submit_sample(&state.store, state.config.defaults.clone()).await;
    lead_on(&headers, queued.map(|_| "/".to_owned()).map_err(WebError::from))
}

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

/// `POST /jobs/{id}/rerun`: `from` a stage, with the fields of [`Wanted`].
pub(in crate::web) async fn run_again(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<Vec<(String, String)>>,
) -> Response {
    let run_again = async {
        let job = find_job(&state, &id).await?;
        let mut from = None;
        let mut wanted = Wanted::default();
        for (name, value) in &form {
            if name == "from" {
                from = Some(value.parse::<StageKind>().map_err(|message| {
                    WebError::unprocessable("unknown_stage", format!("{message}.")).param("from")
                })?);
            } else if name == "template" && *value == job.options.template {
                // The template that it had already says nothing about the length.
            } else if !wanted.take(name, value)? {
                let message = format!("The form has an unknown field `{name}`.");
                return Err(WebError::bad_request("bad_form", message).param(name.as_str()));
            }
        }
        let from = from.ok_or_else(|| {
            let message = "The form does not say from which stage to run again.";
            WebError::bad_request("bad_form", message).param("from")
        })?;
        let options = options::change(&state.config, &job.options, wanted.into_options())?;
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
