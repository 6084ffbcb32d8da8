//! Takes a recording and its options from a request and queues a job.
//!
//! Called by `api::jobs`. The request's body is either the recording itself or
//! a form. Whatever goes wrong, nothing is queued and nothing is left on disk.

use std::error::Error;

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Query, Request};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use futures::StreamExt;
use sha2::Digest;
use tower_http::timeout::TimeoutError;

use super::error::WebError;
use super::options::{self, FIELDS, Wanted};
use super::recording::{Recording, too_large};
use super::state::AppState;
use crate::jobs::{IdempotencyKey, JobId, NewJob};

/// The longest idempotency key.
const MAX_KEY: usize = 255;

/// The longest text field of a form.
const MAX_FIELD_BYTES: usize = 64 * 1024;

/// The longest file name that is kept for display, in characters.
const MAX_NAME_CHARS: usize = 120;

/// Takes the recording and queues a job for it.
///
/// # Errors
/// Everything that can be wrong with an upload, as the client is told.
pub(super) async fn accept(state: &AppState, request: Request) -> Result<JobId, WebError> {
    let _permit = state.admit_upload()?;
    let limit = state.config.max_upload_bytes;
    let key = idempotency_key(request.headers())?;
    // Nobody should send a long recording only to be refused. With a key, it may be known.
    if key.is_none() {
        state.store.check_room().await?;
    }
    let wanted = from_query(request.uri())?;
    let mut upload =
        Upload { recording: Recording::create(&state.store, limit).await?, name: None, wanted };
    if is_multipart(request.headers()) {
        upload.read_form(request).await?;
    } else {
        refuse_if_declared_larger(request.headers(), limit)?;
        upload.read_body(request).await?;
    }
    let Upload { recording, name, wanted } = upload;
    let options = options::choose(&state.config, wanted)?;
    let recording = recording.finish().await?;
    state.store.metrics().uploaded(recording.bytes);
    let idempotency = key.map(|key| {
        // Options are written in one order, so that the same are the same text.
        let options = serde_json::to_vec(&options).unwrap_or_default();
        let fingerprint = format!("{:x}", recording.hash.clone().chain_update(options).finalize());
        IdempotencyKey { key, fingerprint }
    });
    let new = NewJob {
        prompt_name: name,
        prompt_type: recording.media_type.to_owned(),
        prompt_extension: recording.extension,
        prompt_ms: recording.duration_ms,
        options,
        idempotency,
    };
    Ok(state.store.submit(new, &recording.path).await?)
}

/// The client's word for this upload, so that it may send it twice without harm.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, WebError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().map(str::trim).filter(|key| (1..=MAX_KEY).contains(&key.len()));
    let message = format!("Idempotency-Key must be 1 to {MAX_KEY} characters of ASCII.");
    let refusal = || WebError::bad_request("bad_key", message).param("Idempotency-Key");
    key.map(|key| Some(key.to_owned())).ok_or_else(refusal)
}

fn from_query(uri: &Uri) -> Result<Wanted, WebError> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|error| WebError::bad_query(&error))?;
    let mut wanted = Wanted::default();
    for (name, value) in pairs {
        if !wanted.take(&name, &value)? {
            let message =
                format!("There is no parameter `{name}`. The parameters are options, {FIELDS}.");
            return Err(WebError::bad_request("bad_query", message).param(name));
        }
    }
    Ok(wanted)
}

fn is_multipart(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.to_ascii_lowercase().starts_with("multipart/form-data"))
}

/// Saves a client from sending all of a body that will be refused.
fn refuse_if_declared_larger(headers: &HeaderMap, limit: u64) -> Result<(), WebError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match length.and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if length > limit => Err(too_large(limit)),
        _ => Ok(()),
    }
}

/// A request's parts, as they come in.
struct Upload {
    recording: Recording,
    name: Option<String>,
    wanted: Wanted,
}

impl Upload {
    /// Reads a body that is the recording itself.
    async fn read_body(&mut self, request: Request) -> Result<(), WebError> {
        let mut body = request.into_body().into_data_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| broken_off(&error))?;
            self.recording.write(&chunk).await?;
        }
        if self.recording.is_empty() {
            let message = "The request is empty. Send the recording as its body.";
            return Err(WebError::bad_request("empty", message));
        }
        Ok(())
    }

    /// Reads a form: the recording in `file`, options in the fields that [`Wanted`] takes.
    async fn read_form(&mut self, request: Request) -> Result<(), WebError> {
        let limit = self.recording.limit_bytes();
        let bad_form = |error| bad_form(&error, limit);
        let mut form = open_form(request).await?;
        let mut found = false;
        while let Some(mut field) = form.next_field().await.map_err(bad_form)? {
            match field.name().unwrap_or_default() {
                "file" if found => {
                    let message = "The form holds more than one file. Send one recording a job.";
                    return Err(WebError::bad_request("bad_form", message).param("file"));
                }
                "file" => {
                    found = true;
                    self.name = field.file_name().and_then(display_name);
                    while let Some(chunk) = field.chunk().await.map_err(bad_form)? {
                        self.recording.write(&chunk).await?;
                    }
                }
                name => {
                    let name = name.to_owned();
                    if !self.wanted.take(&name, &read_text(field).await?)? {
                        let message = format!(
                            "The form has an unknown field `{name}`. \
                             The fields are file, options, {FIELDS}."
                        );
                        return Err(WebError::bad_request("bad_form", message).param(name));
                    }
                }
            }
        }
        if self.recording.is_empty() {
            let message = "There is no recording in the form. Choose an audio file first.";
            return Err(WebError::bad_request("empty", message).param("file"));
        }
        Ok(())
    }
}

/// The parts of a form.
pub(super) async fn open_form(request: Request) -> Result<Multipart, WebError> {
    let form = Multipart::from_request(request, &()).await;
    form.map_err(|error| WebError::bad_request("bad_form", format!("{}.", error.body_text())))
}

/// Reads a text field, which is short.
pub(super) async fn read_text(mut field: Field<'_>) -> Result<String, WebError> {
    let name = field.name().unwrap_or_default().to_owned();
    let mut text = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken_off(&error))? {
        text.extend_from_slice(&chunk);
        if text.len() > MAX_FIELD_BYTES {
            let message = format!("The field {name} is too long.");
            return Err(WebError::bad_request("bad_form", message).param(name));
        }
    }
    String::from_utf8(text).map_err(|_| {
        WebError::bad_request("bad_form", format!("The field {name} is not UTF-8.")).param(name)
    })
}

/// What is shown as the recording's name: no folders, no control characters, not too long.
fn display_name(name: &str) -> Option<String> {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = base.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

/// What ended a body before its end: the client was gone, or stood still for too long.
pub(super) fn broken_off(error: &(dyn Error + 'static)) -> WebError {
    if stood_still(error) {
        let message = "The upload stood still for too long. Try again.";
        return WebError::new(StatusCode::REQUEST_TIMEOUT, "stalled", message);
    }
    tracing::debug!("an upload broke off: {error}");
    WebError::bad_request("broken_off", "The upload broke off. Try again.")
}

/// Whether a body was given up because nothing came.
pub(super) fn stood_still(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.any(<dyn Error>::is::<TimeoutError>)
}

/// What is wrong with a form whose recording may have so many bytes.
pub(super) fn bad_form(error: &MultipartError, limit_bytes: u64) -> WebError {
    if stood_still(error) {
        return broken_off(error);
    }
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(limit_bytes),
        _ => WebError::bad_request("bad_form", format!("{}.", error.body_text())),
    }
}
