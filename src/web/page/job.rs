//! `GET /jobs/{id}`: everything of one job.

use askama::Template;
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use super::super::api::find_shown;
use super::super::error::{PageError, WebError};
use super::super::state::{AppState, Models, WebConfig};
use super::super::texts;
use super::super::words::Words;
use super::job_row::{self, Body, Cell};
use super::{LENGTHS, Page, page, plot, show};
use crate::jobs::{Job, JobFailure, JobId, JobState, StageRun};
use crate::stage::{JobOptions, StageKind, Timing};
use crate::text::Segment;

/// Digits of a hash that tell weights apart.
const HASH_DIGITS: usize = 12;

/// Which version is shown.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct JobQuery {
    version: Option<u32>,
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage<'a> {
    w: &'static Words,
    config: &'a WebConfig,
    id: JobId,
    state: JobState,
    version: u32,
    is_newest: bool,
    created: (String, String),
    name: Option<String>,
    length: Option<String>,
    target: String,
    options: JobOptions,
    error: Option<JobFailure>,
    cells: Vec<Cell>,
    segments: Vec<TimedText>,
    timeline: Option<String>,
    figures: Vec<Figures>,
    /// Changes whenever the figures must be drawn anew.
    figures_key: String,
    /// Stages that the job can be run again from.
    from_stages: Vec<StageKind>,
    versions: Vec<VersionLine>,
}

/// A stretch of the transcript.
struct TimedText {
    /// Where it begins, for the player.
    seconds: String,
    /// Where it begins, for people.
    time: String,
    text: String,
}

/// A line of the table of stages.
struct Figures {
    stage: StageKind,
    index: usize,
    state: JobState,
    error: Option<String>,
    queue: String,
    load: String,
    run: String,
    speed: String,
    device: String,
    model: String,
    hash: Option<String>,
    attempt: u32,
}

/// A line of the list of versions.
struct VersionLine {
    version: u32,
    about: String,
    can_go: bool,
}

/// Renders the page.
pub(in crate::web) async fn show(
    State(state): State<AppState>,
    w: &'static Words,
    Path(id): Path<String>,
    Query(query): Query<JobQuery>,
) -> Result<Page, PageError> {
    let job = find_shown(&state, &id, query.version).await?;
    let hashes = hashes(&state, &job).await?;
    let newest = job.versions.last().map_or(job.version, |last| last.version);
    page(&JobPage {
        w,
        config: &state.config,
        id: job.id,
        state: job.state,
        version: job.version,
        is_newest: job.version == newest,
        created: show::moment(job.created_ms),
        name: job.prompt_name.clone(),
        length: job.prompt_ms.map(show::length),
        target: job_row::target(&state, w, &job),
        options: job.options.clone(),
        error: job.error.clone(),
        cells: job_row::cells(&state, w, &job).await,
        segments: segments(&state, &job).await?,
        timeline: plot::timeline(&job, w, state.store.clock().now_ms()),
        figures: job.stages.iter().map(|run| figures(w, run, &hashes)).collect(),
        figures_key: job
            .stages
            .iter()
            .fold(String::new(), |key, it| format!("{key}{}{}", it.state, it.attempt)),
        from_stages: StageKind::ALL
            .into_iter()
            .filter(|&from| {
                let earlier = StageKind::ALL.into_iter().take_while(|&stage| stage < from);
                earlier.into_iter().all(|stage| job.artifact(stage).is_some())
            })
            .collect(),
        versions: job.versions.iter().map(|it| version(w, &job, it.version, newest)).collect(),
    })
}

fn version(w: &Words, job: &Job, number: u32, newest: u32) -> VersionLine {
    let about =
        job.versions.iter().find(|it| it.version == number).map_or_else(String::new, |it| {
            format!("{}, {}", w.stage_name(it.first_stage), it.options.target)
        });
    VersionLine { version: number, about, can_go: number != newest && job.state.is_final() }
}

async fn segments(state: &AppState, job: &Job) -> Result<Vec<TimedText>, WebError> {
    let Some(artifact) = job.artifact(StageKind::TranscribeAudio) else { return Ok(Vec::new()) };
    let transcript = texts::transcript(&state.store.folder(job.id).path(&artifact.file)).await?;
    let timed = |segment: Segment| TimedText {
        seconds: format!("{:.2}", segment.start_ms as f64 / 1000.0),
        time: show::clock(segment.start_ms),
        text: segment.text,
    };
    Ok(transcript.segments.into_iter().map(timed).collect())
}

/// The hashes of the weights that the job's stages ran on, by model, as far as they are
/// still installed.
async fn hashes(state: &AppState, job: &Job) -> Result<Vec<(String, String)>, WebError> {
    let Some(Models { store, .. }) = state.config.models.clone() else { return Ok(Vec::new()) };
    let used: Vec<String> = job
        .stages
        .iter()
        .filter_map(|run| run.timing.as_ref().map(|timing| timing.model.clone()))
        .collect();
    let read = move || {
        used.into_iter()
            .filter_map(|id| {
                let hash = store.weights_sha256(&id)?;
                Some((id, hash.chars().take(HASH_DIGITS).collect()))
            })
            .collect()
    };
    tokio::task::spawn_blocking(read).await.map_err(WebError::internal)
}

fn figures(w: &Words, run: &StageRun, hashes: &[(String, String)]) -> Figures {
    let timing = run.timing.as_ref();
    let time =
        |pick: fn(&Timing) -> u64| timing.map_or_else(String::new, |it| show::length(pick(it)));
    let model = timing.map_or_else(String::new, |timing| timing.model.clone());
    Figures {
        stage: run.stage,
        index: run.stage as usize,
        state: run.state,
        error: run.error.as_ref().map(|it| w.error(it.code.as_str(), &it.message).to_owned()),
        queue: time(|timing| timing.queue_ms),
        load: time(|timing| timing.load_ms),
        run: time(|timing| timing.run_ms),
        speed: timing.map_or_else(String::new, |timing| speed(w, timing)),
        device: timing.map_or_else(String::new, |timing| timing.device.clone()),
        hash: hashes.iter().find(|(id, _)| *id == model).map(|(_, hash)| hash.clone()),
        model,
        attempt: run.attempt,
    }
}

/// Tokens a second, or how much faster than real time sound was read or made.
fn speed(w: &Words, timing: &Timing) -> String {
    let seconds = timing.run_ms as f64 / 1000.0;
    match (timing.tokens, timing.real_time_factor()) {
        (_, Some(factor)) if factor > 0.0 => format!("{:.1} {}", 1.0 / factor, w.times_real),
        (Some(tokens), _) if seconds > 0.0 => {
            let unit = timing.unit.as_deref().unwrap_or(w.tokens);
            format!("{:.1} {unit} {}", tokens as f64 / seconds, w.per_second)
        }
        _ => String::new(),
    }
}

impl JobPage<'_> {
    fn can_retry(&self) -> bool {
        self.is_newest && matches!(self.state, JobState::Failed | JobState::Canceled)
    }
}
