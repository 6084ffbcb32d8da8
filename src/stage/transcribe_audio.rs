//! Stage 1: what was said in the recording.

use std::path::Path;
use std::time::Instant;

use super::engines::{Loaded, SharedEngines, elapsed_ms};
use super::{
    AUTO, Artifact, Artifacts, ErrorCode, Stage, StageContext, StageError, StageKind, StageOutput,
    Timing,
};
use crate::audio::{DecodeLimits, decode_while};
use crate::engine::{Control, Transcriber, turn};
use crate::text::Transcript;

/// Speech to text.
pub struct TranscribeAudio {
    engines: SharedEngines,
    limits: DecodeLimits,
}

impl TranscribeAudio {
    /// The stage, with nothing loaded yet.
    #[must_use]
    pub const fn new(engines: SharedEngines, limits: DecodeLimits) -> Self {
        Self { engines, limits }
    }
}

impl Stage for TranscribeAudio {
    fn kind(&self) -> StageKind {
        StageKind::TranscribeAudio
    }

    fn load(&mut self) -> Result<(), StageError> {
        self.engines.lock().transcriber().map(|_| ())
    }

    fn run(
        &mut self,
        inputs: &Artifacts,
        ctx: &StageContext<'_>,
    ) -> Result<StageOutput, StageError> {
        let transcriber = turn(&self.engines, ctx.control.cancel)?.transcriber()?;
        let started = Instant::now();
        let language = &ctx.options.language;
        let (transcript, audio_ms) =
            transcribe(&transcriber, &inputs.prompt, self.limits, language, &ctx.control)?;
        let timing = Timing {
            load_ms: transcriber.load_ms,
            run_ms: elapsed_ms(started),
            audio_ms: Some(audio_ms),
            device: transcriber.device,
            model: transcriber.model,
            ..Timing::default()
        };
        Ok(StageOutput { artifact: Artifact::Transcript(transcript), timing })
    }
}

/// Writes down what is said in the recording at `path`, in `language` or [`AUTO`]; gives the
/// recording's length in milliseconds too.
///
/// # Errors
/// When the recording cannot be decoded, nothing is said in it, or recognition fails.
pub(super) fn transcribe(
    transcriber: &Loaded<dyn Transcriber>,
    path: &Path,
    limits: DecodeLimits,
    language: &str,
    control: &Control<'_>,
) -> Result<(Transcript, u64), StageError> {
    let language = Some(language).filter(|language| *language != AUTO);
    let cancel = control.cancel;
    // Decoded in turn, too: an hour of sound takes 230 MB.
    let mut engine = turn(&transcriber.engine, cancel)?;
    if !engine.is_multilingual() && language.is_some_and(|tag| !is_english(tag)) {
        return Err(StageError::new(
            ErrorCode::UnsupportedLanguage,
            format!(
                "The model {} understands English only. Set `model.speech-to-text` to one for 99 \
                 languages, such as whisper-base.",
                transcriber.model
            ),
        ));
    }
    let audio = decode_while(path, &limits, &|| !cancel.is_canceled())?;
    let transcript = engine.transcribe(&audio, language, control)?;
    Ok((transcript, audio.duration_ms()))
}

fn is_english(tag: &str) -> bool {
    tag.split('-').next() == Some("en")
}
