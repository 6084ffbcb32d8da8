//! The one error that the command line ends with, and the exit code for each kind.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::jobs::JobError;
use crate::models::ModelsError;
use crate::stage::{ErrorCode, StageError, StageKind};
use crate::web::TlsError;

/// Exit codes, as `mega-pipeline --help` documents them.
pub mod exit {
    /// The work itself failed.
    pub const FAILED: u8 = 1;
    /// Wrong usage or configuration.
    pub const USAGE: u8 = 2;
    /// Weights or a library are missing or damaged.
    pub const MISSING: u8 = 3;
    /// The recording cannot be read or holds no speech.
    pub const BAD_INPUT: u8 = 4;
    /// There is no microphone or loudspeaker, or it cannot be used.
    pub const NO_SOUND_DEVICE: u8 = 5;
    /// Interrupted by Ctrl-C.
    pub const INTERRUPTED: u8 = 130;
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The job table failed.
    #[error(transparent)]
    Jobs(#[from] JobError),
    /// Weights could not be had, or are damaged.
    #[error(transparent)]
    Models(#[from] ModelsError),
    /// A stage failed.
    #[error("{stage}: {error}")]
    Stage {
        /// Which stage.
        stage: StageKind,
        /// Why.
        error: StageError,
    },
    /// The stages could not be put together.
    #[error(transparent)]
    Stages(#[from] StageError),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The address to listen on is taken or not ours.
    #[error(
        "{address} cannot be listened on: {source}. Choose another with --listen HOST:PORT or MEGA_LISTEN."
    )]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Everybody in the network could use the server.
    #[error(
        "{address} can be reached from other machines, and no token is asked for. Set \
         MEGA_API_TOKENS=name=SECRET (16 characters or more) or `api_tokens_file`; or start with \
         --insecure-no-auth where something else keeps strangers out."
    )]
    OpenToAll {
        /// The address.
        address: std::net::SocketAddr,
    },
    /// Connections cannot be encrypted.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no microphone or loudspeaker, or it cannot be used.
    #[error("{0}")]
    Sound(String),
    /// Anything else that a person can act on.
    #[error("{0}")]
    Other(String),
    /// A check of `doctor` or a hash of `models verify` failed; it was told already.
    #[error("")]
    Told(u8),
}

impl AppError {
    /// An error about a file.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// The exit code that tells a script what kind of failure this is.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config(_) | Self::OpenToAll { .. } | Self::Tls(_) => exit::USAGE,
            Self::Models(_) => exit::MISSING,
            Self::Stage { error, .. } => match error.code {
                ErrorCode::NoSpeech | ErrorCode::UnreadableAudio | ErrorCode::TooLong => {
                    exit::BAD_INPUT
                }
                ErrorCode::ModelMissing => exit::MISSING,
                ErrorCode::UnsupportedLanguage => exit::USAGE,
                ErrorCode::Canceled => exit::INTERRUPTED,
                _ => exit::FAILED,
            },
            Self::Sound(_) => exit::NO_SOUND_DEVICE,
            Self::Told(code) => *code,
            _ => exit::FAILED,
        })
    }

    /// The sentence to print, if it was not told already.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        match self {
            Self::Told(_) => None,
            Self::Stage { error, .. } => {
                let detail = error.detail.as_ref().map(|detail| format!("\n  ({detail})"));
                Some(format!("{self}{}", detail.unwrap_or_default()))
            }
            _ => Some(self.to_string()),
        }
    }
}
