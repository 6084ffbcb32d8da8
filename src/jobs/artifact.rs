//! Artifacts on disk: written under a temporary name, synced, renamed.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::JobError;
use super::fault::{self, Point};
use crate::audio;
use crate::stage::{Artifact, StageKind};

/// Files that are still being written end in this.
pub(super) const TEMPORARY: &str = "tmp";

/// The folder of one job.
#[derive(Debug, Clone)]
pub struct JobFolder(PathBuf);

/// An artifact that is safely on disk but not yet in the table.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredArtifact {
    /// File name in the job's folder.
    pub file: String,
    /// Media type.
    pub media_type: &'static str,
    /// Size of the file.
    pub size_bytes: u64,
    /// Hash of the file, hexadecimal.
    pub sha256: String,
    /// Length of audio.
    pub duration_ms: Option<u64>,
    /// What of it can be searched for.
    pub text: Option<String>,
}

impl JobFolder {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The folder itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// A file in the folder. `file` comes from the job table, never from a client.
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// Where whatever can be made again of the results is kept; it may vanish at any time.
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// Writes what `stage` made for `version` so that it survives a crash from now on.
    ///
    /// # Errors
    /// When the disk is full or not writable; nothing is left under the final name.
    pub fn store(
        &self,
        stage: StageKind,
        version: u32,
        artifact: &Artifact,
    ) -> Result<StoredArtifact, JobError> {
        let (bytes, extension, media_type, duration_ms) = match artifact {
            Artifact::Transcript(transcript) => {
                let json = serde_json::to_vec_pretty(transcript)
                    .expect("a transcript has only strings and numbers");
                (json, "json", "application/json", None)
            }
            Artifact::Text(text) => {
                (text.clone().into_bytes(), "txt", "text/plain; charset=utf-8", None)
            }
            Artifact::Audio(audio) => {
                (audio::wav_bytes(audio), "wav", "audio/wav", Some(audio.duration_ms()))
            }
        };
        let text = match artifact {
            Artifact::Transcript(transcript) => Some(transcript.text.clone()),
            Artifact::Text(text) => Some(text.clone()),
            Artifact::Audio(_) => None,
        };
        let file = format!("{stage}.v{version}.{extension}");
        write_durably(&self.0, &file, &bytes)?;
        Ok(StoredArtifact {
            file,
            media_type,
            size_bytes: bytes.len() as u64,
            sha256: hex(&Sha256::digest(&bytes)),
            duration_ms,
            text,
        })
    }
}

/// Writes `dir/file` by way of a temporary name, so that nobody finds half a file under the
/// final one, and syncs both the file and the folder.
///
/// The rename comes before the syncs: file systems with a journal then write both in one go.
/// After a power cut the final name may hold half a file, but no row knows it, and the
/// next start removes it.
fn write_durably(dir: &Path, file: &str, bytes: &[u8]) -> Result<(), JobError> {
    let temporary = dir.join(format!("{file}.{TEMPORARY}"));
    let path = dir.join(file);
    let write = || {
        let mut out = File::create(&temporary)?;
        out.write_all(bytes)?;
        fault::reach(Point::ArtifactWritten)?;
        fs::rename(&temporary, &path)?;
        fault::reach(Point::ArtifactRenamed)?;
        out.sync_all()?;
        sync_dir(dir)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        let _ = fs::remove_file(&path);
        JobError::io(format!("writing {}", path.display()))(error)
    })
}

/// Makes a rename or removal in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The SHA-256 of a file, hexadecimal.
pub(super) fn hash_file(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    std::io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_is_on_disk_under_its_stage_name_with_its_hash() {
        let dir = tempfile::tempdir().unwrap();
        let folder = JobFolder::new(dir.path().to_owned());
        let stored =
            folder.store(StageKind::GenerateText, 1, &Artifact::Text("abc".to_owned())).unwrap();
        assert_eq!(stored.file, "generate_text.v1.txt");
        assert_eq!(stored.size_bytes, 3);
        // The SHA-256 of "abc" from FIPS 180-2, appendix B.1.
        assert_eq!(
            stored.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(fs::read_to_string(folder.path(&stored.file)).unwrap(), "abc");
        assert_eq!(hash_file(&folder.path(&stored.file)).unwrap(), stored.sha256);
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        let folder = JobFolder::new(gone.clone());
        let error = folder
            .store(StageKind::GenerateText, 1, &Artifact::Text("abc".to_owned()))
            .unwrap_err();
        assert!(matches!(error, JobError::Io { .. }), "{error}");
        assert!(!gone.exists());
    }
}
