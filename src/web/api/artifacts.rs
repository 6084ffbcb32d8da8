//! `GET /api/v1/jobs/{id}/artifacts/{stage}`: what a stage made, or the prompt.
//!
//! Files are streamed, with byte ranges so that a player can seek. The
//! transcript is stored with the time of every segment; it is given as plain
//! text unless `?format=json` asks for all of it.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tower_http::services::ServeFile;

use super::super::error::WebError;
use super::super::state::AppState;
use super::super::texts;
use super::find_job;
use crate::jobs::Job;
use crate::stage::StageKind;

/// How the artifact is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::web) struct ArtifactQuery {
    #[serde(default)]
    format: Format,
    /// `1` makes a browser save the file.
    download: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Plain,
    Json,
}

/// A file of a job's folder and how it is presented.
struct File {
    stored_name: String,
    media_type: String,
    /// What a browser saves it as.
    download_name: String,
    /// Whether only the text of a stored transcript is wanted.
    text_only: bool,
}

/// Gives the file; 404 while the stage has not made it.
pub(in crate::web) async fn show(
    State(state): State<AppState>,
    Path((id, name)): Path<(String, String)>,
    query: Result<Query<ArtifactQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, WebError> {
    let Query(query) = query.map_err(|error| WebError::bad_query(&error))?;
    let job = find_job(&state, &id).await?;
    let file = find_file(&job, &name, query.format)?;
    let path = state.store.folder(job.id).path(&file.stored_name);
    let mut response = if file.text_only {
        texts::transcript(&path).await?.into_response()
    } else {
        serve(&path, request).await?
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header_value(&file.media_type)?);
    // Artifacts never change, but a job can be deleted: a private copy may be kept for a while.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
    if query.download.as_deref() == Some("1") {
        let disposition = format!("attachment; filename=\"{}\"", file.download_name);
        headers.insert(header::CONTENT_DISPOSITION, header_value(&disposition)?);
    }
    Ok(response)
}

async fn serve(path: &std::path::Path, request: Request) -> Result<Response, WebError> {
    let served = ServeFile::new(path).try_call(request).await;
    let response = served.map_err(|error| WebError::io("an artifact cannot be read", &error))?;
    if response.status() == StatusCode::NOT_FOUND {
        return Err(WebError::internal(format_args!("{} is recorded but gone", path.display())));
    }
    Ok(response.into_response())
}

fn header_value(text: &str) -> Result<HeaderValue, WebError> {
    HeaderValue::from_str(text)
        .map_err(|_| WebError::internal(format_args!("{text:?} does not fit in a header")))
}

fn find_file(job: &Job, stage: &str, format: Format) -> Result<File, WebError> {
    if stage == "prompt" {
        let extension = job.prompt_file.rsplit_once('.').map_or("bin", |(_, extension)| extension);
        return Ok(File {
            stored_name: job.prompt_file.clone(),
            media_type: job.prompt_type.clone(),
            download_name: format!("prompt.{extension}"),
            text_only: false,
        });
    }
    let stage: StageKind = stage
        .parse()
        .map_err(|message: String| not_found("unknown_stage", sentence(&message)).param("stage"))?;
    let artifact = job.artifact(stage).ok_or_else(|| {
        not_found("artifact_not_ready", format!("The stage {stage} has not made a result yet."))
    })?;
    let target = &job.options.target;
    let (download_name, json_name) = match stage {
        StageKind::TranscribeAudio => ("transcript.txt".to_owned(), Some("transcript.json")),
        StageKind::GenerateText => ("text.txt".to_owned(), None),
        StageKind::SynthesisAudioEn => ("speech.en.wav".to_owned(), None),
        StageKind::TranslateText => (format!("translation.{target}.txt"), None),
        StageKind::SynthesisAudio => (format!("speech.{target}.wav"), None),
    };
    let stored_name = artifact.file.clone();
    match (format, json_name) {
        (Format::Json, Some(name)) => Ok(File {
            stored_name,
            media_type: "application/json".to_owned(),
            download_name: name.to_owned(),
            text_only: false,
        }),
        (Format::Json, None) => {
            let message = "Only transcribe_audio can be had with format=json.";
            Err(WebError::bad_request("bad_query", message).param("format"))
        }
        (Format::Plain, json_name) => {
            let is_text = !matches!(stage, StageKind::SynthesisAudioEn | StageKind::SynthesisAudio);
            let media_type = if is_text {
                "text/plain; charset=utf-8".to_owned()
            } else {
                artifact.media_type.clone()
            };
            Ok(File { stored_name, media_type, download_name, text_only: json_name.is_some() })
        }
    }
}

fn not_found(code: &'static str, message: impl Into<String>) -> WebError {
    WebError::new(StatusCode::NOT_FOUND, code, message)
}

/// Makes a library's error text a sentence.
fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    chars
        .next()
        .map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), chars.as_str()))
}
