//! Which voices there are, for lists that people choose from.

use std::collections::BTreeMap;

use crate::engine::{kokoro, piper};
use crate::models::{Kind, Model, ModelStore};
use crate::text::language::{LANGUAGES, Language};

/// A voice of the catalogue.
#[derive(Debug, Clone)]
pub struct VoiceInfo<'a> {
    /// What it speaks.
    pub language: &'static Language,
    /// Its entry in the catalogue; the id is what a job names it by.
    pub model: &'a Model,
    /// Whether its weights, and all that they need, are there.
    pub installed: bool,
    /// Whether a job that names no voice gets this one.
    pub default: bool,
}

impl VoiceInfo<'_> {
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
        let is_config = |name: &str| name.rsplit_once('.').is_some_and(|(_, kind)| kind == "json");
        let file = self.model.files_here().find(|file| is_config(&file.name))?;
        piper::sample_rate(&store.path(&self.model.id, &file.name).ok()?)
    }
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
        voices.extend(models.map(|model| VoiceInfo {
            language,
            model,
            installed: store.is_installed(&model.id),
            default: chosen.as_deref() == Some(&model.id),
        }));
    }
    voices
}

/// The role that voices of a language serve.
pub(super) fn role(tag: &str) -> String {
    format!("voice-{tag}")
}
