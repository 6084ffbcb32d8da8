//! Stages 3 and 5: a text spoken sentence by sentence.

use std::time::Instant;

use super::engines::{Loaded, SharedEngines, elapsed_ms};
use super::{Artifact, Artifacts, Stage, StageContext, StageError, StageKind, StageOutput, Timing};
use crate::audio::join::Joiner;
use crate::audio::{Audio, loudness};
use crate::engine::{Control, Voice, end_turn, turn};
use crate::text::{UNTRANSLATED, sentences};

/// The voice's own pace.
const SPEED: f32 = 1.0;

/// Speaks the generated text in English, or its translation in the target language.
pub struct Speak {
    kind: StageKind,
    engines: SharedEngines,
    /// The language whose voice is loaded at start.
    first_language: String,
}

impl Speak {
    /// Stage 3, which speaks English.
    #[must_use]
    pub fn english(engines: SharedEngines) -> Self {
        Self { kind: StageKind::SynthesisAudioEn, engines, first_language: "en".to_owned() }
    }

    /// Stage 5, which speaks a job's target language; the voice of `default_target` is
    /// loaded at start, others when a job asks for them.
    #[must_use]
    pub fn target(engines: SharedEngines, default_target: &str) -> Self {
        let first_language = default_target.to_owned();
        Self { kind: StageKind::SynthesisAudio, engines, first_language }
    }
}

impl Stage for Speak {
    fn kind(&self) -> StageKind {
        self.kind
    }

    fn load(&mut self) -> Result<(), StageError> {
        self.engines.lock().voice(&self.first_language, "").map(|_| ())
    }

    fn run(
        &mut self,
        inputs: &Artifacts,
        ctx: &StageContext<'_>,
    ) -> Result<StageOutput, StageError> {
        let options = ctx.options;
        let (text, language, pick) = match self.kind {
            StageKind::SynthesisAudio => {
                // A mark is not to be said.
                let text = inputs.translation.as_ref().map(|it| it.replace(UNTRANSLATED, ""));
                (text, options.target.as_str(), &options.voice)
            }
            _ => (inputs.text.clone(), "en", &options.voice_en),
        };
        let text = text
            .as_deref()
            .ok_or_else(|| StageError::internal("There is no text to speak.", "input missing"))?;
        let voice = turn(&self.engines, ctx.control.cancel)?.voice(language, pick)?;
        let started = Instant::now();
        let paragraphs = sentences::paragraphs(text, language);
        let mut audio = Audio::default();
        let total = say(&voice, &paragraphs, SPEED, &ctx.control, |rate, samples| {
            audio.sample_rate = rate;
            audio.samples.extend(samples);
            Ok(())
        })?;
        if total > 0 {
            rest(&voice);
        }
        // The whole and not each sentence, so that what was said softly stays softer.
        loudness::normalise(&mut audio);
        let timing = Timing {
            load_ms: voice.load_ms,
            run_ms: elapsed_ms(started),
            audio_ms: Some(audio.duration_ms()),
            tokens: Some(total as u64),
            unit: Some("sentences".to_owned()),
            device: voice.device,
            model: voice.model,
            ..Timing::default()
        };
        Ok(StageOutput { artifact: Artifact::Audio(audio), timing })
    }
}

/// Has `voice` give back memory, unless somebody else is speaking with it: the next job does it then.
///
/// Direct requests do not: they are often one sentence, whose answer would come later for it.
fn rest(voice: &Loaded<dyn Voice>) {
    if let Some(mut engine) = voice.engine.try_lock()
        && let Err(error) = engine.rest()
    {
        tracing::warn!(%error, "a voice kept its memory");
    }
}

/// Has `voice` say `paragraphs`, each a list of sentences, and gives every sentence's sound to
/// `on_sound` with the pause before it: samples per second, and mono samples. Returns the number
/// of sentences.
///
/// # Errors
/// When the voice fails or the work is canceled, and whatever `on_sound` refuses.
pub(super) fn say(
    voice: &Loaded<dyn Voice>,
    paragraphs: &[Vec<String>],
    speed: f32,
    control: &Control<'_>,
    mut on_sound: impl FnMut(u32, Vec<f32>) -> Result<(), StageError>,
) -> Result<usize, StageError> {
    let total = paragraphs.iter().map(Vec::len).sum();
    let rate = turn(&voice.engine, control.cancel)?.sample_rate();
    let mut joiner = Joiner::new(rate);
    let mut done = 0;
    // The rate is told even if nothing is said.
    on_sound(rate, Vec::new())?;
    for paragraph in paragraphs {
        for sentence in paragraph {
            let mut engine = turn(&voice.engine, control.cancel)?;
            let sound = engine.say(sentence, speed, control.cancel)?;
            // Others who need the voice have their turn between two sentences.
            end_turn(engine);
            let mut samples = Vec::new();
            joiner.push(&sound, &mut samples);
            on_sound(rate, samples)?;
            done += 1;
            control.report(done, total);
        }
        joiner.end_paragraph();
    }
    Ok(total)
}
