//! The trait [`Stage`] and the few types that pass through it.
//!
//! Called by `jobs` (the worker) and `cli`; `web` asks the same engines through
//! [`Direct`]. A stage knows nothing of
//! jobs, databases or HTTP: it gets earlier results, gives back one artifact.

mod direct;
mod engines;
mod error;
mod generate_text;
mod kind;
mod offer;
mod speak;
pub mod stub;
mod transcribe_audio;
mod translate_text;
mod voices;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use direct::{Direct, SpeechRequest};
pub use error::{ErrorCode, StageError};
pub use kind::StageKind;
pub use offer::{is_rough, targets, translations, understands_many};
pub use voices::{VoiceInfo, voices};

use crate::audio::{Audio, DecodeLimits};
use crate::engine::{Control, shared};
use crate::models::ModelStore;
use crate::settings::Settings;
use crate::text::Transcript;
use engines::Engines;

/// One step of the pipeline. Blocking: it is called on a worker's own OS thread.
pub trait Stage: Send {
    /// Which of the five steps this is.
    fn kind(&self) -> StageKind;

    /// Loads weights now, so that a broken model fails at start and not in a job.
    ///
    /// # Errors
    /// `model_missing` when weights are absent, `internal` when they do not load.
    fn load(&mut self) -> Result<(), StageError>;

    /// Reads what earlier stages left in `inputs`, returns the artifact and what it cost.
    ///
    /// # Errors
    /// Whatever stopped the stage; `canceled` when `ctx` was canceled meanwhile.
    fn run(
        &mut self,
        inputs: &Artifacts,
        ctx: &StageContext<'_>,
    ) -> Result<StageOutput, StageError>;
}

/// What the stages before this one have left.
#[derive(Debug, Clone, Default)]
pub struct Artifacts {
    /// The recording as it was uploaded, in any container that `audio` reads.
    pub prompt: PathBuf,
    /// Result of `transcribe_audio`.
    pub transcript: Option<Transcript>,
    /// Result of `generate_text`, in English.
    pub text: Option<String>,
    /// Result of `translate_text`, in the job's target language.
    pub translation: Option<String>,
}

impl Artifacts {
    /// Takes in what `kind` made, for the stages that follow.
    pub fn accept(&mut self, kind: StageKind, artifact: Artifact) {
        match artifact {
            Artifact::Transcript(transcript) => self.transcript = Some(transcript),
            Artifact::Text(text) if kind == StageKind::TranslateText => {
                self.translation = Some(text);
            }
            Artifact::Text(text) => self.text = Some(text),
            // Speech is an end; no stage reads it.
            Artifact::Audio(_) => {}
        }
    }
}

/// What a stage made.
#[derive(Debug, Clone)]
pub enum Artifact {
    /// From `transcribe_audio`.
    Transcript(Transcript),
    /// From `generate_text` and `translate_text`. Paragraphs are parted by a blank line.
    Text(String),
    /// From `synthesis_audio_en` and `synthesis_audio`.
    Audio(Audio),
}

/// What one stage run made and cost.
#[derive(Debug, Clone)]
pub struct StageOutput {
    /// The result.
    pub artifact: Artifact,
    /// What it cost.
    pub timing: Timing,
}

/// What a stage run cost: one clock and one definition for all stages.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Timing {
    /// From the moment the stage was due until it began.
    pub queue_ms: u64,
    /// Loading weights, when this run had to.
    pub load_ms: u64,
    /// The work itself, loading not counted.
    pub run_ms: u64,
    /// Length of the audio that was read or made.
    pub audio_ms: Option<u64>,
    /// Tokens, words or sentences made, as [`Timing::unit`] says.
    pub tokens: Option<u64>,
    /// What [`Timing::tokens`] counts: `tokens`, `sentences`.
    pub unit: Option<String>,
    /// `cpu`, `cuda:0`, or `remote`.
    pub device: String,
    /// Model id as in the manifest.
    pub model: String,
}

impl Timing {
    /// Seconds of computing per second of audio; below 1 is faster than real time.
    #[must_use]
    pub fn real_time_factor(&self) -> Option<f64> {
        let audio_ms = self.audio_ms.filter(|&ms| ms > 0)?;
        Some(self.run_ms as f64 / audio_ms as f64)
    }
}

/// In place of a language: let the model find out.
pub const AUTO: &str = "auto";

/// What a job may choose. Unset values take the configured default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JobOptions {
    /// BCP 47 tag of the language that is spoken in the recording, or [`AUTO`].
    pub language: String,
    /// BCP 47 tag of the language to translate to.
    pub target: String,
    /// Name of the prompt template.
    pub template: String,
    /// What to do with the transcript, in the person's own words, in place of what the
    /// template says; empty for the template's.
    pub instruction: String,
    /// Model id of the English voice; empty for the configured one.
    pub voice_en: String,
    /// Model id of the voice of the target language; empty for the configured one.
    pub voice: String,
    /// Most tokens that `generate_text` may make.
    pub max_tokens: u32,
    /// 0 is greedy decoding.
    pub temperature: f64,
    /// Nucleus sampling: the smallest set of tokens whose probability reaches this.
    pub top_p: f64,
    /// Above 1, tokens already used become less likely.
    pub repeat_penalty: f32,
    /// Makes sampling repeatable.
    pub seed: u64,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            language: "en".to_owned(),
            target: "fr".to_owned(),
            template: "continue".to_owned(),
            instruction: String::new(),
            voice_en: String::new(),
            voice: String::new(),
            max_tokens: 160,
            temperature: 0.7,
            top_p: 0.9,
            repeat_penalty: 1.1,
            seed: 42,
        }
    }
}

/// What a stage run is given beside its inputs.
pub struct StageContext<'a> {
    /// What the job asked for.
    pub options: &'a JobOptions,
    /// Cancellation and progress, passed on to the engine.
    pub control: Control<'a>,
}

/// The five stages on the models and servers that `settings` name, nothing loaded yet.
#[must_use]
pub fn local(settings: &Settings, models: &ModelStore) -> Vec<Box<dyn Stage>> {
    local_with_direct(settings, models).0
}

/// As [`local`], with the way to ask the same engines directly.
#[must_use]
pub fn local_with_direct(
    settings: &Settings,
    models: &ModelStore,
) -> (Vec<Box<dyn Stage>>, Arc<dyn Direct>) {
    let engines = shared(Engines::new(models.clone(), settings));
    let target = &settings.defaults.target;
    let limits = DecodeLimits { max_audio_s: settings.max_audio_s };
    let direct = direct::Engaged::new(Arc::clone(&engines), limits);
    let stages: Vec<Box<dyn Stage>> = vec![
        Box::new(transcribe_audio::TranscribeAudio::new(Arc::clone(&engines), limits)),
        Box::new(generate_text::GenerateText::new(Arc::clone(&engines))),
        Box::new(speak::Speak::english(Arc::clone(&engines))),
        Box::new(translate_text::TranslateText::new(Arc::clone(&engines), target)),
        Box::new(speak::Speak::target(engines, target)),
    ];
    (stages, Arc::new(direct))
}
