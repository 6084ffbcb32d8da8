//! Stages 3 and 5: a text spoken sentence by sentence.

use std::collections::HashMap;
use std::time::Instant;

use super::engines::{Loaded, SharedEngines, elapsed_ms, lock};
use super::{Artifact, Artifacts, Stage, StageContext, StageError, StageKind, StageOutput, Timing};
use crate::audio::{join, loudness};
use crate::engine::Voice;
use crate::text::sentences;

/// The voice's own pace.
const SPEED: f32 = 1.0;

/// Speaks the generated text in English, or its translation in the target language.
pub struct Speak {
    kind: StageKind,
    engines: SharedEngines,
    /// The language whose voice is loaded at start.
    first_language: String,
    /// By language and by the voice that was picked, if one was.
    voices: HashMap<(String, String), Loaded<Box<dyn Voice>>>,
}

impl Speak {
    /// Stage 3, which speaks English.
    #[must_use]
    pub fn english(engines: SharedEngines) -> Self {
        Self {
            kind: StageKind::SynthesisAudioEn,
            engines,
            first_language: "en".to_owned(),
            voices: HashMap::new(),
        }
    }

    /// Stage 5, which speaks a job's target language; the voice of `default_target` is
    /// loaded at start, others when a job asks for them.
    #[must_use]
    pub fn target(engines: SharedEngines, default_target: &str) -> Self {
        Self {
            kind: StageKind::SynthesisAudio,
            engines,
            first_language: default_target.to_owned(),
            voices: HashMap::new(),
        }
    }

    fn voice(&mut self, key: &(String, String)) -> Result<&mut Loaded<Box<dyn Voice>>, StageError> {
        if !self.voices.contains_key(key) {
            let voice = lock(&self.engines)?.voice(&key.0, &key.1)?;
            self.voices.insert(key.clone(), voice);
        }
        Ok(self.voices.get_mut(key).expect("inserted above"))
    }
}

impl Stage for Speak {
    fn kind(&self) -> StageKind {
        self.kind
    }

    fn load(&mut self) -> Result<(), StageError> {
        let first = (self.first_language.clone(), String::new());
        self.voice(&first).map(|_| ())
    }

    fn run(
        &mut self,
        inputs: &Artifacts,
        ctx: &StageContext<'_>,
    ) -> Result<StageOutput, StageError> {
        let options = ctx.options;
        let (text, language, pick) = match self.kind {
            StageKind::SynthesisAudio => (&inputs.translation, &options.target, &options.voice),
            _ => (&inputs.text, &"en".to_owned(), &options.voice_en),
        };
        let text = text
            .as_deref()
            .ok_or_else(|| StageError::internal("There is no text to speak.", "input missing"))?;
        let loading = Instant::now();
        let key = (language.clone(), pick.clone());
        let fresh = !self.voices.contains_key(&key);
        let voice = self.voice(&key)?;
        let load_ms = if fresh { elapsed_ms(loading) } else { 0 };

        let started = Instant::now();
        let paragraphs = sentences::paragraphs(text, language);
        let total = paragraphs.iter().map(Vec::len).sum();
        let mut spoken = Vec::with_capacity(paragraphs.len());
        let mut done = 0;
        for paragraph in &paragraphs {
            let mut sounds = Vec::with_capacity(paragraph.len());
            for sentence in paragraph {
                ctx.control.cancel.check()?;
                sounds.push(voice.engine.say(sentence, SPEED)?);
                done += 1;
                ctx.control.report(done, total);
            }
            spoken.push(sounds);
        }
        let mut audio = join::join(&spoken, voice.engine.sample_rate());
        // The whole and not each sentence, so that what was said softly stays softer.
        loudness::normalise(&mut audio);
        let timing = Timing {
            load_ms,
            run_ms: elapsed_ms(started),
            audio_ms: Some(audio.duration_ms()),
            tokens: Some(total as u64),
            unit: Some("sentences".to_owned()),
            // ONNX Runtime is its CPU build.
            device: "cpu".to_owned(),
            model: voice.model.clone(),
            ..Timing::default()
        };
        Ok(StageOutput { artifact: Artifact::Audio(audio), timing })
    }
}
