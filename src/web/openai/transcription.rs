//! `POST /v1/audio/transcriptions`: a recording, written down.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::super::engaged;
use super::super::error::{ErrorBody, WebError};
use super::super::recording::{Received, Recording};
use super::super::sse::ServerSentEvent;
use super::super::state::AppState;
use super::super::upload::{bad_form, open_form, read_text};
use super::{TEXT_BACKLOG, event, respond};
use crate::engine::{Control, Progress};
use crate::stage::{AUTO, ErrorCode, StageError, StageKind};
use crate::text::{Transcript, language, subtitles};

/// The recording and how it is to be written down.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the form")]
struct TranscriptionForm {
    /// The recording, in any form that the jobs take.
    #[schema(value_type = String, format = Binary)]
    file: String,
    /// Any name: there is one model for speech here.
    model: Option<String>,
    /// Tag of the language that is spoken; found out when it is not named and the model can.
    language: Option<String>,
    /// `json`, `text`, `srt`, `vtt` or `verbose_json`.
    response_format: Option<Format>,
    /// `true` sends the text as it is written.
    stream: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ToSchema)]
#[schema(rename_all = "snake_case")]
enum Format {
    #[default]
    Json,
    Text,
    Srt,
    Vtt,
    VerboseJson,
}

impl Format {
    fn parse(name: &str) -> Result<Self, WebError> {
        match name {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            "srt" => Ok(Self::Srt),
            "vtt" => Ok(Self::Vtt),
            "verbose_json" => Ok(Self::VerboseJson),
            _ => {
                let message = "response_format must be json, text, srt, vtt or verbose_json.";
                Err(WebError::unprocessable("not_served", message).param("response_format"))
            }
        }
    }
}

/// A transcript with times.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct VerboseTranscription {
    /// Always `transcribe`.
    task: &'static str,
    /// Name of the language in English.
    language: String,
    /// Seconds of the recording.
    duration: f64,
    text: String,
    segments: Vec<TimedSegment>,
}

/// A stretch of a transcript; times in seconds.
#[derive(Debug, Serialize, ToSchema)]
struct TimedSegment {
    id: usize,
    start: f64,
    end: f64,
    text: String,
}

/// What came in the form.
#[derive(Default)]
struct Wanted {
    language: String,
    format: Format,
    stream: bool,
}

