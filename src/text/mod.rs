//! Text without models: transcripts, sentences, language tags.
//!
//! Called by `engine` and `stage`. Pure functions on strings.

pub mod prose;
pub mod templates;
pub mod sentences;
pub mod spoken;
pub mod transcript;

pub use transcript::{Segment, Transcript};
