//! What every handler may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::jobs::{JobStore, Readiness};
use crate::models::ModelStore;
use crate::stage::JobOptions;

/// Uploads that may be under way at once. Each may take
/// [`WebConfig::max_upload_bytes`] of disk before it is accepted or refused.
const MAX_UPLOADS: usize = 8;

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
    /// Tags of those that the text model translates, with slips.
    pub rough: Vec<String>,
    /// Prompt templates.
    pub templates: Vec<Choice>,
    /// Voices that are installed.
    pub voices: Vec<OfferedVoice>,
    /// The largest recording that is accepted.
    pub max_upload_bytes: u64,
    /// The models and which of them were picked by name; `None` for stub stages.
    pub models: Option<Models>,
    /// Jobs that run side by side.
    pub workers: usize,
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
    /// [`WebConfig::max_upload_bytes`] when nothing else is configured: 100 MB.
    pub const DEFAULT_MAX_UPLOAD_BYTES: u64 = 100_000_000;
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
    pub fn new(store: JobStore, readiness: watch::Receiver<Readiness>, config: WebConfig) -> Self {
        Self {
            store,
            readiness,
            config: Arc::new(config),
            uploads: Arc::new(Semaphore::new(MAX_UPLOADS)),
            making: Arc::new(Semaphore::new(1)),
            closing: CancellationToken::new(),
        }
    }
}
