//! The durable job table and the worker that drives it.
//!
//! Called by `web` and `cli`. A job goes through the five stages in order; the
//! table says which stage is due. One transaction ends a stage run, records its
//! artifact and makes the next stage due, so a crash loses at most the stage
//! that was running, and nothing runs twice once it was recorded.

mod artifact;
mod error;
mod events;
mod recovery;
mod store;
mod types;
mod worker;

pub use artifact::{JobFolder, StoredArtifact};
pub use error::JobError;
pub use events::{EventHub, JobEvent, JobEventKind, LiveProgress};
pub use recovery::Recovered;
pub use store::{Claim, JobStore};
pub use types::{ArtifactRow, Job, JobFailure, JobId, JobState, NewJob, StageRun};
pub use worker::{Readiness, Worker};
