//! `GET /api/v1/jobs/{id}/artifacts/{stage}`: what a stage made, or the prompt.
//!
//! Files are streamed, with byte ranges so that a player can seek. The
//! transcript is stored with the time of every segment; it is given as plain
//! text unless `?format=` asks for the times too. Speech is stored as WAV and
//! compressed when `?format=` asks for it.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tower_http::services::ServeFile;
use utoipa::ToSchema;

use super::super::error::{ErrorBody, WebError};
use super::super::state::AppState;
use super::super::{compressed, texts};
use super::{find_shown, sentence};
use crate::audio::Compression;
use crate::jobs::{ArtifactRow, Job};
use crate::stage::StageKind;
use crate::text::{Transcript, subtitles};

/// How the artifact is wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::web) struct ArtifactQuery {
    /// `json`, `srt` or `vtt` for a transcript, `wav`, `mp3` or `opus` for speech.
    format: Option<Format>,
    /// The version of the job; the newest when it is not named.
    version: Option<u32>,
    /// `1` makes a browser save the file.
    download: Option<String>,
}

/// What can be asked for; which stage has what, [`choose`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    Json,
    Srt,
    Vtt,
    Wav,
    Mp3,
    Opus,
}

/// An artifact and how it is presented.
struct Chosen<'a> {
    content: Content<'a>,
    media_type: &'a str,
    /// What a browser saves it as.
    download_name: String,
}

enum Content<'a> {
    /// A file of the job's folder, as it is.
    Stored(&'a str),
    /// Made of the stored transcript.
    Transcript(&'a ArtifactRow, fn(&Transcript) -> String),
    /// Made of stored speech, and kept.
    Compressed(&'a ArtifactRow, Compression),
}

/// What a stage made, or the recording (`prompt`). Byte ranges are honoured.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}/artifacts/{stage}", tag = "Jobs",
    params(
        ("id" = String, Path, description = "The job"),
        ("stage" = String, Path, description = "Name of the stage, or `prompt`"),
        ArtifactQuery,
    ),
    responses(
        (status = 200, description = "The file", content(
            (String = "text/plain"), (Transcript = "application/json"), (String = "text/vtt"),
            (String = "application/x-subrip"), (Vec<u8> = "audio/*"),
        )),
        (status = 206, description = "A part of the file", content((Vec<u8> = "audio/*"), (String = "text/plain"))),
        (status = 304, description = "The client has it already"),
        (status = 400, description = "The query cannot be understood", body = ErrorBody),
        (status = 404, description = "There is no such job, version or artifact", body = ErrorBody),
        (status = 416, description = "There is no such part"),
        (status = 507, description = "The disk is full", body = ErrorBody),
    )
)]
pub(in crate::web) async fn show(
    State(state): State<AppState>,
    Path((id, name)): Path<(String, String)>,
    query: Result<Query<ArtifactQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, WebError> {
    let Query(query) = query.map_err(|error| WebError::bad_query(&error))?;
    let job = find_shown(&state, &id, query.version).await?;
    let chosen = choose(&job, &name, query.format)?;
    let folder = state.store.folder(job.id);
    let mut response = match chosen.content {
        Content::Stored(file) => serve(&folder.path(file), request).await?,
        Content::Transcript(artifact, render) => {
            render(&texts::transcript(&folder.path(&artifact.file)).await?).into_response()
        }
        Content::Compressed(artifact, compression) => {
            let file = compressed::file(&state, job.id, artifact, compression).await?;
            serve(&file, request).await?
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header_value(chosen.media_type)?);
    // A version's artifacts never change, but a job can be deleted: a private copy may be kept
    // for a while. Without a version the same address gives another file after a run again.
    let caching =
        if query.version.is_some() { "private, max-age=3600" } else { "private, no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if query.download.as_deref() == Some("1") {
        let disposition = format!("attachment; filename=\"{}\"", chosen.download_name);
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

fn choose<'a>(job: &'a Job, stage: &str, format: Option<Format>) -> Result<Chosen<'a>, WebError> {
    if stage == "prompt" {
        if format.is_some() {
            return Err(bad_format("The prompt can only be had as it was sent, without format."));
        }
        let extension = job.prompt_file.rsplit_once('.').map_or("bin", |(_, extension)| extension);
        return Ok(Chosen {
            content: Content::Stored(&job.prompt_file),
            media_type: &job.prompt_type,
            download_name: format!("prompt.{extension}"),
        });
    }
    let stage: StageKind = stage
        .parse()
        .map_err(|message: String| not_found("unknown_stage", sentence(&message)).param("stage"))?;
    let artifact = job.artifact(stage).ok_or_else(|| {
        not_found("artifact_not_ready", format!("The stage {stage} has not made a result yet."))
    })?;
    let stem = file_stem(stage, &job.options.target);
    match stage {
        StageKind::TranscribeAudio => transcript(artifact, &stem, format),
        StageKind::GenerateText | StageKind::TranslateText => text(artifact, &stem, format),
        StageKind::SynthesisAudioEn | StageKind::SynthesisAudio => speech(artifact, &stem, format),
    }
}

/// What a stage's result is saved as, without the ending.
pub(in crate::web) fn file_stem(stage: StageKind, target: &str) -> String {
    match stage {
        StageKind::TranscribeAudio => "transcript".to_owned(),
        StageKind::GenerateText => "text".to_owned(),
        StageKind::SynthesisAudioEn => "speech.en".to_owned(),
        StageKind::TranslateText => format!("translation.{target}"),
        StageKind::SynthesisAudio => format!("speech.{target}"),
    }
}

fn transcript<'a>(
    artifact: &'a ArtifactRow,
    stem: &str,
    format: Option<Format>,
) -> Result<Chosen<'a>, WebError> {
    let (content, media_type, extension) = match format {
        None => {
            let plain = |transcript: &Transcript| transcript.text.clone();
            (Content::Transcript(artifact, plain), "text/plain; charset=utf-8", "txt")
        }
        Some(Format::Json) => (Content::Stored(&artifact.file), "application/json", "json"),
        // SubRip files have no registered type; this is what players expect.
        Some(Format::Srt) => {
            let content = Content::Transcript(artifact, subtitles::srt);
            (content, "application/x-subrip; charset=utf-8", "srt")
        }
        Some(Format::Vtt) => {
            (Content::Transcript(artifact, subtitles::vtt), "text/vtt; charset=utf-8", "vtt")
        }
        Some(_) => {
            return Err(bad_format("The transcript can be had with format=json, srt or vtt."));
        }
    };
    Ok(Chosen { content, media_type, download_name: format!("{stem}.{extension}") })
}

