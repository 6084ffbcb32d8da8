//! Stage 4: the generated text in the target language, sentence by sentence.

use std::collections::HashMap;
use std::time::Instant;

use super::engines::{Loaded, SharedEngines, elapsed_ms, lock};
use super::{Artifact, Artifacts, Stage, StageContext, StageError, StageKind, StageOutput, Timing};
use crate::engine::Translator;
use crate::text::sentences;

/// Translation with whatever engine serves the pair of languages.
pub struct TranslateText {
    engines: SharedEngines,
    /// The target whose translator is loaded at start.
    default_target: String,
    translators: HashMap<String, Loaded<Box<dyn Translator>>>,
}

impl TranslateText {
    /// The stage; the translator to `default_target` is loaded at start, others when a
    /// job asks for them.
    #[must_use]
    pub fn new(engines: SharedEngines, default_target: &str) -> Self {
        Self { engines, default_target: default_target.to_owned(), translators: HashMap::new() }
    }

    fn translator(&mut self, target: &str) -> Result<&mut Loaded<Box<dyn Translator>>, StageError> {
        if !self.translators.contains_key(target) {
            let translator = lock(&self.engines)?.translator(target)?;
            self.translators.insert(target.to_owned(), translator);
        }
        Ok(self.translators.get_mut(target).expect("inserted above"))
    }
}

impl Stage for TranslateText {
    fn kind(&self) -> StageKind {
        StageKind::TranslateText
    }

    fn load(&mut self) -> Result<(), StageError> {
        let target = self.default_target.clone();
        self.translator(&target).map(|_| ())
    }

    fn run(
        &mut self,
        inputs: &Artifacts,
        ctx: &StageContext<'_>,
    ) -> Result<StageOutput, StageError> {
        let text = inputs.text.as_deref().ok_or_else(|| {
            StageError::internal("There is no text to translate.", "input missing")
        })?;
        let device = lock(&self.engines)?.device();
        let loading = Instant::now();
        let target = &ctx.options.target;
        let fresh = !self.translators.contains_key(target);
        let translator = self.translator(target)?;
        let load_ms = if fresh { elapsed_ms(loading) } else { 0 };

        let started = Instant::now();
        let paragraphs = sentences::paragraphs(text, "en");
        // One flat list, so that an engine sees sentences in context and in batches.
        let flat: Vec<String> = paragraphs.iter().flatten().cloned().collect();
        let mut translated = translator.engine.translate(&flat, &ctx.control)?.into_iter();
        let translation: Vec<Vec<String>> = paragraphs
            .iter()
            .map(|paragraph| translated.by_ref().take(paragraph.len()).collect())
            .collect();
        let timing = Timing {
            load_ms,
            run_ms: elapsed_ms(started),
            tokens: Some(flat.len() as u64),
            unit: Some("sentences".to_owned()),
            device,
            model: translator.model.clone(),
            ..Timing::default()
        };
        Ok(StageOutput { artifact: Artifact::Text(sentences::join(&translation)), timing })
    }
}
