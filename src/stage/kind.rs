//! The names of the five stages: the same in database, API, page and log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One of the five stages, in the order in which they run.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum StageKind {
    /// Speech to text.
    TranscribeAudio,
    /// A language model continues the transcript.
    GenerateText,
    /// The generated text spoken in English.
    SynthesisAudioEn,
    /// The generated text in the target language.
    TranslateText,
    /// The translation spoken in the target language.
    SynthesisAudio,
}

impl StageKind {
    /// All stages in the order in which they run.
    pub const ALL: [Self; 5] = [
        Self::TranscribeAudio,
        Self::GenerateText,
        Self::SynthesisAudioEn,
        Self::TranslateText,
        Self::SynthesisAudio,
    ];

    /// The stage's name, such as `transcribe_audio`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TranscribeAudio => "transcribe_audio",
            Self::GenerateText => "generate_text",
            Self::SynthesisAudioEn => "synthesis_audio_en",
            Self::TranslateText => "translate_text",
            Self::SynthesisAudio => "synthesis_audio",
        }
    }

    /// The stage that speaks the language `tag`.
    #[must_use]
    pub fn speaks(tag: &str) -> Self {
        if tag == "en" { Self::SynthesisAudioEn } else { Self::SynthesisAudio }
    }

    /// The stage whose result this one reads; the first reads the recording.
    #[must_use]
    pub const fn reads(self) -> Option<Self> {
        match self {
            Self::TranscribeAudio => None,
            Self::GenerateText => Some(Self::TranscribeAudio),
            Self::SynthesisAudioEn | Self::TranslateText => Some(Self::GenerateText),
            Self::SynthesisAudio => Some(Self::TranslateText),
        }
    }

    /// The stage that runs after this one, if any.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::ALL.get(self as usize + 1).copied()
    }
}

impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for StageKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            format!("no stage is called `{name}`; the stages are {known}")
        })
    }
}