/// Writes down what is said in a recording.
///
/// With `stream`, the answer is a stream of server-sent events: `transcript.text.delta` for every
/// part of the recording that is done, then `transcript.text.done`.
#[utoipa::path(
    post, path = "/v1/audio/transcriptions", tag = "OpenAI-compatible",
    request_body(content = TranscriptionForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "The transcript", content(
            (VerboseTranscription = "application/json"), (String = "text/plain"),
            (String = "text/vtt"), (String = "application/x-subrip"),
            (ServerSentEvent = "text/event-stream"),
        )),
        (status = 400, description = "The form cannot be understood", body = ErrorBody),
        (status = 408, description = "The upload stood still for too long", body = ErrorBody),
        (status = 413, description = "The recording is too large", body = ErrorBody),
        (status = 415, description = "The file is no recording", body = ErrorBody),
        (status = 422, description = "Something is asked for that is not served", body = ErrorBody),
        (status = 429, description = "Too many requests wait already", body = ErrorBody),
        (status = 503, description = "The model is not to be had", body = ErrorBody),
        (status = 507, description = "The disk is full", body = ErrorBody),
    )
)]
pub(in crate::web) async fn transcribe(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, WebError> {
    let (recording, wanted) = {
        let _permit = state.admit_upload()?;
        // Nobody should send a long recording only to be refused.
        engaged::check_room(&state)?;
        state.store.check_disk()?;
        read_form(&state, request).await?
    };
    // English-only models need no telling, and others find out.
    let language = if wanted.language.is_empty() { AUTO.to_owned() } else { wanted.language };
    if wanted.stream {
        let pieces = engaged::stream(
            &state,
            StageKind::TranscribeAudio,
            TEXT_BACKLOG,
            move |desk, outlet| {
                let told = AtomicBool::new(false);
                let tell = |text: &str| {
                    told.store(true, Ordering::Relaxed);
                    outlet.send(event(&json!({ "type": "transcript.text.delta", "delta": text })))
                };
                let progress = |news| {
                    if let Progress::Text { delta } = news {
                        // A client that has gone is noticed by the flag that stops the work.
                        let _ = tell(&delta);
                    }
                };
                let control = Control { cancel: desk.control.cancel, progress: &progress };
                let result = desk.engines.transcribe(&recording.path, &language, &control);
                let text = or_nothing(result)?.0.text;
                if !told.load(Ordering::Relaxed) && !text.is_empty() {
                    tell(&text)?;
                }
                outlet.send(event(&json!({ "type": "transcript.text.done", "text": text })))
            },
        )
        .await?;
        return Ok(respond(pieces));
    }
    let (transcript, duration_ms) = engaged::run(&state, StageKind::TranscribeAudio, move |desk| {
        or_nothing(desk.engines.transcribe(&recording.path, &language, &desk.control))
    })
    .await?;
    Ok(rendered(transcript, duration_ms, wanted.format))
}

/// A recording in which nothing is said has an empty transcript: clients of this interface do
/// not know of such an error.
fn or_nothing(
    result: Result<(Transcript, u64), StageError>,
) -> Result<(Transcript, u64), StageError> {
    match result {
        Err(error) if error.code == ErrorCode::NoSpeech => Ok((Transcript::default(), 0)),
        other => other,
    }
}

fn rendered(transcript: Transcript, duration_ms: u64, format: Format) -> Response {
    let plain =
        |kind: &'static str, text: String| ([(header::CONTENT_TYPE, kind)], text).into_response();
    let seconds = |ms: u64| ms as f64 / 1000.0;
    match format {
        Format::Json => Json(json!({ "text": transcript.text })).into_response(),
        Format::Text => plain("text/plain; charset=utf-8", format!("{}\n", transcript.text)),
        Format::Srt => plain("application/x-subrip; charset=utf-8", subtitles::srt(&transcript)),
        Format::Vtt => plain("text/vtt; charset=utf-8", subtitles::vtt(&transcript)),
        Format::VerboseJson => {
            let name = language::language(&transcript.language)
                .map_or(transcript.language, |known| known.english_name.to_lowercase());
            let timed = |(id, segment): (usize, crate::text::Segment)| TimedSegment {
                id,
                start: seconds(segment.start_ms),
                end: seconds(segment.end_ms),
                text: segment.text,
            };
            Json(VerboseTranscription {
                task: "transcribe",
                language: name,
                duration: seconds(duration_ms),
                text: transcript.text,
                segments: transcript.segments.into_iter().enumerate().map(timed).collect(),
            })
            .into_response()
        }
    }
}

async fn read_form(state: &AppState, request: Request) -> Result<(Received, Wanted), WebError> {
    let limit = state.config.max_upload_bytes;
    let bad_form = |error| bad_form(&error, limit);
    let mut form = open_form(request).await?;
    let mut recording: Option<Recording> = None;
    let mut wanted = Wanted::default();
    while let Some(mut field) = form.next_field().await.map_err(bad_form)? {
        match field.name().unwrap_or_default() {
            "file" if recording.is_some() => {
                let message = "The form holds more than one file.";
                return Err(WebError::bad_request("bad_form", message).param("file"));
            }
            "file" => {
                let mut file = Recording::create(&state.store, limit).await?;
                while let Some(chunk) = field.chunk().await.map_err(bad_form)? {
                    file.write(&chunk).await?;
                }
                recording = Some(file);
            }
            "language" => wanted.language = spoken(state, read_text(field).await?.trim())?,
            "response_format" => wanted.format = Format::parse(read_text(field).await?.trim())?,
            "stream" => wanted.stream = matches!(read_text(field).await?.trim(), "true" | "1"),
            // `model`, `prompt`, `temperature` and others: not looked at.
            _ => drop(read_text(field).await?),
        }
    }
    match recording {
        Some(recording) if !recording.is_empty() => Ok((recording.finish().await?, wanted)),
        _ => {
            let message = "There is no recording in the form; it belongs in the field `file`.";
            Err(WebError::bad_request("empty", message).param("file"))
        }
    }
}

/// The tag of a language that can be spoken, or none for "find out".
fn spoken(state: &AppState, tag: &str) -> Result<String, WebError> {
    if tag.is_empty() || state.config.spoken.iter().any(|choice| choice.value == tag) {
        return Ok(tag.to_owned());
    }
    let message = format!("Speech in the language `{tag}` cannot be written down here.");
    Err(WebError::unprocessable("not_offered", message).param("language"))
}
