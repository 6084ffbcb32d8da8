//! Stage 1: what was said in the recording.

use std::time::Instant;

use super::engines::{Loaded, SharedEngines, elapsed_ms, lock};
use super::{
    AUTO, Artifact, Artifacts, ErrorCode, Stage, StageContext, StageError, StageKind, StageOutput,
    Timing,
};
use crate::audio::{DecodeLimits, decode_while};
use crate::engine::vad::Vad;
use crate::engine::whisper::Whisper;

/// Speech to text with whisper.cpp, behind a check that there is speech at all.
pub struct TranscribeAudio {
    engines: SharedEngines,
    limits: DecodeLimits,
    loaded: Option<(Loaded<Whisper>, Vad)>,
}

impl TranscribeAudio {
    /// The stage, with nothing loaded yet.
    #[must_use]
    pub const fn new(engines: SharedEngines, limits: DecodeLimits) -> Self {
        Self { engines, limits, loaded: None }
    }
}

impl Stage for TranscribeAudio {
    fn kind(&self) -> StageKind {
        StageKind::TranscribeAudio
    }

    fn load(&mut self) -> Result<(), StageError> {
        if self.loaded.is_none() {
            let engines = lock(&self.engines)?;
            self.loaded = Some((engines.whisper()?, engines.vad()?));
        }
        Ok(())
    }

    fn run(
        &mut self,
        inputs: &Artifacts,
        ctx: &StageContext<'_>,
    ) -> Result<StageOutput, StageError> {
        self.load()?;
        let (whisper, vad) = self.loaded.as_mut().expect("load() has just filled it");
        let language = Some(ctx.options.language.as_str()).filter(|language| *language != AUTO);
        if !whisper.engine.is_multilingual() && language.is_some_and(|tag| !is_english(tag)) {
            return Err(StageError::new(
                ErrorCode::UnsupportedLanguage,
                format!(
                    "The model {} understands English only. Set `model.speech-to-text` to one for \
                     99 languages, such as whisper-base.",
                    whisper.model
                ),
            ));
        }
        let started = Instant::now();
        let cancel = ctx.control.cancel;
        let audio = decode_while(&inputs.prompt, &self.limits, &|| !cancel.is_canceled())?;
        // Whisper invents text for silence, so it is not asked about any.
        let speech = vad.speech(&audio, cancel)?;
        let transcript =
            whisper.engine.transcribe_speech(&audio, &speech, language, &ctx.control)?;
        let timing = Timing {
            run_ms: elapsed_ms(started),
            audio_ms: Some(audio.duration_ms()),
            device: lock(&self.engines)?.device(),
            model: whisper.model.clone(),
            ..Timing::default()
        };
        Ok(StageOutput { artifact: Artifact::Transcript(transcript), timing })
    }
}

fn is_english(tag: &str) -> bool {
    tag.split('-').next() == Some("en")
}
