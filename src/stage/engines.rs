//! Finds the model or the server for each role and loads it: the one place where stages meet
//! the store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{ErrorCode, StageError, StageKind, voices};
use crate::engine::firefox::Firefox;
use crate::engine::kokoro::{Kokoro, KokoroModel};
use crate::engine::llm::{Llm, LlmTranslator};
use crate::engine::marian::Marian;
use crate::engine::piper::Piper;
use crate::engine::pivot::Pivot;
use crate::engine::remote::{
    RemoteOptions, RemoteTextModel, RemoteTranscriber, RemoteTranslator, RemoteVoice,
};
use crate::engine::transcriber::SpeechToText;
use crate::engine::vad::Vad;
use crate::engine::whisper::Whisper;
use crate::engine::{
    Hardware, Shared, TextModel, Transcriber, Translator, Voice, onnx, phonemes, shared,
};
use crate::models::{Kind, Model, ModelStore, ModelsError, Resolved};
use crate::settings::Settings;
use crate::text::language;

/// The loader, shared by the stages of one worker.
pub type SharedEngines = Shared<Engines>;

/// What is recorded as the device of work that another server does.
const REMOTE: &str = "remote";

/// What translations go through that no model does at once.
const ENGLISH: &str = "en";

/// ONNX Runtime is its CPU build.
const CPU: &str = "cpu";

/// An engine with what timings say of it.
pub struct Loaded<T: ?Sized> {
    /// The engine.
    pub engine: Shared<T>,
    /// Model id as in the manifest, or the name of a model on another server.
    pub model: String,
    /// `cpu`, `cuda:0` or `remote`.
    pub device: String,
    /// What loading took now; 0 for an engine that was there.
    pub load_ms: u64,
}

impl<T: ?Sized> Loaded<T> {
    fn since(began: Instant, engine: Shared<T>, model: &str, device: &str) -> Self {
        let (model, device) = (model.to_owned(), device.to_owned());
        Self { engine, model, device, load_ms: elapsed_ms(began) }
    }

    /// The same, for whoever had it loaded.
    fn once(&self) -> Self {
        Self { load_ms: self.load_ms, ..self.again() }
    }

    /// The same, for the next who asks.
    fn again(&self) -> Self {
        let (model, device) = (self.model.clone(), self.device.clone());
        Self { engine: Arc::clone(&self.engine), model, device, load_ms: 0 }
    }
}

/// Loads engines when they are first asked for, and keeps them.
pub struct Engines {
    store: ModelStore,
    /// Models that were chosen by name: role to model id.
    picks: BTreeMap<String, String>,
    /// Stages whose work another server does.
    remotes: BTreeMap<StageKind, RemoteOptions>,
    hardware: Hardware,
    transcriber: Option<Loaded<dyn Transcriber>>,
    text_model: Option<Loaded<dyn TextModel>>,
    /// By source and target language.
    translators: BTreeMap<(String, String), Loaded<dyn Translator>>,
    /// By language and by the voice that was picked, if one was.
    voices: BTreeMap<(String, String), Loaded<dyn Voice>>,
    /// Kokoro's network by model id; its voices share it.
    kokoro: BTreeMap<String, Arc<Mutex<KokoroModel>>>,
}

impl Engines {
    /// A loader for the models in `store`, and for the servers that `settings` name.
    #[must_use]
    pub fn new(store: ModelStore, settings: &Settings) -> Self {
        Self {
            store,
            picks: settings.models.clone(),
            remotes: settings.remotes.clone(),
            hardware: settings.hardware.clone(),
            transcriber: None,
            text_model: None,
            translators: BTreeMap::new(),
            voices: BTreeMap::new(),
            kokoro: BTreeMap::new(),
        }
    }

    /// Speech to text.
    ///
    /// # Errors
    /// When no model is installed, or it does not load.
    pub fn transcriber(&mut self) -> Result<Loaded<dyn Transcriber>, StageError> {
        if let Some(loaded) = &self.transcriber {
            return Ok(loaded.again());
        }
        let began = Instant::now();
        let loaded = if let Some(remote) = self.remotes.get(&StageKind::TranscribeAudio) {
            let engine = shared(RemoteTranscriber::new(remote.clone())?);
            Loaded::since(began, engine as Shared<dyn Transcriber>, &remote.model, REMOTE)
        } else {
            let found = self.resolve("speech-to-text")?;
            let whisper = Whisper::load(&self.only_file(&found.model)?, &self.hardware)?;
            let engine = shared(SpeechToText::new(whisper, self.vad()?));
            Loaded::since(began, engine as _, &found.model.id, &self.hardware.name())
        };
        Ok(self.transcriber.insert(loaded).once())
    }

    fn vad(&self) -> Result<Vad, StageError> {
        self.open_onnx()?;
        let found = self.resolve("voice-activity")?;
        Ok(Vad::load(&self.only_file(&found.model)?)?)
    }

    /// The text model, used by two stages: generation, and translation as a last resort.
    ///
    /// # Errors
    /// When no model is installed, or it does not load.
    pub fn text_model(&mut self) -> Result<Loaded<dyn TextModel>, StageError> {
        if let Some(loaded) = &self.text_model {
            return Ok(loaded.again());
        }
        let began = Instant::now();
        let loaded = if let Some(remote) = self.remotes.get(&StageKind::GenerateText) {
            let engine = shared(RemoteTextModel::new(remote.clone())?);
            Loaded::since(began, engine as Shared<dyn TextModel>, &remote.model, REMOTE)
        } else {
            let found = self.resolve("text-generation")?;
            let engine = shared(Llm::load(&self.only_file(&found.model)?, &self.hardware)?);
            Loaded::since(began, engine as _, &found.model.id, &self.hardware.name())
        };
        Ok(self.text_model.insert(loaded).once())
    }

