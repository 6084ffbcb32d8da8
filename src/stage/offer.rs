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
    let speaks = |tag: &str| {
        settings.remotes.contains_key(&StageKind::SynthesisAudio)
            || is_installed(store, &settings.models, &super::voices::role(tag))
    };
    language::LANGUAGES
        .iter()
        .filter(|language| language.tag != "en")
        .filter(|language| translates(store, settings, "en", language.tag) && speaks(language.tag))
        .collect()
}

/// Pairs of languages that texts without a job can be translated between: from English to all
/// that a model is there for, to English where one is, and through English between the others.
#[must_use]
pub fn translations(store: &ModelStore, settings: &Settings) -> Vec<(&'static str, &'static str)> {
    let tags = || language::LANGUAGES.iter().map(|language| language.tag);
    let sources: Vec<&str> =
        tags().filter(|&tag| tag == "en" || translates(store, settings, tag, "en")).collect();
    let targets: Vec<&str> =
        tags().filter(|&tag| tag == "en" || translates(store, settings, "en", tag)).collect();
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
    let role = translation_role("en", tag);
    let found = store.resolve(&role, settings.models.get(&role).map(String::as_str));
    found.map_or(true, |found| found.model.kind == Kind::Gguf)
}

/// Whether something translates a pair of languages at once: a server, an installed model, or a
/// text model elsewhere, which translates from English alone.
fn translates(store: &ModelStore, settings: &Settings, from: &str, to: &str) -> bool {
    let remote = |stage| settings.remotes.contains_key(&stage);
    remote(StageKind::TranslateText)
        || from == "en" && remote(StageKind::GenerateText)
        || is_installed(store, &settings.models, &translation_role(from, to))
}

fn translation_role(from: &str, to: &str) -> String {
    format!("translation-{from}-{to}")
}

fn is_installed(store: &ModelStore, picks: &BTreeMap<String, String>, role: &str) -> bool {
    store.resolve(role, picks.get(role).map(String::as_str)).is_ok()
}
