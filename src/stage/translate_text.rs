//! Stage 4: the generated text in the target language, sentence by sentence.

use std::time::Instant;

use super::engines::{Loaded, SharedEngines, elapsed_ms};
use super::{Artifact, Artifacts, Stage, StageContext, StageError, StageKind, StageOutput, Timing};
use crate::engine::{Control, Translator, turn};
use crate::text::sentences;

/// Translation with whatever engine serves the pair of languages.
pub struct TranslateText {
    engines: SharedEngines,
    /// The target whose translator is loaded at start.
    default_target: String,
}

impl TranslateText {
    /// The stage; the translator to `default_target` is loaded at start, others when a
    /// job asks for them.
    #[must_use]
    pub fn new(engines: SharedEngines, default_target: &str) -> Self {
        Self { engines, default_target: default_target.to_owned() }
    }
}

impl Stage for TranslateText {
    fn kind(&self) -> StageKind {
        StageKind::TranslateText
    }

    fn load(&mut self) -> Result<(), StageError> {
        self.engines.lock().translator("en", &self.default_target).map(|_| ())
    }

    fn run(
        &mut self,
        inputs: &Artifacts,
        ctx: &StageContext<'_>,
    ) -> Result<StageOutput, StageError> {
        let text = inputs.text.as_deref().ok_or_else(|| {
            StageError::internal("There is no text to translate.", "input missing")
        })?;
        let translator =
            turn(&self.engines, ctx.control.cancel)?.translator("en", &ctx.options.target)?;
        let started = Instant::now();
        let (translation, sentences) = translate(&translator, text, "en", &ctx.control)?;
        let timing = Timing {
            load_ms: translator.load_ms,
            run_ms: elapsed_ms(started),
            tokens: Some(sentences as u64),
            unit: Some("sentences".to_owned()),
            device: translator.device,
            model: translator.model,
            ..Timing::default()
        };
        Ok(StageOutput { artifact: Artifact::Text(translation), timing })
    }
}

/// Translates a text in the language `source`; gives it with the same paragraphs and lists, and
/// the number of sentences.
///
/// # Errors
/// When the translator fails or the work is canceled.
pub(super) fn translate(
    translator: &Loaded<dyn Translator>,
    text: &str,
    source: &str,
    control: &Control<'_>,
) -> Result<(String, usize), StageError> {
    let paragraphs = sentences::paragraphs(text, source);
    // One flat list, so that an engine sees sentences in context and in batches; without what
    // makes an item of a list, which is no language.
    let flat: Vec<String> = paragraphs
        .iter()
        .flatten()
        .map(|sentence| sentences::part_marker(sentence).1.to_owned())
        .collect();
    let mut translated =
        turn(&translator.engine, control.cancel)?.translate(&flat, control)?.into_iter();
    let translation: Vec<Vec<String>> = paragraphs
        .iter()
        .map(|paragraph| {
            let made = paragraph.iter().zip(translated.by_ref());
            made.map(|(sentence, made)| sentences::part_marker(sentence).0.to_owned() + &made)
                .collect()
        })
        .collect();
    Ok((sentences::join(&translation), flat.len()))
}
