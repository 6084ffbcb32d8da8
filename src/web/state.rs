//! What every handler may use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use super::error::WebError;
use crate::access::Access;
use crate::jobs::{JobStore, Readiness};
use crate::models::ModelStore;
use crate::stage::{Direct, JobOptions, StageKind};

/// Uploads that may be under way at once. Each may take
/// [`WebConfig::max_upload_bytes`] of disk before it is accepted or refused.
const MAX_UPLOADS: usize = 8;

/// Requests beside the jobs that may wait for the models.
const MAX_WAITING: usize = 16;

/// Wrong tokens that wait for their answer; beyond it they are refused at once, so that they do
/// not pile up.
const MAX_GUESSES: usize = 4;

/// A language or a prompt template that a job may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// As it stands in a job's options: a language tag, a template's name.
    pub value: String,
    /// What a person reads, such as "French".
    pub title: String,
}

/// What the server offers and allows.
#[derive(Debug, Clone)]
pub struct WebConfig {
    /// Options of a job that names none.
    pub defaults: JobOptions,
    /// Languages that a recording may be in.
    pub spoken: Vec<Choice>,
    /// Languages that can be translated to and spoken.
    pub targets: Vec<Choice>,
    /// Pairs of tags that texts without a job are translated between.
    pub translations: Vec<(String, String)>,
    /// Tags of those that the text model translates, with slips.
    pub rough: Vec<String>,
    /// Prompt templates.
    pub templates: Vec<Choice>,
    /// Voices that are installed.
    pub voices: Vec<OfferedVoice>,
    /// The largest recording that is accepted.
    pub max_upload_bytes: u64,
    /// Who may use the server, and by which names.
    pub access: Access,
    /// How long a body may stand still on its way in before it is given up.
    pub patience: Duration,
    /// What does the work of each stage of a job that names nothing.
    pub stages: Vec<StageEngine>,
    /// What does the work of requests without a job.
    pub served: Vec<Served>,
    /// Longest text, in characters, that is translated or spoken without a job.
    pub max_text_chars: usize,
    /// The models and which of them were picked by name; `None` for stub stages.
    pub models: Option<Models>,
    /// Jobs that run side by side.
    pub workers: usize,
    /// The stages whose work is done here, for requests without a job; empty where all are, and
    /// jobs are run.
    pub only: Vec<StageKind>,
}

/// What does the work of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageEngine {
    /// Which stage.
    pub stage: StageKind,
    /// What the model is called; none where none is installed.
    pub model: Option<String>,
    /// `cpu`, `cuda:0` or `remote`.
    pub device: String,
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Speech to text.
    Transcription,
    /// Text from a conversation.
    Text,
    /// Text to speech.
    Speech,
}

/// A model that serves requests without a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// What it is called.
    pub model: String,
    /// What it does.
    pub task: Task,
    /// `cpu`, `cuda:0` or `remote`.
    pub device: String,
}

/// A voice that a job may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedVoice {
    /// Tag of the language that it speaks.
    pub language: String,
    /// The model's id, and its name for a person.
    pub choice: Choice,
}

/// The models that the stages run on.
#[derive(Debug, Clone)]
pub struct Models {
    /// What is installed and what could be.
    pub store: ModelStore,
    /// The model of a role, where the settings name one.
    pub picks: BTreeMap<String, String>,
}

impl WebConfig {
    /// [`WebConfig::patience`] of a server.
    pub const PATIENCE: Duration = Duration::from_mins(1);

    /// [`WebConfig::max_upload_bytes`] when nothing else is configured: 100 MB.
    pub const DEFAULT_MAX_UPLOAD_BYTES: u64 = 100_000_000;

    /// Whether a language is offered that a translation model serves.
    pub(super) fn translates_well(&self, tag: &str) -> bool {
        let rough = self.rough.iter().any(|rough| rough == tag);
        !rough && self.targets.iter().any(|target| target.value == tag)
    }

    /// The name of the model that does a task.
    pub(super) fn served_model(&self, task: Task) -> String {
        let served = self.served.iter().find(|served| served.task == task);
        served.map_or_else(|| "none".to_owned(), |served| served.model.clone())
    }

    /// Refuses a text that is too long.
    pub(super) fn check_text_length(&self, param: &str, text: &str) -> Result<(), WebError> {
        let (chars, most) = (text.chars().count(), self.max_text_chars);
        if chars <= most {
            return Ok(());
        }
        let message = format!("{param} has {chars} characters; {most} are the most.");
        Err(WebError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_long", message).param(param))
    }
}

/// What every handler may use. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The job table.
    pub store: JobStore,
    /// Whether the worker has its models.
    pub readiness: watch::Receiver<Readiness>,
    /// What is offered and allowed.
    pub config: Arc<WebConfig>,
    /// The engines, for requests without a job.
    pub direct: Arc<dyn Direct>,
    /// A permit for every request that waits for them or uses them.
    pub(super) waiting: Arc<Semaphore>,
    /// A permit for every wrong token that waits for its answer.
    pub(super) guesses: Arc<Semaphore>,
    /// A permit for every upload under way.
    pub(super) uploads: Arc<Semaphore>,
    /// The one permit to compress speech or draw it.
    pub(super) making: Arc<Semaphore>,
    /// Set when the server stops, so that event streams end and do not hold it up.
    pub(super) closing: CancellationToken,
}

impl AppState {
    /// State for one [`super::router`].
    #[must_use]
    pub fn new(
        store: JobStore,
        readiness: watch::Receiver<Readiness>,
        direct: Arc<dyn Direct>,
        config: WebConfig,
    ) -> Self {
        Self {
            store,
            readiness,
            config: Arc::new(config),
            direct,
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            guesses: Arc::new(Semaphore::new(MAX_GUESSES)),
            uploads: Arc::new(Semaphore::new(MAX_UPLOADS)),
            making: Arc::new(Semaphore::new(1)),
            closing: CancellationToken::new(),
        }
    }

    /// A place among the uploads under way.
    pub(super) fn admit_upload(&self) -> Result<SemaphorePermit<'_>, WebError> {
        self.uploads.try_acquire().map_err(|_| {
            let message = "Too many recordings are being uploaded at once. Try again in a moment.";
            WebError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_uploads", message)
        })
    }
}
