//! One job as a row of the table; also alone, for the script that swaps rows in.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Html;

use super::super::api::find_job;
use super::super::error::WebError;
use super::super::state::AppState;
use super::super::texts;
use super::super::words::Words;
use super::show;
use crate::jobs::{Job, JobId, JobState, LiveProgress, StageRun};
use crate::stage::StageKind;

/// `GET /jobs/{id}/row`.
pub(in crate::web) async fn show(
    State(state): State<AppState>,
    w: &'static Words,
    Path(id): Path<String>,
) -> Result<Html<String>, WebError> {
    let job = find_job(&state, &id).await?;
    Ok(Html(JobRow::new(&state, w, &job).await.render()?))
}

/// A row: the prompt's cell and one cell a stage.
#[derive(Template)]
#[template(path = "job_row.html")]
pub(super) struct JobRow {
    w: &'static Words,
    id: JobId,
    version: u32,
    state: JobState,
    /// When the job came, for programs and for people.
    created: (String, String),
    name: Option<String>,
    length: Option<String>,
    /// Name of the target language.
    target: String,
    cells: Vec<Cell>,
}

/// What a stage has made of the prompt so far.
pub(super) struct Cell {
    pub stage: StageKind,
    /// Tag of the language of what the stage makes.
    pub language: String,
    /// Changes whenever the cell must be drawn anew.
    pub key: String,
    pub body: Body,
}

pub(super) enum Body {
    /// Not begun.
    Waiting,
    Running(Running),
    Text {
        text: String,
        cost: Option<String>,
    },
    Audio {
        length: Option<String>,
        cost: Option<String>,
    },
    Failed {
        message: String,
    },
    /// Will not happen, because an earlier stage failed or the job was canceled.
    Never,
}

pub(super) struct Running {
    /// Units done and in all.
    pub fraction: Option<(u64, u64)>,
    pub text: String,
    /// Characters of `text`, so the script can tell what it has.
    pub characters: usize,
    /// Since the stage began.
    pub elapsed_ms: i64,
}

impl JobRow {
    /// Reads what the job's stages have made. A text that cannot be read is
    /// said so in its cell; the other rows are shown all the same.
    pub async fn new(state: &AppState, w: &'static Words, job: &Job) -> Self {
        Self {
            w,
            id: job.id,
            version: job.version,
            state: job.state,
            created: show::moment(job.created_ms),
            name: job.prompt_name.clone(),
            length: job.prompt_ms.map(show::length),
            target: target(state, w, job),
            cells: cells(state, w, job).await,
        }
    }

    fn can_retry(&self) -> bool {
        matches!(self.state, JobState::Failed | JobState::Canceled)
    }
}

/// The name of the language that the job is translated to.
pub(super) fn target(state: &AppState, w: &Words, job: &Job) -> String {
    let tag = &job.options.target;
    let target = state.config.targets.iter().find(|target| target.value == *tag);
    target.map_or_else(|| tag.clone(), |target| w.language(target))
}

/// What the stages of the job have made, in their order.
pub(super) async fn cells(state: &AppState, w: &Words, job: &Job) -> Vec<Cell> {
    let live = state.store.events().live(job.id);
    let mut cells = Vec::with_capacity(StageKind::ALL.len());
    for stage in StageKind::ALL {
        let body = body(state, w, job, stage, live.as_ref()).await;
        let language = match stage {
            StageKind::TranslateText | StageKind::SynthesisAudio => job.options.target.clone(),
            _ => "en".to_owned(),
        };
        let attempt = job.stage(stage).map_or(0, |run| run.attempt);
        let made = job.artifact(stage).map_or(0, |artifact| artifact.version);
        let key = format!("{}-{attempt}-{made}", body.name());
        cells.push(Cell { stage, language, key, body });
    }
    cells
}

impl Body {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running(_) => "running",
            Self::Text { .. } => "text",
            Self::Audio { .. } => "audio",
            Self::Failed { .. } => "failed",
            Self::Never => "never",
        }
    }
}

impl Cell {
    pub fn is_english(&self) -> bool {
        self.language == "en"
    }

    pub const fn is_audio(&self) -> bool {
        matches!(self.body, Body::Audio { .. })
    }

    pub fn is_transcript(&self) -> bool {
        self.stage == StageKind::TranscribeAudio && matches!(self.body, Body::Text { .. })
    }
}

async fn body(
    app: &AppState,
    w: &Words,
    job: &Job,
    stage: StageKind,
    live: Option<&LiveProgress>,
) -> Body {
    let run = job.stage(stage);
    match run.map(|run| run.state) {
        Some(JobState::Succeeded) => {
            let cost = run.and_then(cost);
            if matches!(stage, StageKind::SynthesisAudioEn | StageKind::SynthesisAudio) {
                let artifact = job.artifact(stage);
                let length = artifact.and_then(|artifact| artifact.duration_ms).map(show::length);
                return Body::Audio { length, cost };
            }
            match texts::of_stage(&app.store, job, stage).await {
                Ok(text) => Body::Text { text: text.unwrap_or_default(), cost },
                Err(error) => {
                    error.log();
                    Body::Failed { message: w.unreadable.to_owned() }
                }
            }
        }
        Some(JobState::Failed) => {
            let said =
                job.error.as_ref().map(|it| w.error(it.code.as_str(), &it.message).to_owned());
            Body::Failed { message: said.unwrap_or_else(|| w.stage_failed.to_owned()) }
        }
        Some(JobState::Running) => {
            let live = live.filter(|live| live.stage == stage);
            let text = live.map_or_else(String::new, |live| live.text.clone());
            let started_ms = run.and_then(|run| run.started_ms);
            let now_ms = app.store.clock().now_ms();
            Body::Running(Running {
                elapsed_ms: started_ms.map_or(0, |started_ms| (now_ms - started_ms).max(0)),
                fraction: live.and_then(|live| live.fraction),
                characters: text.chars().count(),
                text,
            })
        }
        Some(JobState::Canceled) => Body::Never,
        Some(JobState::Queued) | None if job.state.is_final() => Body::Never,
        Some(JobState::Queued) | None => Body::Waiting,
    }
}

/// What a stage run cost, such as `1.2 s, whisper-base.en`.
fn cost(run: &StageRun) -> Option<String> {
    let timing = run.timing.as_ref()?;
    let took = show::length(timing.run_ms);
    Some(if timing.model.is_empty() { took } else { format!("{took}, {}", timing.model) })
}