fn text<'a>(
    artifact: &'a ArtifactRow,
    stem: &str,
    format: Option<Format>,
) -> Result<Chosen<'a>, WebError> {
    if format.is_some() {
        return Err(bad_format("This text can only be had plain, without format."));
    }
    let content = Content::Stored(&artifact.file);
    let download_name = format!("{stem}.txt");
    Ok(Chosen { content, media_type: "text/plain; charset=utf-8", download_name })
}

fn speech<'a>(
    artifact: &'a ArtifactRow,
    stem: &str,
    format: Option<Format>,
) -> Result<Chosen<'a>, WebError> {
    let compression = match format {
        None | Some(Format::Wav) => {
            return Ok(Chosen {
                content: Content::Stored(&artifact.file),
                media_type: &artifact.media_type,
                download_name: format!("{stem}.wav"),
            });
        }
        Some(Format::Mp3) => Compression::Mp3,
        Some(Format::Opus) => Compression::Opus,
        Some(_) => return Err(bad_format("Speech can be had with format=wav, mp3 or opus.")),
    };
    Ok(Chosen {
        content: Content::Compressed(artifact, compression),
        media_type: compression.media_type(),
        download_name: format!("{stem}.{}", compression.extension()),
    })
}

fn bad_format(message: &str) -> WebError {
    WebError::bad_request("bad_query", message).param("format")
}

fn not_found(code: &'static str, message: impl Into<String>) -> WebError {
    WebError::new(StatusCode::NOT_FOUND, code, message)
}
