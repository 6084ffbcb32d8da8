//! Finds the model for each role and loads it: the one place where stages meet the store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::{ErrorCode, StageError, voices};
use crate::engine::firefox::Firefox;
use crate::engine::kokoro::{Kokoro, KokoroModel};
use crate::engine::llm::{Llm, LlmTranslator};
use crate::engine::marian::Marian;
use crate::engine::piper::Piper;
use crate::engine::vad::Vad;
use crate::engine::whisper::Whisper;
use crate::engine::{EngineError, Hardware, Translator, Voice, onnx, phonemes};
use crate::models::{Kind, Model, ModelStore, ModelsError, Resolved};
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
    llm: Option<SharedLlm>,
    /// Kokoro's network by model id; its voices share it.
    kokoro: BTreeMap<String, Arc<Mutex<KokoroModel>>>,
}

impl Engines {
    /// A loader for the models in `store`.
    #[must_use]
    pub const fn new(
        store: ModelStore,
        picks: BTreeMap<String, String>,
        hardware: Hardware,
    ) -> Self {
        Self { store, picks, hardware, llm: None, kokoro: BTreeMap::new() }
    }

    /// Where whisper.cpp and candle compute.
    #[must_use]
    pub fn device(&self) -> String {
        self.hardware.name()
    }

    /// Speech to text.
    ///
    /// # Errors
    /// When no model is installed, or it does not load.
    pub fn whisper(&self) -> Result<Loaded<Whisper>, StageError> {
        let found = self.resolve("speech-to-text")?;
        let engine = Whisper::load(&self.only_file(&found.model)?, &self.hardware)?;
        Ok(Loaded { engine, model: found.model.id })
    }

    /// Voice activity.
    ///
    /// # Errors
    /// When no model is installed, or it does not load.
    pub fn vad(&self) -> Result<Vad, StageError> {
        self.open_onnx()?;
        let found = self.resolve("voice-activity")?;
        Ok(Vad::load(&self.only_file(&found.model)?)?)
    }

    /// The text model; loaded once, then shared.
    ///
    /// # Errors
    /// When no model is installed, or it does not load.
    pub fn llm(&mut self) -> Result<Loaded<SharedLlm>, StageError> {
        let found = self.resolve("text-generation")?;
        let engine = if let Some(llm) = &self.llm {
            Arc::clone(llm)
        } else {
            let llm = Llm::load(&self.only_file(&found.model)?, &self.hardware)?;
            Arc::clone(self.llm.insert(Arc::new(Mutex::new(llm))))
        };
        Ok(Loaded { engine, model: found.model.id })
    }

    /// A translator from English to `target`, a BCP 47 tag.
    ///
    /// # Errors
    /// When no engine serves that language, no model is installed, or it does not load.
    pub fn translator(&mut self, target: &str) -> Result<Loaded<Box<dyn Translator>>, StageError> {
        let found = self.resolve_language("translation-en-", target)?;
        let model = &found.model;
        let engine: Box<dyn Translator> = match model.kind {
            Kind::Firefox => {
                let shared = self.file(model, "vocab");
                // Pairs with another script have a vocabulary for each language.
                let (source, target) = match shared {
                    Ok(vocab) => (vocab.clone(), vocab),
                    Err(_) => (self.file(model, "srcvocab")?, self.file(model, "trgvocab")?),
                };
                let (network, shortlist) = (self.file(model, "model")?, self.file(model, "lex")?);
                Box::new(Firefox::load(&network, &source, &target, Some(&shortlist))?)
            }
            Kind::Marian => Box::new(Marian::load(&found.dir, &self.hardware)?),
            Kind::Gguf => {
                let language =
                    language::language(target).ok_or_else(|| unknown_language(target))?;
                Box::new(LlmTranslator::new(self.llm()?.engine, language))
            }
            _ => return Err(wrong_kind(model)),
        };
        Ok(Loaded { engine, model: found.model.id })
    }

    /// A voice for `tag`, a BCP 47 tag: the one with the model id `pick`, perhaps with
    /// a speaker behind a colon, or the configured
    /// one if that is empty.
    ///
    /// # Errors
    /// When there is no such voice for that language, or it does not load.
    pub fn voice(&mut self, tag: &str, pick: &str) -> Result<Loaded<Box<dyn Voice>>, StageError> {
        let (id, speaker) = voices::parts(pick);
        let found = if id.is_empty() {
            self.resolve_language("voice-", tag)?
        } else {
            self.store.resolve(&voices::role(tag), Some(id))?
        };
        self.open_onnx()?;
        phonemes::init(&self.resolve("phonemes")?.dir)?;
        let model = &found.model;
        let engine: Box<dyn Voice> = match model.kind {
            Kind::Piper => {
                let config = self.file_ending(model, ".json")?;
                let network = self.file_ending(model, ".onnx")?;
                Box::new(Piper::load(&network, &config, speaker, &self.hardware)?)
            }
            Kind::KokoroVoice => {
                let network = self.kokoro(model)?;
                Box::new(Kokoro::with_model(network, &self.only_file(model)?, tag)?)
            }
            _ => return Err(wrong_kind(model)),
        };
        Ok(Loaded { engine, model: found.model.id })
    }

