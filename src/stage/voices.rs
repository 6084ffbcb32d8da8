//! Which voices there are, for lists that people choose from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::engine::{kokoro, piper};
use crate::models::{Kind, Model, ModelStore};
use crate::text::language::{LANGUAGES, Language};

/// A voice of the catalogue.
#[derive(Debug, Clone)]
pub struct VoiceInfo<'a> {
    /// What it speaks.
    pub language: &'static Language,
    /// Its entry in the catalogue.
    pub model: &'a Model,
    /// Which of its speakers, if it has several.
    pub speaker: Option<String>,
    /// Whether its weights, and all that they need, are there.
    pub installed: bool,
    /// Whether a job that names no voice gets this one.
    pub default: bool,
}

impl VoiceInfo<'_> {
    /// What a job names it by: the model's id, and the speaker behind a colon.
    #[must_use]
    pub fn id(&self) -> String {
        match &self.speaker {
            Some(speaker) => format!("{}:{speaker}", self.model.id),
            None => self.model.id.clone(),
        }
    }

    /// What a person reads.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.speaker {
            Some(speaker) => format!("{}, {speaker}", self.model.title),
            None => self.model.title.clone(),
        }
    }

    /// What speaks.
    #[must_use]
    pub const fn engine(&self) -> &'static str {
        match self.model.kind {
            Kind::Piper => "Piper",
            _ => "Kokoro",
        }
    }

    /// Samples per second; of a Piper voice known only where its configuration is installed.
    #[must_use]
    pub fn sample_rate(&self, store: &ModelStore) -> Option<u32> {
        if self.model.kind != Kind::Piper {
            return Some(kokoro::SAMPLE_RATE);
        }
        piper::sample_rate(&config_of(store, self.model)?)
    }
}

/// The configuration of a Piper voice that is installed.
fn config_of(store: &ModelStore, model: &Model) -> Option<PathBuf> {
    let is_config = |name: &str| name.rsplit_once('.').is_some_and(|(_, kind)| kind == "json");
    let file = model.files_here().find(|file| is_config(&file.name))?;
    store.path(&model.id, &file.name).ok()
}

/// The model's id and the speaker in what a job names a voice by.
pub(super) fn parts(voice: &str) -> (&str, Option<&str>) {
    voice.split_once(':').map_or((voice, None), |(id, speaker)| (id, Some(speaker)))
}

/// Every voice of the catalogue, by language and then best first. `picks` are the models that
/// the configuration names, by role.
#[must_use]
pub fn voices<'a>(store: &'a ModelStore, picks: &BTreeMap<String, String>) -> Vec<VoiceInfo<'a>> {
    let manifest = store.manifest();
    let mut voices = Vec::new();
    for language in LANGUAGES {
        let name = role(language.tag);
        let Ok(role) = manifest.role(&name) else { continue };
        let chosen = store.resolve(&name, picks.get(&name).map(String::as_str));
        let chosen = chosen.ok().map(|found| found.model.id);
        let models = role.candidates.iter().filter_map(|it| manifest.model(&it.model).ok());
        for model in models {
            let config = Some(model).filter(|it| it.kind == Kind::Piper);
            let config = config.and_then(|model| config_of(store, model));
            let speakers = config.map_or_else(Vec::new, |config| piper::speakers(&config));
            let voice = |speaker: Option<String>| VoiceInfo {
                language,
                model,
                installed: store.is_installed(&model.id),
                default: chosen.as_deref() == Some(&model.id)
                    && speaker.as_ref() == speakers.first(),
                speaker,
            };
            if speakers.is_empty() {
                voices.push(voice(None));
            } else {
                voices.extend(speakers.iter().cloned().map(Some).map(voice));
            }
        }
    }
    voices
}

/// The role that voices of a language serve.
pub(super) fn role(tag: &str) -> String {
    format!("voice-{tag}")
}