    /// A translator from `source` to `target`, BCP 47 tags.
    ///
    /// # Errors
    /// When no engine serves that pair, no model is installed, or it does not load.
    pub fn translator(
        &mut self,
        source: &str,
        target: &str,
    ) -> Result<Loaded<dyn Translator>, StageError> {
        let key = (source.to_owned(), target.to_owned());
        if let Some(loaded) = self.translators.get(&key) {
            return Ok(loaded.again());
        }
        let began = Instant::now();
        let loaded = if let Some(remote) = self.remotes.get(&StageKind::TranslateText) {
            let engine = shared(RemoteTranslator::new(remote.clone(), source, target)?);
            Loaded::since(began, engine as Shared<dyn Translator>, &remote.model, REMOTE)
        } else if source == ENGLISH || target == ENGLISH {
            self.local_translator(source, target, began)?
        } else {
            let (first, second) =
                (self.translator(source, ENGLISH)?, self.translator(ENGLISH, target)?);
            let engine = shared(Pivot::new(first.engine, second.engine));
            let models = format!("{} and {}", first.model, second.model);
            Loaded::since(began, engine as _, &models, &second.device)
        };
        Ok(self.translators.entry(key).insert_entry(loaded).get().once())
    }

    fn local_translator(
        &mut self,
        source: &str,
        target: &str,
        began: Instant,
    ) -> Result<Loaded<dyn Translator>, StageError> {
        let found = match self.resolve_language(&format!("translation-{source}-"), target) {
            // A text model elsewhere translates where nothing here does.
            Err(_) if source == ENGLISH && self.remotes.contains_key(&StageKind::GenerateText) => {
                return self.text_translator(target, began);
            }
            found => found?,
        };
        let model = &found.model;
        let engine: Shared<dyn Translator> = match model.kind {
            Kind::Firefox => {
                let vocab = self.file(model, "vocab");
                // Pairs with another script have a vocabulary for each language.
                let (source, target) = match vocab {
                    Ok(vocab) => (vocab.clone(), vocab),
                    Err(_) => (self.file(model, "srcvocab")?, self.file(model, "trgvocab")?),
                };
                let (network, shortlist) = (self.file(model, "model")?, self.file(model, "lex")?);
                let shortlist = Some(shortlist.as_path());
                shared(Firefox::load(&network, &source, &target, shortlist, &self.hardware)?)
            }
            Kind::Marian => shared(Marian::load(&found.dir, &self.hardware)?),
            Kind::Gguf => return self.text_translator(target, began),
            _ => return Err(wrong_kind(model)),
        };
        Ok(Loaded::since(began, engine, &found.model.id, &self.hardware.name()))
    }

    /// The text model as a translator.
    fn text_translator(
        &mut self,
        target: &str,
        began: Instant,
    ) -> Result<Loaded<dyn Translator>, StageError> {
        let language = language::language(target).ok_or_else(|| unknown_language(target))?;
        let text_model = self.text_model()?;
        let engine = shared(LlmTranslator::new(text_model.engine, language));
        Ok(Loaded::since(began, engine, &text_model.model, &text_model.device))
    }

    /// A voice for `tag`, a BCP 47 tag: the one with the model id `pick`, perhaps with
    /// a speaker behind a colon, or the configured one if that is empty.
    ///
    /// # Errors
    /// When there is no such voice for that language, or it does not load.
    pub fn voice(&mut self, tag: &str, pick: &str) -> Result<Loaded<dyn Voice>, StageError> {
        let key = (tag.to_owned(), pick.to_owned());
        if let Some(loaded) = self.voices.get(&key) {
            return Ok(loaded.again());
        }
        let began = Instant::now();
        let loaded = if let Some(remote) = self.remotes.get(&StageKind::speaks(tag)) {
            let engine = shared(RemoteVoice::new(remote.clone(), pick)?);
            Loaded::since(began, engine as Shared<dyn Voice>, &remote.model, REMOTE)
        } else {
            self.local_voice(tag, pick, began)?
        };
        Ok(self.voices.entry(key).insert_entry(loaded).get().once())
    }

    fn local_voice(
        &mut self,
        tag: &str,
        pick: &str,
        began: Instant,
    ) -> Result<Loaded<dyn Voice>, StageError> {
        let (id, speaker) = voices::parts(pick);
        let found = if id.is_empty() {
            self.resolve_language("voice-", tag)?
        } else {
            self.store.resolve(&voices::role(tag), Some(id))?
        };
        self.open_onnx()?;
        phonemes::init(&self.resolve("phonemes")?.dir)?;
        let model = &found.model;
        let engine: Shared<dyn Voice> = match model.kind {
            Kind::Piper => {
                let config = self.file_ending(model, ".json")?;
                let network = self.file_ending(model, ".onnx")?;
                shared(Piper::load(&network, &config, speaker, &self.hardware)?)
            }
            Kind::KokoroVoice => {
                let network = self.kokoro(model)?;
                shared(Kokoro::with_model(network, &self.only_file(model)?, tag)?)
            }
            _ => return Err(wrong_kind(model)),
        };
        Ok(Loaded::since(began, engine, &found.model.id, CPU))
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
        match error {
            // These name folders of this machine.
            ModelsError::Io { .. } | ModelsError::Lock { .. } => Self {
                code: ErrorCode::ModelMissing,
                message: "The weights cannot be read; the log says why.".to_owned(),
                detail: Some(error.to_string()),
            },
            error => Self::new(ErrorCode::ModelMissing, error.to_string()),
        }
    }
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

/// Milliseconds since `started`.
#[must_use]
pub fn elapsed_ms(started: Instant) -> u64 {
    started.elapsed().as_millis() as u64
}
