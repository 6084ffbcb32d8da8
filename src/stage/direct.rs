//! The stages' engines, asked for one thing without a job: what OpenAI's and LibreTranslate's
//! clients do.

use std::path::Path;

use super::engines::SharedEngines;
use super::{StageError, speak, transcribe_audio, translate_text};
use crate::audio::loudness::Leveller;
use crate::audio::{Audio, DecodeLimits};
use crate::engine::{ChatMessage, Control, GenerateOptions, Generation, turn};
use crate::text::{Transcript, sentences};

/// What is to be said, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeechRequest {
    /// The text, of any length.
    pub text: String,
    /// BCP 47 tag of its language.
    pub language: String,
    /// Model id of the voice; empty for the configured one.
    pub voice: String,
    /// 1 is the voice's own pace.
    pub speed: f32,
}

/// The engines of the stages, shared with the jobs: each does one thing at a time, and whoever
/// comes second waits. Every call blocks until its work is done.
pub trait Direct: Send + Sync {
    /// Writes down what is said in the recording at `path`, in `language` or [`super::AUTO`];
    /// gives the recording's length in milliseconds too.
    ///
    /// # Errors
    /// As the stage `transcribe_audio`.
    fn transcribe(
        &self,
        path: &Path,
        language: &str,
        control: &Control<'_>,
    ) -> Result<(Transcript, u64), StageError>;

    /// Answers a conversation; `on_text` gets the answer as it comes.
    ///
    /// # Errors
    /// As the stage `generate_text`.
    fn answer(
        &self,
        messages: &[ChatMessage],
        options: &GenerateOptions,
        control: &Control<'_>,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Generation, StageError>;

    /// Speaks; `on_sound` gets the sound sentence by sentence, pauses included.
    ///
    /// # Errors
    /// As the stages that speak, and whatever `on_sound` refuses.
    fn speak(
        &self,
        request: &SpeechRequest,
        control: &Control<'_>,
        on_sound: &mut dyn FnMut(&Audio) -> Result<(), StageError>,
    ) -> Result<(), StageError>;

    /// Translates a text from `source` to `target`, BCP 47 tags.
    ///
    /// # Errors
    /// As the stage `translate_text`.
    fn translate(
        &self,
        text: &str,
        source: &str,
        target: &str,
        control: &Control<'_>,
    ) -> Result<String, StageError>;
}

/// The engines of one worker.
pub(super) struct Engaged {
    engines: SharedEngines,
    limits: DecodeLimits,
}

impl Engaged {
    /// Shares `engines`.
    pub const fn new(engines: SharedEngines, limits: DecodeLimits) -> Self {
        Self { engines, limits }
    }
}

impl Direct for Engaged {
    fn transcribe(
        &self,
        path: &Path,
        language: &str,
        control: &Control<'_>,
    ) -> Result<(Transcript, u64), StageError> {
        let transcriber = turn(&self.engines, control.cancel)?.transcriber()?;
        transcribe_audio::transcribe(&transcriber, path, self.limits, language, control)
    }

    fn answer(
        &self,
        messages: &[ChatMessage],
        options: &GenerateOptions,
        control: &Control<'_>,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Generation, StageError> {
        let text_model = turn(&self.engines, control.cancel)?.text_model()?;
        let mut engine = turn(&text_model.engine, control.cancel)?;
        Ok(engine.answer(messages, options, control, on_text)?)
    }

    fn speak(
        &self,
        request: &SpeechRequest,
        control: &Control<'_>,
        on_sound: &mut dyn FnMut(&Audio) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let voice =
            turn(&self.engines, control.cancel)?.voice(&request.language, &request.voice)?;
        let paragraphs = sentences::paragraphs(&request.text, &request.language);
        let mut leveller = Leveller::default();
        let sound = |sample_rate, samples| {
            let mut audio = Audio { sample_rate, samples };
            leveller.level(&mut audio);
            on_sound(&audio)
        };
        speak::say(&voice, &paragraphs, request.speed, control, sound).map(|_| ())
    }

    fn translate(
        &self,
        text: &str,
        source: &str,
        target: &str,
        control: &Control<'_>,
    ) -> Result<String, StageError> {
        let translator = turn(&self.engines, control.cancel)?.translator(source, target)?;
        Ok(translate_text::translate(&translator, text, source, control)?.0)
    }
}
