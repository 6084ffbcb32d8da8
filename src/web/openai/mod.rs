//! `/v1`: the part of OpenAI's interface that the stages' engines can serve, for clients that
//! speak it already. One file an address.
//!
//! The name of a model in a request is not looked at: there is one engine for each task, and
//! clients send the names that they know. Answers name the model that did the work.

pub(super) mod chat;
pub(super) mod models;
pub(super) mod speech;
pub(super) mod transcription;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::{Stream, StreamExt};
use serde::Serialize;

use super::error::WebError;
use super::state::AppState;
use crate::stage::StageKind;

/// A conversation or a text is not larger than this.
const MAX_JSON_BYTES: usize = 1024 * 1024;

/// The addresses below `/v1` for the stages that the server `does`.
pub(super) fn routes(largest_upload: usize, does: impl Fn(StageKind) -> bool) -> Router<AppState> {
    let mut routes =
        Router::new().route("/models", get(models::list)).route("/models/{*id}", get(models::show));
    let json = DefaultBodyLimit::max(MAX_JSON_BYTES);
    if does(StageKind::GenerateText) {
        routes = routes.route("/chat/completions", post(chat::complete).layer(json));
    }
    if does(StageKind::SynthesisAudioEn) || does(StageKind::SynthesisAudio) {
        routes = routes.route("/audio/speech", post(speech::speak).layer(json));
    }
    if does(StageKind::TranscribeAudio) {
        let upload = DefaultBodyLimit::max(largest_upload);
        let transcribe = post(transcription::transcribe).layer(upload);
        routes = routes.route("/audio/transcriptions", transcribe);
    }
    routes
}

/// Pieces of text that are kept for a client that falls behind: more than any answer has, so that
/// no model waits for a client.
const TEXT_BACKLOG: usize = 32_768;

/// Seconds since 1970, which answers carry.
fn now_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// An identifier such as `chatcmpl-…`.
fn new_id(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::now_v7().simple())
}

/// A piece of a stream of events.
fn event(data: &impl Serialize) -> axum::body::Bytes {
    // What is serialised here are strings and numbers, which cannot fail.
    serde_json::to_vec(data).unwrap_or_default().into()
}

/// Sends pieces as events; an error in the middle becomes the last of them.
fn respond(
    pieces: impl Stream<Item = Result<axum::body::Bytes, WebError>> + Send + 'static,
) -> Response {
    let events = pieces.map(|piece| {
        let data = match piece {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => error.body().to_string(),
        };
        Ok::<_, std::convert::Infallible>(Event::default().data(data))
    });
    Sse::new(events).keep_alive(KeepAlive::new()).into_response()
}
