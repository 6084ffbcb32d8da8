//! Finds the model for each role and loads it: the one place where stages meet the store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::{ErrorCode, StageError};
use crate::engine::firefox::Firefox;
use crate::engine::kokoro::{Kokoro, KokoroModel};
use crate::engine::llm::{Llm, LlmTranslator};
use crate::engine::marian::Marian;
use crate::engine::piper::Piper;
use crate::engine::vad::Vad;
use crate::engine::whisper::Whisper;
use crate::engine::{Hardware, Translator, Voice, onnx, phonemes};
use crate::models::{ModelStore, Resolved};
use crate::text::language;

/// The text model, used by two stages: generation, and translation as a last resort.
pub type SharedLlm = Arc<Mutex<Llm>>;

/// The loader, shared by the stages of one worker.
pub type SharedEngines = Arc<Mutex<Engines>>;

/// An engine with the id of its model, for timings.
pub struct Loaded<T> {
    /// The engine.
    pub engine: T,
    /// Model id as in the manifest.
    pub model: String,
}

/// Loads engines, and shares the ones that several stages use.
pub struct Engines {
    store: ModelStore,
    /// Models that were chosen by name: role to model id.
    picks: BTreeMap<String, String>,
    hardware: Hardware,
    llm: Option<(String, SharedLlm)>,
    kokoro: Option<(String, Arc<Mutex<KokoroModel>>)>,
}

impl Engines {
    /// A loader for the models in `store`.
    #[must_use]
    pub const fn new(
        store: ModelStore,
        picks: BTreeMap<String, String>,
        hardware: Hardware,
    ) -> Self {
        Self { store, picks, hardware, llm: None, kokoro: None }
    }

    /// Where most models compute.
    #[must_use]
    pub fn device(&self) -> String {
        self.hardware.name()
    }

    /// Where voices compute: ONNX Runtime is the CPU build.
    #[expect(clippy::unused_self, reason = "a GPU build of ONNX Runtime will make it depend")]
    #[must_use]
    pub fn voice_device(&self) -> String {
        "cpu".to_owned()
    }

    fn resolve(&self, role: &str) -> Result<Resolved, StageError> {
        self.store.resolve(role, self.picks.get(role).map(String::as_str)).map_err(|error| {
            StageError {
                code: ErrorCode::ModelMissing,
                message: error.to_string(),
                detail: None,
            }
        })
    }
}
