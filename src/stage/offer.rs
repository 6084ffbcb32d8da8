//! What can be offered with what is installed, and with the servers that are configured.

use std::collections::BTreeMap;

use super::StageKind;
use crate::models::{Kind, ModelStore};
use crate::settings::Settings;
use crate::text::language;

/// Whether more languages than English are understood.
#[must_use]
pub fn understands_many(store: &ModelStore, settings: &Settings) -> bool {
    let pick = settings.models.get("speech-to-text").map(String::as_str);
    settings.remotes.contains_key(&StageKind::TranscribeAudio)
        || store
            .resolve("speech-to-text", pick)
            .is_ok_and(|found| found.model.languages.iter().any(|it| it == "multilingual"))
}

/// Languages that can be translated to and spoken.
#[must_use]
pub fn targets(store: &ModelStore, settings: &Settings) -> Vec<&'static language::Language> {
    let remote = |stage| settings.remotes.contains_key(&stage);
    let translates = |tag: &str| {
        remote(StageKind::TranslateText)
            || remote(StageKind::GenerateText)
            || is_installed(store, &settings.models, &translation_role(tag))
    };
    let speaks = |tag: &str| {
        remote(StageKind::SynthesisAudio)
            || is_installed(store, &settings.models, &super::voices::role(tag))
    };
    language::LANGUAGES
        .iter()
        .filter(|language| language.tag != "en")
        .filter(|language| translates(language.tag) && speaks(language.tag))
        .collect()
}

/// Pairs of languages that texts without a job can be translated between: from English to all
/// that a model is there for, to English where one is, and through English between the others.
#[must_use]
pub fn translations(store: &ModelStore, settings: &Settings) -> Vec<(&'static str, &'static str)> {
    let installed = |from: &str, to: &str| {
        let text_model = from == "en" && settings.remotes.contains_key(&StageKind::GenerateText);
        settings.remotes.contains_key(&StageKind::TranslateText)
            || text_model
            || is_installed(store, &settings.models, &format!("translation-{from}-{to}"))
    };
    let tags = || language::LANGUAGES.iter().map(|language| language.tag);
    let sources: Vec<&str> = tags().filter(|&tag| tag == "en" || installed(tag, "en")).collect();
    let targets: Vec<&str> = tags().filter(|&tag| tag == "en" || installed("en", tag)).collect();
    let pairs = sources.iter().flat_map(|&from| targets.iter().map(move |&to| (from, to)));
    pairs.filter(|(from, to)| from != to).collect()
}

/// Whether texts in a language are translated by the text model, which errs more often than a
/// translation model.
#[must_use]
pub fn is_rough(store: &ModelStore, settings: &Settings, tag: &str) -> bool {
    if settings.remotes.contains_key(&StageKind::TranslateText) {
        return false;
    }
    let role = translation_role(tag);
    let found = store.resolve(&role, settings.models.get(&role).map(String::as_str));
    found.map_or(true, |found| found.model.kind == Kind::Gguf)
}

fn translation_role(tag: &str) -> String {
    format!("translation-en-{tag}")
}

fn is_installed(store: &ModelStore, picks: &BTreeMap<String, String>, role: &str) -> bool {
    store.resolve(role, picks.get(role).map(String::as_str)).is_ok()
}
