//! What happens at start: whatever the last process left half done is put right.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::artifact::{TEMPORARY, hash_file};
use super::store::remove_folder;
use super::{Job, JobError, JobId, JobState, JobStore};
use crate::stage::{StageError, StageKind};

/// What recovery found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Stage runs that were running and are queued again.
    pub queued_again: usize,
    /// Stage runs that took the program down too often; their jobs failed.
    pub given_up: usize,
    /// Stages whose artifact was missing or damaged and that run again.
    pub run_again: usize,
    /// Files and folders that no row knows.
    pub removed: usize,
}

impl JobStore {
    /// Puts right what the last process left half done. Called once, before the worker starts.
    ///
    /// # Errors
    /// When the table or the folder cannot be read.
    pub async fn recover(&self) -> Result<Recovered, JobError> {
        let mut recovered = Recovered::default();
        for (id, stage, too_often) in self.interrupted().await? {
            if too_often {
                let error = StageError::internal(
                    format!("{stage} stopped the program several times and was given up."),
                    "the process ended during this stage at every attempt",
                );
                self.fail(id, stage, &error).await?;
                recovered.given_up += 1;
            } else {
                self.requeue(id, stage).await?;
                recovered.queued_again += 1;
            }
        }
        let ids = self.ids().await?;
        for &id in &ids {
            let Some(job) = self.get(id).await? else { continue };
            if let Some(stage) = self.damaged(&job) {
                self.run_again(id, stage).await?;
                recovered.run_again += 1;
            }
            recovered.removed += self.remove_strays(id).await?;
        }
        recovered.removed += self.remove_folders_without_row(&ids)?;
        recovered.removed += empty(self.incoming_dir())?;
        Ok(recovered)
    }

    /// The first stage of a job whose file is missing or is not what was recorded.
    fn damaged(&self, job: &Job) -> Option<StageKind> {
        // A job that failed or was canceled keeps what it has; it will not run again.
        if matches!(job.state, JobState::Failed | JobState::Canceled) {
            return None;
        }
        let folder = self.folder(job.id);
        job.artifacts
            .iter()
            .find(|artifact| {
                let path = folder.path(&artifact.file);
                let size = fs::metadata(&path).map(|metadata| metadata.len());
                if job.state == JobState::Succeeded {
                    // Sizes only: hashing a long history would delay every start.
                    return size.ok() != Some(artifact.size_bytes);
                }
                size.ok() != Some(artifact.size_bytes)
                    || hash_file(&path).ok().as_deref() != Some(artifact.sha256.as_str())
            })
            .map(|artifact| artifact.stage)
    }

    /// Removes files in a job's folder that no row knows.
    async fn remove_strays(&self, id: JobId) -> Result<usize, JobError> {
        let Some(job) = self.get(id).await? else { return Ok(0) };
        let folder = self.folder(id);
        let known: HashSet<&str> = job
            .artifacts
            .iter()
            .map(|artifact| artifact.file.as_str())
            .chain([job.prompt_file.as_str()])
            .collect();
        let Ok(entries) = fs::read_dir(folder.dir()) else { return Ok(0) };
        let mut removed = 0;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !known.contains(name.as_ref()) && is_ours(&name) {
                fs::remove_file(entry.path())
                    .map_err(JobError::io(format!("removing {}", entry.path().display())))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn remove_folders_without_row(&self, ids: &[JobId]) -> Result<usize, JobError> {
        let known: HashSet<String> = ids.iter().map(ToString::to_string).collect();
        let dir = self.jobs_dir();
        let entries =
            fs::read_dir(dir).map_err(JobError::io(format!("reading {}", dir.display())))?;
        let mut removed = 0;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let (false, Ok(id)) = (known.contains(&name), name.parse::<JobId>()) {
                remove_folder(&self.folder(id))?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// Whether this program writes files of that name; anything else in the folder is left alone.
fn is_ours(name: &str) -> bool {
    name.ends_with(TEMPORARY)
        || StageKind::ALL.iter().any(|stage| {
            name.strip_prefix(stage.as_str()).is_some_and(|rest| rest.starts_with('.'))
        })
}

/// Removes uploads that were never submitted.
fn empty(dir: &Path) -> Result<usize, JobError> {
    let entries = fs::read_dir(dir).map_err(JobError::io(format!("reading {}", dir.display())))?;
    let mut removed = 0;
    for entry in entries.flatten() {
        fs::remove_file(entry.path())
            .map_err(JobError::io(format!("removing {}", entry.path().display())))?;
        removed += 1;
    }
    Ok(removed)
}
