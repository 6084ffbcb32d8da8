//! Stages that need no model: for tests and load tests only, and never a default.
//!
//! Each does in no time what the real stage does in form: the same artifacts,
//! the same progress, the same answer to cancellation.

use std::path::Path;
use std::sync::Arc;

use super::{
    Artifact, Artifacts, Direct, SpeechRequest, Stage, StageContext, StageError, StageKind,
    StageOutput, Timing,
};
use crate::audio::{Audio, DecodeLimits, decode};
use crate::engine::{ChatMessage, Control, Finish, GenerateOptions, Generation};
use crate::text::{Segment, Transcript};

/// Model id in the timings of stub stages.
const MODEL: &str = "stub";

/// Length of the speech that a stub makes.
const SPEECH_MS: u64 = 400;
const SAMPLE_RATE: u32 = 16_000;

/// A stage without a model.
#[derive(Debug)]
pub struct Stub(StageKind);

/// All five stages as stubs.
#[must_use]
pub fn stages() -> Vec<Box<dyn Stage>> {
    StageKind::ALL.into_iter().map(|kind| Box::new(Stub(kind)) as Box<dyn Stage>).collect()
}

/// Direct requests to stubs.
#[must_use]
pub fn direct() -> Arc<dyn Direct> {
    Arc::new(StubDirect)
}

/// What the stages give, without a job.
struct StubDirect;

impl Direct for StubDirect {
    fn transcribe(
        &self,
        path: &Path,
        _language: &str,
        control: &Control<'_>,
    ) -> Result<(Transcript, u64), StageError> {
        control.cancel.check()?;
        let audio = decode(path, &DecodeLimits::default())?;
        Ok((transcript(), audio.duration_ms()))
    }

    fn answer(
        &self,
        messages: &[ChatMessage],
        options: &GenerateOptions,
        control: &Control<'_>,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Generation, StageError> {
        let words = |text: &str| text.split_whitespace().count();
        let said = messages.last().map_or("", |message| message.content.as_str());
        let text = format!("You said: {said}");
        let mut made = String::new();
        let mut finish = Finish::Stop;
        for (at, word) in text.split_inclusive(' ').enumerate() {
            control.cancel.check()?;
            if at == options.max_tokens {
                finish = Finish::Length;
                break;
            }
            if options.stop.iter().any(|stop| word.contains(stop.as_str())) {
                break;
            }
            on_text(word);
            made.push_str(word);
        }
        Ok(Generation {
            prompt_tokens: messages.iter().map(|message| words(&message.content)).sum(),
            read_tokens: 0,
            tokens: words(&made),
            text: made,
            prompt_ms: 0,
            decode_ms: 0,
            finish,
        })
    }

    fn speak(
        &self,
        request: &SpeechRequest,
        control: &Control<'_>,
        on_sound: &mut dyn FnMut(&Audio) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        for _ in request.text.split_inclusive('.') {
            control.cancel.check()?;
            on_sound(&tone())?;
        }
        Ok(())
    }

    fn translate(
        &self,
        text: &str,
        _source: &str,
        target: &str,
        control: &Control<'_>,
    ) -> Result<String, StageError> {
        control.cancel.check()?;
        Ok(format!("[{target}] {text}"))
    }
}

impl Stage for Stub {
    fn kind(&self) -> StageKind {
        self.0
    }

    fn load(&mut self) -> Result<(), StageError> {
        Ok(())
    }

    fn run(
        &mut self,
        inputs: &Artifacts,
        ctx: &StageContext<'_>,
    ) -> Result<StageOutput, StageError> {
        ctx.control.cancel.check()?;
        ctx.control.report(1, 2);
        let artifact = match self.0 {
            StageKind::TranscribeAudio => Artifact::Transcript(transcript()),
            StageKind::GenerateText => {
                let transcript = inputs.transcript.as_ref().map_or("", |it| it.text.as_str());
                let text = format!("{transcript} This is where a language model would go on.");
                for word in text.split_inclusive(' ') {
                    ctx.control.cancel.check()?;
                    ctx.control.say(word);
                }
                Artifact::Text(text)
            }
            StageKind::TranslateText => {
                let text = inputs.text.as_deref().unwrap_or_default();
                Artifact::Text(format!("[{}] {text}", ctx.options.target))
            }
            StageKind::SynthesisAudioEn | StageKind::SynthesisAudio => Artifact::Audio(tone()),
        };
        ctx.control.report(2, 2);
        let audio_ms = matches!(artifact, Artifact::Audio(_)).then_some(SPEECH_MS);
        let timing = Timing {
            audio_ms,
            device: "cpu".to_owned(),
            model: MODEL.to_owned(),
            ..Timing::default()
        };
        Ok(StageOutput { artifact, timing })
    }
}

fn transcript() -> Transcript {
    let text = "This is a stub transcript.".to_owned();
    Transcript {
        language: "en".to_owned(),
        segments: vec![Segment { start_ms: 0, end_ms: SPEECH_MS, text: text.clone() }],
        text,
    }
}

/// A quiet 440 Hz tone, so that a player has something to play.
fn tone() -> Audio {
    let count = SPEECH_MS as usize * SAMPLE_RATE as usize / 1000;
    let step = 440.0 * std::f32::consts::TAU / SAMPLE_RATE as f32;
    let samples = (0..count).map(|index| 0.1 * (index as f32 * step).sin()).collect();
    Audio { sample_rate: SAMPLE_RATE, samples }
}
