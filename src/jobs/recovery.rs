//! What happens at start: whatever the last process left half done is put right.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::artifact::{TEMPORARY, hash_file};
use super::store::{GOING, blocking};
use super::{ArtifactRow, Job, JobError, JobFolder, JobId, JobState, JobStore, Run};
use crate::stage::{StageError, StageKind};

/// A stage run is given up after it was started this often without an end: it
/// takes the program down with it.
const MOST_CRASHES: u32 = 5;

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
        for (run, attempts) in self.interrupted().await? {
            if attempts >= MOST_CRASHES {
                let error = StageError::internal(
                    format!("{} stopped the program several times and was given up.", run.stage),
                    "the process ended during this stage at every attempt",
                );
                self.fail(run, &error).await?;
                recovered.given_up += 1;
            } else {
                self.queue_interrupted(run).await?;
                recovered.queued_again += 1;
            }
        }
        let ids = self.ids().await?;
        for &id in &ids {
            let Some(job) = self.get(id).await? else { continue };
            let mut artifacts = self.artifacts(id).await?;
            if let Some(check) = Check::for_start(job.state)
                && self.repair_job(&job, &artifacts, check).await?
            {
                recovered.run_again += 1;
                artifacts = self.artifacts(id).await?;
            }
            recovered.removed += self.remove_strays(&job, &artifacts)?;
        }
        recovered.removed += self.remove_folders_without_row(&ids)?;
        recovered.removed += empty(self.incoming_dir())?;
        Ok(recovered)
    }

    /// Hashes the results of all jobs that succeeded, and lets stages run again whose
    /// result is not what was recorded. It reads everything that is kept, so it runs
    /// beside the workers and not before them. Returns how many jobs run again.
    ///
    /// # Errors
    /// When the table or the folder cannot be read.
    pub async fn verify_history(&self) -> Result<usize, JobError> {
        let mut run_again = 0;
        for id in self.ids().await? {
            let Some(job) = self.get(id).await? else { continue };
            if job.state == JobState::Succeeded {
                let artifacts = self.artifacts(id).await?;
                run_again += usize::from(self.repair_job(&job, &artifacts, Check::Hash).await?);
            }
        }
        Ok(run_again)
    }

    /// Lets a job run again from the first stage whose file is not what was recorded;
    /// damaged files that only an older version made are forgotten. `all` are the
    /// artifacts of all versions. Returns whether the job runs again.
    async fn repair_job(
        &self,
        job: &Job,
        all: &[ArtifactRow],
        check: Check,
    ) -> Result<bool, JobError> {
        let (folder, all) = (self.folder(job.id), all.to_vec());
        let damaged = blocking(move || {
            Ok(all.into_iter().filter(|it| !check.passes(it, &folder)).collect::<Vec<_>>())
        })
        .await?;
        let first = job.artifacts.iter().find(|artifact| damaged.contains(artifact));
        if let Some(artifact) = first {
            self.repair(Run { id: job.id, version: job.version, stage: artifact.stage }).await?;
        }
        // Of the newest version the repair has forgotten them, and a worker may have made
        // them anew already.
        for lost in damaged.iter().filter(|lost| lost.version != job.version) {
            self.forget(Run { id: job.id, version: lost.version, stage: lost.stage }).await?;
        }
        Ok(first.is_some())
    }

    /// Removes files in a job's folder that no row knows.
    fn remove_strays(&self, job: &Job, artifacts: &[ArtifactRow]) -> Result<usize, JobError> {
        let folder = self.folder(job.id);
        let known: HashSet<&str> = artifacts
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
            let id = name.strip_suffix(GOING).unwrap_or(&name);
            if !known.contains(&name) && id.parse::<JobId>().is_ok() {
                fs::remove_dir_all(entry.path())
                    .map_err(JobError::io(format!("removing {}", entry.path().display())))?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// How closely a job's files are compared with what was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Size,
    Hash,
}

impl Check {
    /// Before the workers start: what will be read by a stage is hashed, history is not,
    /// because that would delay every start.
    const fn for_start(state: JobState) -> Option<Self> {
        match state {
            JobState::Queued | JobState::Running => Some(Self::Hash),
            JobState::Succeeded => Some(Self::Size),
            // It keeps what it has; it will not run again unless somebody asks for it.
            JobState::Failed | JobState::Canceled => None,
        }
    }

    fn passes(self, artifact: &ArtifactRow, folder: &JobFolder) -> bool {
        let path = folder.path(&artifact.file);
        let size = fs::metadata(&path).map(|metadata| metadata.len());
        size.ok() == Some(artifact.size_bytes)
            && (self == Self::Size || hash_file(&path).ok().as_ref() == Some(&artifact.sha256))
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
