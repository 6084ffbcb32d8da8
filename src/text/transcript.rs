//! A transcript with the time of every segment.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was said in a recording.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Transcript {
    /// BCP 47 tag of the language that was spoken, such as `en`.
    pub language: String,
    /// The whole text: segments, trimmed, joined by single spaces.
    pub text: String,
    /// In order of time.
    pub segments: Vec<Segment>,
}

/// A stretch of a [`Transcript`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Segment {
    /// Start, in milliseconds from the beginning of the recording.
    pub start_ms: u64,
    /// End, in milliseconds from the beginning of the recording.
    pub end_ms: u64,
    /// What was said, trimmed.
    pub text: String,
}
