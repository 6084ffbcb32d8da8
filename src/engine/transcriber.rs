//! The trait of everything that writes down what is said, and the one that does it here.

use super::vad::Vad;
use super::whisper::Whisper;
use super::{Control, EngineError};
use crate::audio::Audio;
use crate::text::Transcript;

/// Loaded speech recognition, here or on another machine.
pub trait Transcriber: Send {
    /// Whether more languages than English are understood.
    fn is_multilingual(&self) -> bool;

    /// Writes down what is said in `audio`: mono at [`crate::audio::SPEECH_RATE`], of any length.
    ///
    /// `language` is the BCP 47 tag of what is spoken; `None` is to be found out. Progress is
    /// reported in milliseconds of sound.
    ///
    /// # Errors
    /// [`EngineError::NoSpeech`] when nothing is said, [`EngineError::UnsupportedLanguage`],
    /// [`EngineError::Canceled`], and [`EngineError::Run`] when the model fails.
    fn transcribe(
        &mut self,
        audio: &Audio,
        language: Option<&str>,
        control: &Control<'_>,
    ) -> Result<Transcript, EngineError>;
}

/// Whisper behind a check that there is speech at all: it invents text for silence.
pub struct SpeechToText {
    whisper: Whisper,
    vad: Vad,
}

impl SpeechToText {
    /// The two models together.
    #[must_use]
    pub const fn new(whisper: Whisper, vad: Vad) -> Self {
        Self { whisper, vad }
    }
}

impl Transcriber for SpeechToText {
    fn is_multilingual(&self) -> bool {
        self.whisper.is_multilingual()
    }

    fn transcribe(
        &mut self,
        audio: &Audio,
        language: Option<&str>,
        control: &Control<'_>,
    ) -> Result<Transcript, EngineError> {
        let speech = self.vad.speech(audio, control.cancel)?;
        self.whisper.transcribe_speech(audio, &speech, language, control)
    }
}
