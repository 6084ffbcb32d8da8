//! The catalogue of weights and the store that keeps them.
//!
//! `manifest` is what can be had, `store` what is there, `pull` brings the one
//! to the other through `source`. The sha256 in the manifest is what is
//! trusted: any source will do if the bytes are right. Called by `cli`, `stage`
//! and `web`; only `pull` uses the network.

mod digest;
mod error;
mod fetch;
mod install;
mod lock;
mod manifest;
mod pairs;
mod progress;
mod pull;
mod sink;
mod source;
mod space;
mod stamp;
mod store;
mod toml_file;
mod unpack;

pub use error::ModelsError;
pub use lock::Choice;
pub use manifest::{Candidate, FileSpec, Format, Kind, LLM, Manifest, Model, Packed, Role};
pub use pairs::{REMOTE_SETTINGS, find_pair, known_pair};
pub use progress::{Bars, Lines, PullProgress, Silent, human_bytes};
pub use pull::{Outcome, PassedOver, PullOptions, PullReport, Pulled, Want, pull};
pub use source::{Commands, HubAccess, PackagePart, Source};
pub use space::FreeSpace;
pub use store::{FileCheck, FileState, ModelStore, Resolved};
