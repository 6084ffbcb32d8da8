//! Text without models: transcripts, sentences, language tags.
//!
//! Called by `engine`, `stage` and `web`. Pure functions on strings.

pub mod calendar;
pub mod language;
pub mod prose;
pub mod sentences;
pub mod spoken;
pub mod subtitles;
pub mod templates;
pub mod transcript;
pub mod window;
pub mod word_errors;

pub use language::Language;
pub use transcript::{Segment, Transcript};

/// What a sentence begins with that no engine could translate and that stays in English.
pub const UNTRANSLATED: &str = "[en] ";