    /// Kokoro's network, as a voice requires it.
    fn kokoro(&mut self, voice: &Model) -> Result<Arc<Mutex<KokoroModel>>, StageError> {
        let required = |kind: Kind| -> Result<Model, StageError> {
            let manifest = self.store.manifest();
            let mut models = voice.requires.iter().filter_map(|id| manifest.model(id).ok());
            models.find(|model| model.kind == kind).cloned().ok_or_else(|| wrong_kind(voice))
        };
        let network = required(Kind::Kokoro)?;
        let vocabulary = required(Kind::KokoroVocabulary)?;
        if let Some(loaded) = self.kokoro.get(&network.id) {
            return Ok(Arc::clone(loaded));
        }
        let loaded = KokoroModel::load(
            &self.only_file(&network)?,
            &self.only_file(&vocabulary)?,
            &self.hardware,
        )?;
        self.kokoro.insert(network.id, Arc::clone(&loaded));
        Ok(loaded)
    }

    fn open_onnx(&self) -> Result<(), StageError> {
        let found = self.resolve("onnx-runtime")?;
        Ok(onnx::init(&self.only_file(&found.model)?)?)
    }

    fn resolve(&self, role: &str) -> Result<Resolved, StageError> {
        Ok(self.store.resolve(role, self.picks.get(role).map(String::as_str))?)
    }

    /// The model of the role `prefix` + `tag`; a language without such a role is told as that.
    fn resolve_language(&self, prefix: &str, tag: &str) -> Result<Resolved, StageError> {
        let role = format!("{prefix}{tag}");
        if self.store.manifest().role(&role).is_err() {
            return Err(unknown_language(tag));
        }
        self.resolve(&role)
    }

    fn only_file(&self, model: &Model) -> Result<PathBuf, StageError> {
        self.file(model, "")
    }

    /// The installed file of `model` whose name begins with `prefix`.
    fn file(&self, model: &Model, prefix: &str) -> Result<PathBuf, StageError> {
        self.find_file(model, |name| name.starts_with(prefix))
    }

    /// The installed file of `model` whose name ends with `suffix`.
    fn file_ending(&self, model: &Model, suffix: &str) -> Result<PathBuf, StageError> {
        self.find_file(model, |name| name.ends_with(suffix))
    }

    fn find_file(
        &self,
        model: &Model,
        matches: impl Fn(&str) -> bool,
    ) -> Result<PathBuf, StageError> {
        let file =
            model.files_here().find(|file| matches(&file.name)).ok_or_else(|| wrong_kind(model))?;
        Ok(self.store.path(&model.id, &file.name)?)
    }
}

impl From<ModelsError> for StageError {
    fn from(error: ModelsError) -> Self {
        Self::new(ErrorCode::ModelMissing, error.to_string())
    }
}

/// Whether the model that is installed for speech, or picked by name, knows more languages
/// than English.
#[must_use]
pub fn spoken(store: &ModelStore, pick: Option<&str>) -> bool {
    let found = store.resolve("speech-to-text", pick);
    found.is_ok_and(|found| found.model.languages.iter().any(|it| it == "multilingual"))
}

/// Languages that can be translated to and spoken with what is installed.
#[must_use]
pub fn targets(store: &ModelStore) -> Vec<&'static language::Language> {
    let installed = |role: String| store.resolve(&role, None).is_ok();
    language::LANGUAGES
        .iter()
        .filter(|language| language.tag != "en")
        .filter(|language| installed(format!("translation-en-{}", language.tag)))
        .filter(|language| installed(format!("voice-{}", language.tag)))
        .collect()
}

/// Whether texts in a language are translated by the text model, which errs more often than a
/// translation model; `picks` are the models that the configuration names, by role.
#[must_use]
pub fn is_rough(store: &ModelStore, picks: &BTreeMap<String, String>, tag: &str) -> bool {
    let role = format!("translation-en-{tag}");
    let found = store.resolve(&role, picks.get(&role).map(String::as_str));
    found.is_ok_and(|found| found.model.kind == Kind::Gguf)
}

fn unknown_language(tag: &str) -> StageError {
    let hint = language::nearest(tag)
        .map(|near| format!(" Did you mean {} ({})?", near.tag, near.english_name))
        .unwrap_or_default();
    StageError::new(
        ErrorCode::UnsupportedLanguage,
        format!("No engine serves the language `{tag}`.{hint}"),
    )
}

/// The manifest names a model for a role that its engine cannot be found for.
fn wrong_kind(model: &Model) -> StageError {
    StageError::internal(
        format!("The model {} cannot be used here.", model.id),
        format!("a model of kind {:?} without the files or models its engine needs", model.kind),
    )
}

/// Locks what the stages of a worker share.
///
/// # Errors
/// When a stage panicked while it held the lock: what it held may be half changed.
pub fn lock<T>(shared: &Mutex<T>) -> Result<MutexGuard<'_, T>, StageError> {
    shared.lock().map_err(|_| {
        EngineError::run("The model", "an earlier fault left it unusable; restart the server")
            .into()
    })
}

/// Milliseconds since `started`.
#[must_use]
pub fn elapsed_ms(started: Instant) -> u64 {
    started.elapsed().as_millis() as u64
}
