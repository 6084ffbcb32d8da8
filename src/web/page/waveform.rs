//! `GET /jobs/{id}/waveform/{part}`: the outline of the prompt or of a stage's speech.

use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::super::api::find_shown;
use super::super::error::WebError;
use super::super::kept;
use super::super::state::AppState;
use super::plot;
use crate::audio::{self, DecodeLimits, waveform};
use crate::stage::StageKind;

/// Stretches of a drawing.
const POINTS: usize = 200;
/// The recording was accepted with whatever limit holds; it is drawn as far as it goes.
const LIMITS: DecodeLimits = DecodeLimits { max_audio_s: u64::MAX };

/// Which version of the job is drawn.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct WaveformQuery {
    version: Option<u32>,
}

/// The drawing; 404 while there is no such sound.
pub(in crate::web) async fn show(
    State(state): State<AppState>,
    Path((id, part)): Path<(String, String)>,
    Query(query): Query<WaveformQuery>,
) -> Result<Response, WebError> {
    let job = find_shown(&state, &id, query.version).await?;
    let folder = state.store.folder(job.id);
    let file = if part == "prompt" {
        let prompt = folder.path(&job.prompt_file);
        kept::file(&state, job.id, "prompt.svg", move |out| {
            // What cannot be decoded has no outline; the job says what is wrong with it.
            let audio = audio::decode(&prompt, &LIMITS).unwrap_or_default();
            out.write_all(plot::waveform(&waveform::peaks(&audio.samples, POINTS)).as_bytes())
        })
        .await?
    } else {
        let stage: Option<StageKind> = part.parse().ok();
        let speech = stage.and_then(|stage| job.artifact(stage));
        let Some(artifact) = speech.filter(|it| it.media_type == "audio/wav") else {
            return Err(WebError::no_such_path());
        };
        let path = folder.path(&artifact.file);
        kept::file(&state, job.id, &format!("{}.svg", kept::name(artifact)), move |out| {
            let peaks = waveform::peaks(&audio::read_wav(&path)?.samples, POINTS);
            out.write_all(plot::waveform(&peaks).as_bytes())
        })
        .await?
    };
    let svg = tokio::fs::read(&file).await.map_err(|error| WebError::io("a drawing", &error))?;
    let headers =
        [(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "private, no-cache")];
    Ok((headers, svg).into_response())
}
