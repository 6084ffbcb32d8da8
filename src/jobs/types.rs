//! Rows of the job table as the rest of the program sees them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::JobError;
use crate::stage::{ErrorCode, JobOptions, StageKind, Timing};

/// A job's name: a UUIDv7, so ids sort by time and cannot be guessed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// A new id.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for JobId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for JobId {
    type Err = JobError;

    /// Accepts only the form that [`JobId`] is shown in, so an id is safe as a folder name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = Uuid::try_parse(text).map(Self).map_err(|_| JobError::BadId(text.to_owned()))?;
        if id.to_string() == text { Ok(id) } else { Err(JobError::BadId(text.to_owned())) }
    }
}

/// How far a job, or one stage run of it, has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waiting for the worker.
    Queued,
    /// A worker is on it.
    Running,
    /// Done, with a result.
    Succeeded,
    /// Stopped by an error.
    Failed,
    /// Stopped because somebody asked for it.
    Canceled,
}

impl JobState {
    const ALL: [Self; 5] =
        [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Canceled];

    /// The state's name in database, API and page.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = JobError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == name)
            .ok_or_else(|| JobError::Corrupt { what: "state", value: name.to_owned() })
    }
}

/// A job to be accepted.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// What the sender called the file; shown, never opened.
    pub prompt_name: Option<String>,
    /// Media type, such as `audio/webm`.
    pub prompt_type: String,
    /// Ending of the stored file, without a dot, such as `webm`.
    pub prompt_extension: &'static str,
    /// Length, where the container tells.
    pub prompt_ms: Option<u64>,
    /// What the job asks for.
    pub options: JobOptions,
    /// Makes the same recording, sent again, the same job.
    pub idempotency: Option<IdempotencyKey>,
}

/// A client's word for one thing that it wants done, however often it asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// What the client chose.
    pub key: String,
    /// What it asked for: SHA-256 of the recording and the options.
    pub fingerprint: String,
}

/// Which jobs are meant. The default is all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Older than this one.
    pub before: Option<JobId>,
    /// In this state.
    pub state: Option<JobState>,
    /// Accepted then or later, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
}

/// A job with its stage runs and artifacts, each in the order of the stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// The job's name.
    pub id: JobId,
    /// How far it has come.
    pub state: JobState,
    /// The version that is shown: at first the newest.
    pub version: u32,
    /// When it was accepted, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When its first stage began.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// File name of the prompt in the job's folder.
    #[serde(skip_serializing)]
    pub prompt_file: String,
    /// What the sender called the prompt.
    pub prompt_name: Option<String>,
    /// Media type of the prompt.
    pub prompt_type: String,
    /// Length of the prompt in milliseconds, where known.
    pub prompt_ms: Option<u64>,
    /// Size of the prompt's file.
    pub prompt_bytes: u64,
    /// What the version asked for.
    #[serde(default)]
    pub options: JobOptions,
    /// Why it failed.
    pub error: Option<JobFailure>,
    /// All versions, the first one first.
    pub versions: Vec<Version>,
    /// Stages that are or were due.
    pub stages: Vec<StageRun>,
    /// What the stages made.
    pub artifacts: Vec<ArtifactRow>,
}

impl Job {
    /// Narrows the runs and artifacts of all versions to what `version` made itself or
    /// took over from those before it.
    pub(super) fn show(&mut self, version: u32) {
        let source = |stage: StageKind| {
            let mut earlier = self.versions.iter().rev().filter(|it| it.version <= version);
            earlier.find(|it| it.first_stage <= stage).map(|it| it.version)
        };
        let sources: Vec<Option<u32>> = StageKind::ALL.into_iter().map(source).collect();
        let shown = |stage: StageKind, version| sources[stage as usize] == Some(version);
        self.stages.retain(|run| shown(run.stage, run.version));
        self.stages.sort_by_key(|run| run.stage);
        self.artifacts.retain(|artifact| shown(artifact.stage, artifact.version));
        self.artifacts.sort_by_key(|artifact| artifact.stage);
        if let Some(it) = self.versions.iter().find(|it| it.version == version) {
            self.options = it.options.clone();
        }
        self.version = version;
    }

    /// The run of `stage`, once it is due.
    #[must_use]
    pub fn stage(&self, stage: StageKind) -> Option<&StageRun> {
        self.stages.iter().find(|run| run.stage == stage)
    }

    /// What `stage` made.
    #[must_use]
    pub fn artifact(&self, stage: StageKind) -> Option<&ArtifactRow> {
        self.artifacts.iter().find(|artifact| artifact.stage == stage)
    }
}

/// How many jobs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct JobCounts {
    /// In whatever state.
    pub all: u64,
    /// Waiting for a worker.
    pub queued: u64,
    /// A worker is on them.
    pub running: u64,
    /// Done, with a result.
    pub succeeded: u64,
    /// Stopped by an error.
    pub failed: u64,
    /// Stopped because somebody asked for it.
    pub canceled: u64,
    /// Since when the job that has waited longest does so.
    pub oldest_queued_ms: Option<i64>,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobFailure {
    /// The stage that failed.
    pub stage: StageKind,
    /// For programs.
    pub code: ErrorCode,
    /// For the person.
    pub message: String,
}

/// One run of a job: the first, or a later one from some stage on with other options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// From 1.
    pub version: u32,
    /// This stage and those after it were run for this version.
    pub first_stage: StageKind,
    /// What it asked for.
    pub options: JobOptions,
    /// When it was asked for.
    pub created_ms: i64,
}

/// Why the last attempt at a stage failed while another is to come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunFailure {
    /// For programs.
    pub code: ErrorCode,
    /// For the person.
    pub message: String,
}

/// One stage of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageRun {
    /// Which stage.
    pub stage: StageKind,
    /// The version that it was run for.
    pub version: u32,
    /// How far it has come.
    pub state: JobState,
    /// How often it was started.
    pub attempt: u32,
    /// When it became due.
    pub due_ms: i64,
    /// When it was last started.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// What it cost, once it succeeded.
    pub timing: Option<Timing>,
    /// Why the last attempt failed, while the next one waits for its time.
    pub error: Option<RunFailure>,
}

/// What a stage made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactRow {
    /// The stage that made it.
    pub stage: StageKind,
    /// The version that it was made for.
    pub version: u32,
    /// File name in the job's folder.
    pub file: String,
    /// Media type, such as `audio/wav`.
    pub media_type: String,
    /// Size of the file.
    pub size_bytes: u64,
    /// Hash of the file, hexadecimal.
    pub sha256: String,
    /// Length of audio.
    pub duration_ms: Option<u64>,
}
