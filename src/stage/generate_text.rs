//! Stage 2: a language model goes on from the transcript.

use std::time::Instant;

use super::engines::{Loaded, SharedEngines, SharedLlm, elapsed_ms, lock};
use super::{
    Artifact, Artifacts, ErrorCode, Stage, StageContext, StageError, StageKind, StageOutput, Timing,
};
use crate::engine::llm::{ChatMessage, GenerateOptions};
use crate::text::{prose, templates};

/// Text generation with a GGUF model.
pub struct GenerateText {
    engines: SharedEngines,
    llm: Option<Loaded<SharedLlm>>,
}

impl GenerateText {
    /// The stage, with nothing loaded yet.
    #[must_use]
    pub const fn new(engines: SharedEngines) -> Self {
        Self { engines, llm: None }
    }
}

impl Stage for GenerateText {
    fn kind(&self) -> StageKind {
        StageKind::GenerateText
    }

    fn load(&mut self) -> Result<(), StageError> {
        if self.llm.is_none() {
            self.llm = Some(lock(&self.engines)?.llm()?);
        }
        Ok(())
    }

    fn run(
        &mut self,
        inputs: &Artifacts,
        ctx: &StageContext<'_>,
    ) -> Result<StageOutput, StageError> {
        self.load()?;
        let llm = self.llm.as_ref().expect("load() has just filled it");
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
        };
        let generation = lock(&llm.engine)?.generate(&messages, &options, &ctx.control, |_| {})?;
        let timing = Timing {
            run_ms: elapsed_ms(started),
            tokens: Some(generation.tokens as u64),
            unit: Some("tokens".to_owned()),
            device: lock(&self.engines)?.device(),
            model: llm.model.clone(),
            ..Timing::default()
        };
        Ok(StageOutput { artifact: Artifact::Text(prose::tidy(&generation.text)), timing })
    }
}
