//! Stage 2: a language model goes on from the transcript.

use std::time::Instant;

use super::engines::{SharedEngines, elapsed_ms};
use super::{
    Artifact, Artifacts, ErrorCode, Stage, StageContext, StageError, StageKind, StageOutput, Timing,
};
use crate::engine::{ChatMessage, GenerateOptions, turn};
use crate::text::{prose, templates};

/// Text generation.
pub struct GenerateText {
    engines: SharedEngines,
}

impl GenerateText {
    /// The stage, with nothing loaded yet.
    #[must_use]
    pub const fn new(engines: SharedEngines) -> Self {
        Self { engines }
    }
}

impl Stage for GenerateText {
    fn kind(&self) -> StageKind {
        StageKind::GenerateText
    }

    fn load(&mut self) -> Result<(), StageError> {
        self.engines.lock().text_model().map(|_| ())
    }

    fn run(
        &mut self,
        inputs: &Artifacts,
        ctx: &StageContext<'_>,
    ) -> Result<StageOutput, StageError> {
        let text_model = turn(&self.engines, ctx.control.cancel)?.text_model()?;
        let started = Instant::now();
        let transcript = inputs.transcript.as_ref().ok_or_else(|| {
            StageError::internal("There is no transcript to go on from.", "input missing")
        })?;
        let name = &ctx.options.template;
        let template = templates::template(name).ok_or_else(|| {
            StageError::new(ErrorCode::Internal, format!("There is no prompt template `{name}`."))
        })?;
        let (system, user) =
            template.messages(&transcript.text, &transcript.language, &ctx.options.instruction);
        let messages = [ChatMessage::system(system), ChatMessage::user(user)];
        let options = GenerateOptions {
            max_tokens: ctx.options.max_tokens as usize,
            temperature: ctx.options.temperature,
            top_p: ctx.options.top_p,
            repeat_penalty: ctx.options.repeat_penalty,
            seed: ctx.options.seed,
            stop: template.stop.iter().map(ToString::to_string).collect(),
            follows: false,
        };
        let mut engine = turn(&text_model.engine, ctx.control.cancel)?;
        let generation = engine.answer(&messages, &options, &ctx.control, &mut |_| {})?;
        let timing = Timing {
            load_ms: text_model.load_ms,
            run_ms: elapsed_ms(started),
            tokens: Some(generation.tokens as u64),
            unit: Some("tokens".to_owned()),
            device: text_model.device,
            model: text_model.model,
            ..Timing::default()
        };
        Ok(StageOutput { artifact: Artifact::Text(prose::tidy(&generation.text)), timing })
    }
}
