//! Why a file cannot be used as a recording, in a sentence for its owner.

use std::io;
use std::path::{Path, PathBuf};

/// What a person may send.
pub const ACCEPTED_FORMATS: &str =
    "WAV, AIFF, CAF, FLAC, MP3, Ogg or WebM with Opus or Vorbis, and MP4 or M4A with AAC";

/// Why a file cannot be used as a recording.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No container of sound was recognised.
    #[error("This is {found}, not a recording. Accepted are {ACCEPTED_FORMATS}.")]
    NotAudio {
        /// With its article: `a web page`.
        found: &'static str,
    },
    /// A recording in a form that has no decoder here.
    #[error("The recording uses {what}, which is not supported. Accepted are {ACCEPTED_FORMATS}.")]
    Unsupported {
        /// `six channels of Opus`.
        what: String,
    },
    /// A well-formed file without samples.
    #[error("The file holds no sound: {detail}.")]
    NoSound {
        /// What it holds in its place.
        detail: &'static str,
    },
    /// More sound than the limit allows.
    #[error("The recording is longer than the {} that are allowed. Send a shorter part of it.", length(*max_audio_s))]
    TooLong {
        /// The limit in seconds.
        max_audio_s: u64,
    },
    /// A recording that cannot be decoded, or not to its end.
    #[error("The recording is damaged: {detail}. Export or record it again.")]
    Damaged {
        /// What is wrong with it.
        detail: String,
    },
    /// Whoever asked for the sound does not want it any more.
    #[error("Reading the recording was stopped.")]
    Unwanted,
    /// The file cannot be read.
    #[error("The recording {} cannot be read: {source}.", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DecodeError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(super) fn damaged(detail: impl Into<String>) -> Self {
        Self::Damaged { detail: detail.into() }
    }
}

/// A limit as a person would say it.
fn length(seconds: u64) -> String {
    if seconds >= 120 && seconds.is_multiple_of(60) {
        format!("{} minutes", seconds / 60)
    } else {
        format!("{seconds} seconds")
    }
}
