//! Why an engine could not load or stopped.

use std::path::{Path, PathBuf};

/// Why an engine could not load or stopped.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// A file that the engine needs is not there.
    #[error("{what} is missing: {}", path.display())]
    Missing {
        /// What it is, for a person: `the speech model`.
        what: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file is there but the engine cannot use it.
    #[error("{what} could not be loaded: {detail}")]
    Load {
        /// What it is, for a person.
        what: String,
        /// What the library said.
        detail: String,
    },
    /// Computing failed.
    #[error("{what} failed: {detail}")]
    Run {
        /// What was being done, for a person: `transcribing`.
        what: String,
        /// What the library said.
        detail: String,
    },
    /// The input is larger than the engine can take; the sentence says how large both are.
    #[error("{0}")]
    TooLong(String),
    /// The engine does not serve the language asked for.
    #[error("{0}")]
    UnsupportedLanguage(String),
    /// The recording holds no speech.
    #[error("No speech was found in the recording.")]
    NoSpeech,
    /// The server that was to do the work does not answer, or not in time.
    #[error("The server {url} does not answer.")]
    Unreachable {
        /// Where it was looked for, without credentials.
        url: String,
        /// What the network said; for the log.
        detail: String,
    },
    /// The server that was to do the work answers something that is of no use.
    #[error("The server {url} gave an answer that cannot be used.")]
    BadAnswer {
        /// Which server, without credentials.
        url: String,
        /// What is wrong with the answer; for the log.
        detail: String,
    },
    /// Somebody asked for it.
    #[error("The job was canceled.")]
    Canceled,
}

impl EngineError {
    /// A load failure from a library's error.
    pub fn load(what: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Self::Load { what: what.into(), detail: detail.to_string() }
    }

    /// A file that could not be opened or read: missing, or there and unreadable.
    pub fn unreadable(what: impl Into<String>, path: &Path, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::NotFound {
            Self::Missing { what: what.into(), path: path.to_owned() }
        } else {
            Self::load(what, format!("{}: {error}", path.display()))
        }
    }

    /// A failure while computing, from a library's error.
    pub fn run(what: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Self::Run { what: what.into(), detail: detail.to_string() }
    }
}
