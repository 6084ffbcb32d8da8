//! One job as a row of the table; also alone, for the script that swaps rows in.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{Html, Redirect};

use super::super::api::find_job;
use super::super::error::{PageError, WebError};
use super::super::state::AppState;
use super::super::texts;
use super::show;
use crate::jobs::{Job, JobId, JobState, LiveProgress, StageRun};
use crate::stage::StageKind;

/// `GET /jobs/{id}/row`.
pub(in crate::web) async fn show(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Html<String>, WebError> {
    let job = find_job(&state, &id).await?;
    Ok(Html(JobRow::new(&state, &job).await.render()?))
}

/// `POST /jobs/{id}/delete`: what the delete button does without JavaScript.
pub(in crate::web) async fn remove(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Redirect, PageError> {
    let id: JobId = id.parse()?;
    // A job that is gone already is what was asked for.
    state.store.delete(id).await?;
    Ok(Redirect::to("/"))
}

/// A row: the prompt's cell and one cell a stage.
#[derive(Template)]
#[template(path = "job_row.html")]
pub(super) struct JobRow {
    id: JobId,
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
struct Cell {
    stage: StageKind,
    /// The heading of the column.
    heading: &'static str,
    /// Tag of the language of what the stage makes.
    language: String,
    /// Changes whenever the cell must be drawn anew.
    key: String,
    body: Body,
}

enum Body {
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

struct Running {
    /// Units done and in all.
    fraction: Option<(u64, u64)>,
    text: String,
    /// Characters of `text`, so the script can tell what it has.
    characters: usize,
}

impl JobRow {
    /// Reads what the job's stages have made. A text that cannot be read is
    /// said so in its cell; the other rows are shown all the same.
    pub async fn new(state: &AppState, job: &Job) -> Self {
        let live = state.store.events().live(job.id);
        let mut cells = Vec::with_capacity(StageKind::ALL.len());
        for stage in StageKind::ALL {
            let body = body(state, job, stage, live.as_ref()).await;
            let language = match stage {
                StageKind::TranslateText | StageKind::SynthesisAudio => job.options.target.clone(),
                _ => "en".to_owned(),
            };
            let attempt = job.stage(stage).map_or(0, |run| run.attempt);
            let key = format!("{}-{attempt}", body.name());
            cells.push(Cell { stage, heading: heading(stage), language, key, body });
        }
        let tag = &job.options.target;
        let target = state.config.targets.iter().find(|target| target.value == *tag);
        Self {
            id: job.id,
            state: job.state,
            created: show::moment(job.created_ms),
            name: job.prompt_name.clone(),
            length: job.prompt_ms.map(show::length),
            target: target.map_or_else(|| tag.clone(), |target| target.title.clone()),
            cells,
        }
    }

    const fn state_name(&self) -> &'static str {
        match self.state {
            JobState::Queued => "Waiting",
            JobState::Running => "Running",
            JobState::Succeeded => "Done",
            JobState::Failed => "Failed",
            JobState::Canceled => "Canceled",
        }
    }
}

impl Body {
    const fn name(&self) -> &'static str {
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
    /// What is happening while the stage runs.
    const fn doing(&self) -> &'static str {
        match self.stage {
            StageKind::TranscribeAudio => "Transcribing",
            StageKind::GenerateText => "Writing",
            StageKind::TranslateText => "Translating",
            StageKind::SynthesisAudioEn | StageKind::SynthesisAudio => "Speaking",
        }
    }

    fn is_english(&self) -> bool {
        self.language == "en"
    }
}

const fn heading(stage: StageKind) -> &'static str {
    match stage {
        StageKind::TranscribeAudio => "Transcribed Audio",
        StageKind::GenerateText => "Generated Text",
        StageKind::TranslateText => "Translated Text",
        StageKind::SynthesisAudioEn | StageKind::SynthesisAudio => "Synthesised Audio",
    }
}

async fn body(app: &AppState, job: &Job, stage: StageKind, live: Option<&LiveProgress>) -> Body {
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
                    Body::Failed { message: "This text cannot be read any more.".to_owned() }
                }
            }
        }
        Some(JobState::Failed) => {
            let said = job.error.as_ref().map(|error| error.message.clone());
            Body::Failed { message: said.unwrap_or_else(|| "This stage failed.".to_owned()) }
        }
        Some(JobState::Running) => {
            let live = live.filter(|live| live.stage == stage);
            let text = live.map_or_else(String::new, |live| live.text.clone());
            Body::Running(Running {
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
