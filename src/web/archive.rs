//! `GET /api/v1/jobs/{id}/archive`: everything of a job in one ZIP file.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::PathBuf;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio_util::io::ReaderStream;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::api::artifacts::file_stem;
use super::api::find_shown;
use super::error::{ErrorBody, WebError};
use super::state::AppState;
use super::texts;
use crate::jobs::Job;
use crate::stage::StageKind;
use crate::text::subtitles;

/// Which version of the job is wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ArchiveQuery {
    /// The newest when it is not named.
    version: Option<u32>,
}

/// What goes into the file.
enum Content {
    Stored(PathBuf),
    Made(String),
}

/// Everything of a job in one ZIP file: the prompt, what the stages made so far, and
/// `manifest.json`, the job itself.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}/archive", tag = "Jobs",
    params(("id" = String, Path, description = "The job"), ArchiveQuery),
    responses(
        (status = 200, description = "The file", body = Vec<u8>, content_type = "application/zip"),
        (status = 400, description = "The query cannot be understood", body = ErrorBody),
        (status = 404, description = "There is no such job or version", body = ErrorBody),
        (status = 507, description = "The disk is full", body = ErrorBody),
    )
)]
pub(super) async fn show(
    State(state): State<AppState>,
    Path(id): Path<String>,
    query: Result<Query<ArchiveQuery>, QueryRejection>,
) -> Result<Response, WebError> {
    let Query(query) = query.map_err(|error| WebError::bad_query(&error))?;
    let job = find_shown(&state, &id, query.version).await?;
    // It takes as much room again as the job does.
    state.store.check_disk()?;
    let entries = entries(&state, &job).await?;
    let incoming = state.store.incoming_dir().to_owned();
    let packed = tokio::task::spawn_blocking(move || {
        // Without a name: it is gone when the answer is sent.
        let mut file = tempfile::tempfile_in(incoming)?;
        pack(&mut file, entries)?;
        file.rewind()?;
        Ok(file)
    });
    let file = packed.await.map_err(WebError::internal)?.map_err(|error: io::Error| match error
        .kind()
    {
        io::ErrorKind::NotFound => WebError::no_such_job(),
        _ => WebError::io("a job cannot be packed", &error),
    })?;
    let length = file.metadata().map_err(|error| WebError::io("a packed job", &error))?.len();
    let name = format!("attachment; filename=\"mega-pipeline-{}.zip\"", job.id);
    let headers = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
    ];
    let body = Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file)));
    Ok((headers, body).into_response())
}

async fn entries(state: &AppState, job: &Job) -> Result<Vec<(String, Content)>, WebError> {
    let folder = state.store.folder(job.id);
    let manifest = serde_json::to_string_pretty(job).map_err(WebError::internal)?;
    let mut entries = vec![
        ("manifest.json".to_owned(), Content::Made(manifest)),
        (job.prompt_file.clone(), Content::Stored(folder.path(&job.prompt_file))),
    ];
    for artifact in &job.artifacts {
        let path = folder.path(&artifact.file);
        let stem = file_stem(artifact.stage, &job.options.target);
        if artifact.stage == StageKind::TranscribeAudio {
            let transcript = texts::transcript(&path).await?;
            entries.push((format!("{stem}.srt"), Content::Made(subtitles::srt(&transcript))));
            entries.push((format!("{stem}.txt"), Content::Made(transcript.text)));
        } else {
            let extension = artifact.file.rsplit('.').next().unwrap_or("bin");
            entries.push((format!("{stem}.{extension}"), Content::Stored(path)));
        }
    }
    Ok(entries)
}

fn pack(file: &mut File, entries: Vec<(String, Content)>) -> io::Result<()> {
    let mut zip = ZipWriter::new(file);
    // Sound hardly gets smaller, and packing it would keep a processor from the models.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, content) in entries {
        zip.start_file(name, options)?;
        match content {
            Content::Stored(path) => {
                io::copy(&mut File::open(path)?, &mut zip)?;
            }
            Content::Made(text) => zip.write_all(text.as_bytes())?,
        }
    }
    zip.finish()?;
    Ok(())
}
