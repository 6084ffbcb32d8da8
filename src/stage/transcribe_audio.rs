//! Stage 1: what was said in the recording.

use std::time::Instant;

use super::engines::{Loaded, SharedEngines, elapsed_ms, lock};
use super::{Artifact, Artifacts, Stage, StageContext, StageError, StageKind, StageOutput, Timing};
use crate::audio::{DecodeLimits, decode_while};
use crate::engine::vad::Vad;
use crate::engine::whisper::Whisper;

/// Language of the prompt. Models that know only English ignore it.
const LANGUAGE: &str = "en";

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
        let started = Instant::now();
        let cancel = ctx.control.cancel;
        let audio = decode_while(&inputs.prompt, &self.limits, &|| !cancel.is_canceled())?;
        // Whisper invents text for silence, so it is not asked about any.
        let speech = vad.speech(&audio, cancel)?;
        let transcript =
            whisper.engine.transcribe_speech(&audio, &speech, Some(LANGUAGE), &ctx.control)?;
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
