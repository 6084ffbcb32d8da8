//! A recording on its way in: written to a temporary file within the size
//! limit, then looked at. The content decides what it is; its name and the
//! request's Content-Type are not trusted.

use axum::body::Bytes;
use axum::http::StatusCode;
use sha2::{Digest, Sha256};
use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::error::WebError;
use crate::audio::{self, DecodeError};
use crate::jobs::JobStore;

/// The file that a recording is written to while it comes in.
pub(super) struct Recording {
    file: File,
    path: TempPath,
    size_bytes: u64,
    limit_bytes: u64,
    hash: Sha256,
}

/// A recording that is complete and can be decoded.
pub(super) struct Received {
    /// Where it is. Dropping this removes the file, unless it was moved.
    pub path: TempPath,
    /// Media type, such as `audio/webm`.
    pub media_type: &'static str,
    /// File name ending without the dot.
    pub extension: &'static str,
    /// Length, where the container tells.
    pub duration_ms: Option<u64>,
    /// Size.
    pub bytes: u64,
    /// What its content adds up to.
    pub hash: Sha256,
}

impl Recording {
    /// An empty file beside the jobs, for at most `limit_bytes`.
    pub async fn create(store: &JobStore, limit_bytes: u64) -> Result<Self, WebError> {
        let folder = store.incoming_dir().to_owned();
        let created =
            blocking(move || tempfile::Builder::new().prefix("upload-").tempfile_in(folder));
        let (file, path) = created.await?.map_err(|error| unwritable(&error))?.into_parts();
        Ok(Self {
            file: File::from_std(file),
            path,
            size_bytes: 0,
            limit_bytes,
            hash: Sha256::new(),
        })
    }

    /// Whether nothing has been written.
    pub const fn is_empty(&self) -> bool {
        self.size_bytes == 0
    }

    /// The most that may be written.
    pub const fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// Appends a piece; 413 when the recording becomes too large.
    pub async fn write(&mut self, piece: &Bytes) -> Result<(), WebError> {
        self.size_bytes += piece.len() as u64;
        if self.size_bytes > self.limit_bytes {
            return Err(too_large(self.limit_bytes));
        }
        self.hash.update(piece);
        self.file.write_all(piece).await.map_err(|error| unwritable(&error))
    }

    /// Looks whether the recording is audio; 415 with a sentence when it is not.
    pub async fn finish(mut self) -> Result<Received, WebError> {
        self.file.flush().await.map_err(|error| unwritable(&error))?;
        let path = self.path;
        let (path, probed) = blocking(move || {
            let probed = audio::probe(&path);
            (path, probed)
        })
        .await?;
        let info = probed.map_err(|error| unusable(&error))?;
        let (media_type, extension) = media_type(info.container);
        let (bytes, hash) = (self.size_bytes, self.hash);
        Ok(Received { path, media_type, extension, duration_ms: info.duration_ms, bytes, hash })
    }
}

/// 413, naming the limit.
pub(super) fn too_large(limit_bytes: u64) -> WebError {
    let megabytes = limit_bytes as f64 / 1e6;
    let message = format!("The recording is too large: at most {megabytes} MB are accepted.");
    WebError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
}

fn unwritable(error: &std::io::Error) -> WebError {
    WebError::io("an upload cannot be written", error)
}

/// 415 for what is no recording, 422 for a recording that cannot be used.
fn unusable(error: &DecodeError) -> WebError {
    let message = error.to_string();
    match error {
        DecodeError::NotAudio { .. } | DecodeError::Unsupported { .. } => {
            WebError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_audio", message)
        }
        DecodeError::NoSound { .. } | DecodeError::TooLong { .. } | DecodeError::Damaged { .. } => {
            WebError::unprocessable("unusable_audio", message)
        }
        // The message of the one names a path of this machine; nobody stops a probe.
        DecodeError::Io { .. } | DecodeError::Unwanted => WebError::internal(message),
    }
}

/// Media type and file name ending, as browsers' players know them, of a
/// container, as the decoder calls it.
fn media_type(container: &str) -> (&'static str, &'static str) {
    match container {
        "wave" => ("audio/wav", "wav"),
        "mp1" | "mp2" | "mp3" => ("audio/mpeg", "mp3"),
        "flac" => ("audio/flac", "flac"),
        "ogg" => ("audio/ogg", "ogg"),
        "matroska" => ("audio/webm", "webm"),
        "isomp4" => ("audio/mp4", "m4a"),
        "aac" => ("audio/aac", "aac"),
        "aiff" => ("audio/aiff", "aiff"),
        "caf" => ("audio/x-caf", "caf"),
        _ => ("application/octet-stream", "bin"),
    }
}

/// Runs something that blocks on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WebError> {
    tokio::task::spawn_blocking(work).await.map_err(WebError::internal)
}
