//! The durable job table and the workers that drive it.
//!
//! Called by `web` and `cli`. A job goes through the five stages in order; the
//! table says which stage is due. `store` is the table, `worker` the threads that
//! run what is due, `recovery` what happens at start, `janitor` what is kept. One transaction ends a stage run, records its
//! artifact and makes the next stage due, so a crash loses at most the stage
//! that was running, and nothing runs twice once it was recorded.

mod artifact;
mod clock;
mod error;
mod events;
mod fault;
mod janitor;
mod readiness;
mod recovery;
mod sample;
mod store;
mod types;
mod worker;

pub use artifact::{JobFolder, StoredArtifact};
pub use clock::{Clock, SharedClock, SystemClock};
pub use error::JobError;
pub use events::{EventHub, EventId, JobEvent, JobEventKind, LiveProgress};
pub use janitor::Janitor;
pub use readiness::Readiness;
pub use recovery::Recovered;
pub use sample::submit_sample;
pub use store::{Claim, FreeSpace, JobStore, Retention, Run, StoreOptions};
pub use types::{
    ArtifactRow, IdempotencyKey, Job, JobCounts, JobFailure, JobFilter, JobId, JobState, NewJob,
    RunFailure, StageRun, Version,
};
pub use worker::{StageSet, Workers};
