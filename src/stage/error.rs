//! Why a stage stopped: a code for programs, a sentence for the person.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audio::DecodeError;
use crate::engine::EngineError;

/// Machine-readable reason of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The recording holds no speech.
    NoSpeech,
    /// The recording cannot be decoded.
    UnreadableAudio,
    /// The recording or a text is longer than allowed.
    TooLong,
    /// Weights are not on disk or do not have the right hash.
    ModelMissing,
    /// No engine or voice serves the language asked for.
    UnsupportedLanguage,
    /// Memory ran out.
    OutOfMemory,
    /// The disk is full.
    DiskFull,
    /// The server that a stage is computed on does not answer.
    RemoteUnreachable,
    /// The server that a stage is computed on answers something that is of no use.
    RemoteBadAnswer,
    /// Somebody asked for it.
    Canceled,
    /// A fault of this program or of a library.
    Internal,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 11] = [
        Self::NoSpeech,
        Self::UnreadableAudio,
        Self::TooLong,
        Self::ModelMissing,
        Self::UnsupportedLanguage,
        Self::OutOfMemory,
        Self::DiskFull,
        Self::RemoteUnreachable,
        Self::RemoteBadAnswer,
        Self::Canceled,
        Self::Internal,
    ];

    /// The code as it stands in the database and in JSON, such as `no_speech`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSpeech => "no_speech",
            Self::UnreadableAudio => "unreadable_audio",
            Self::TooLong => "too_long",
            Self::ModelMissing => "model_missing",
            Self::UnsupportedLanguage => "unsupported_language",
            Self::OutOfMemory => "out_of_memory",
            Self::DiskFull => "disk_full",
            Self::RemoteUnreachable => "remote_unreachable",
            Self::RemoteBadAnswer => "remote_bad_answer",
            Self::Canceled => "canceled",
            Self::Internal => "internal",
        }
    }
}

/// Why a stage stopped.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct StageError {
    /// For programs.
    pub code: ErrorCode,
    /// One sentence that a person can act on. Never holds internals.
    pub message: String,
    /// What went wrong underneath; for the log only.
    pub detail: Option<String>,
}

impl StageError {
    /// A failure that a person can act on.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None }
    }

    /// A fault of this program or a library: `what` says what was being done,
    /// `detail` goes to the log.
    pub fn internal(what: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Self { code: ErrorCode::Internal, message: what.into(), detail: Some(detail.to_string()) }
    }

    /// Somebody asked the stage to stop.
    #[must_use]
    pub fn canceled() -> Self {
        Self::new(ErrorCode::Canceled, "The job was canceled.")
    }

    /// Whether trying again, with nothing changed, can help.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        matches!(
            self.code,
            ErrorCode::DiskFull
                | ErrorCode::OutOfMemory
                | ErrorCode::RemoteUnreachable
                | ErrorCode::RemoteBadAnswer
        )
    }
}

impl From<EngineError> for StageError {
    fn from(error: EngineError) -> Self {
        let told = error.to_string();
        let detail = told.clone();
        match error {
            EngineError::Missing { what, .. } => Self {
                code: ErrorCode::ModelMissing,
                message: format!("{what} is missing. Run `mega-pipeline models pull`."),
                detail: Some(detail),
            },
            EngineError::Load { what, .. } => {
                Self::internal(format!("{what} could not be loaded."), detail)
            }
            EngineError::Run { what, .. } => Self::internal(format!("{what} failed."), detail),
            EngineError::TooLong(message) => Self::new(ErrorCode::TooLong, message),
            EngineError::UnsupportedLanguage(message) => {
                Self::new(ErrorCode::UnsupportedLanguage, message)
            }
            EngineError::Unreachable { detail, .. } => {
                Self { code: ErrorCode::RemoteUnreachable, message: told, detail: Some(detail) }
            }
            EngineError::BadAnswer { detail, .. } => {
                Self { code: ErrorCode::RemoteBadAnswer, message: told, detail: Some(detail) }
            }
            EngineError::NoSpeech => Self::new(ErrorCode::NoSpeech, detail),
            EngineError::Canceled => Self::canceled(),
        }
    }
}

impl From<DecodeError> for StageError {
    fn from(error: DecodeError) -> Self {
        let code = match error {
            DecodeError::TooLong { .. } => ErrorCode::TooLong,
            DecodeError::Unwanted => return Self::canceled(),
            DecodeError::Io { .. } => {
                return Self::internal("The recording could not be read.", error);
            }
            _ => ErrorCode::UnreadableAudio,
        };
        Self::new(code, error.to_string())
    }
}
