//! Every text of the pages, in one place a language.
//!
//! A text that one language has and another lacks does not compile. The language follows
//! from the browser's `Accept-Language`; English is what remains.

mod en;
mod fr;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::ACCEPT_LANGUAGE;
use axum::http::request::Parts;
use serde::Serialize;

use super::state::Choice;
use crate::jobs::JobState;
use crate::stage::{AUTO, StageKind};
use crate::text::language::language;

/// The texts of one language.
#[derive(Debug)]
pub(super) struct Words {
    /// BCP 47 tag, for `<html lang>`.
    pub tag: &'static str,
    pub tagline: &'static str,
    pub prompts: &'static str,
    pub models: &'static str,
    pub status: &'static str,
    pub skip: &'static str,

    pub loading: &'static str,
    pub loading_now: &'static str,
    pub loading_waits: &'static str,
    pub no_model: &'static str,

    pub mic_hint: &'static str,
    pub recorded_time: &'static str,
    pub mic_level: &'static str,
    pub cancel: &'static str,
    pub needs_script: &'static str,
    pub choose_file: &'static str,
    pub drop_here: &'static str,
    pub send: &'static str,
    pub send_again: &'static str,
    pub options: &'static str,
    pub spoken: &'static str,
    pub spoken_auto: &'static str,
    pub translate_to: &'static str,
    pub rough: &'static str,
    /// What `rough` means.
    pub rough_hint: &'static str,
    /// What a command is for that brings a language without slips.
    pub full_quality: &'static str,
    pub what_to_write: &'static str,
    pub longest_text: &'static str,
    pub as_template: &'static str,
    pub tokens: &'static str,
    pub voice_en: &'static str,
    pub voice: &'static str,
    pub voice_default: &'static str,
    pub instruction: &'static str,
    pub instruction_hint: &'static str,
    pub search: &'static str,
    pub search_label: &'static str,
    pub newest_prompts: &'static str,
    pub older_prompts: &'static str,
    pub table_caption: &'static str,
    pub empty: &'static str,
    pub try_sample: &'static str,
    pub nothing_found: &'static str,

    pub audio_prompt: &'static str,
    /// Headings of the stages' columns, in their order.
    pub headings: [&'static str; 5],
    /// What the stages are called, in their order.
    pub stages: [&'static str; 5],
    /// What happens while a stage runs, in their order.
    pub doing: [&'static str; 5],
    /// Names of the states, in the order of [`JobState`].
    pub states: [&'static str; 5],
    pub waiting: &'static str,
    pub not_made: &'static str,
    pub failed: &'static str,
    pub save: &'static str,
    pub save_all: &'static str,
    pub copy: &'static str,
    pub delete: &'static str,
    pub retry: &'static str,
    pub made_in: &'static str,
    pub unreadable: &'static str,
    pub stage_failed: &'static str,

    pub prompt_of: &'static str,
    pub transcript_times: &'static str,
    pub subtitles: &'static str,
    pub figures: &'static str,
    pub stage: &'static str,
    pub state: &'static str,
    pub queue: &'static str,
    pub load: &'static str,
    pub run: &'static str,
    pub speed: &'static str,
    pub device: &'static str,
    pub model: &'static str,
    pub attempts: &'static str,
    pub timeline: &'static str,
    pub run_again: &'static str,
    pub run_again_from: &'static str,
    pub run_again_hint: &'static str,
    pub versions: &'static str,
    pub version: &'static str,
    pub version_shown: &'static str,
    pub delete_version: &'static str,
    pub per_second: &'static str,
    pub times_real: &'static str,

    pub served_by: &'static str,
    pub size: &'static str,
    pub licence: &'static str,
    pub weights: &'static str,
    pub verified: &'static str,
    pub missing: &'static str,
    pub also_possible: &'static str,
    pub pull_hint: &'static str,
    pub installed: &'static str,
    pub no_models: &'static str,

    pub build: &'static str,
    pub gpu_build: &'static str,
    pub cpu_build: &'static str,
    pub workers: &'static str,
    pub ready: &'static str,
    pub waiting_jobs: &'static str,
    pub running_jobs: &'static str,
    pub kept_jobs: &'static str,
    pub disk: &'static str,
    pub free: &'static str,
    pub floor: &'static str,
    pub last_errors: &'static str,
    pub no_errors: &'static str,
    pub medians: &'static str,
    pub median: &'static str,
    pub no_runs: &'static str,
    pub course: &'static str,

    pub sign_in: &'static str,
    pub sign_in_hint: &'static str,
    pub sign_out: &'static str,
    pub token: &'static str,
    pub wrong_token: &'static str,

    pub error_title: &'static str,
    pub error_back: &'static str,

    /// Names of the prompt templates; one that is missing keeps its own.
    pub templates: &'static [(&'static str, &'static str)],
    /// What the roles of models do; one that is missing keeps the manifest's words.
    pub roles: &'static [(&'static str, &'static str)],
    /// What an error's code means; one that is missing keeps the error's own sentence.
    pub errors: &'static [(&'static str, &'static str)],
    /// Names of the languages that are not English: those of their speakers.
    pub own_language_names: bool,
    pub script: ScriptWords,
}

/// What the script says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScriptWords {
    pub unreachable: &'static str,
    pub recording: &'static str,
    pub stop: &'static str,
    pub record: &'static str,
    pub wait_mic: &'static str,
    pub sending: &'static str,
    pub sent: &'static str,
    pub recording_now: &'static str,
    pub discarded: &'static str,
    pub succeeded: &'static str,
    pub failed: &'static str,
    pub canceled: &'static str,
    pub deleted: &'static str,
    pub confirm_delete: &'static str,
    pub confirm_delete_version: &'static str,
    pub copied: &'static str,
    pub insecure: &'static str,
    pub no_recorder: &'static str,
    pub not_allowed: &'static str,
    pub not_found: &'static str,
    pub in_use: &'static str,
    pub mic_failed: &'static str,
    pub one_file: &'static str,
}

impl Words {
    const ALL: [&'static Self; 2] = [&en::WORDS, &fr::WORDS];

    /// The language that fits an `Accept-Language` header best.
    pub fn accepted(header: &str) -> &'static Self {
        let mut wanted: Vec<(f32, &str)> = header
            .split(',')
            .map(|part| {
                let (tag, quality) = part.split_once(";q=").unwrap_or((part, "1"));
                (quality.trim().parse().unwrap_or(0.0), tag.trim())
            })
            .filter(|&(quality, _)| quality > 0.0)
            .collect();
        // Stable: what comes first counts more where the numbers are the same.
        wanted.sort_by(|one, other| other.0.total_cmp(&one.0));
        let known = |tag: &str| {
            let language = tag.split('-').next().unwrap_or_default();
            Self::ALL.into_iter().find(|words| words.tag.eq_ignore_ascii_case(language))
        };
        wanted.into_iter().find_map(|(_, tag)| known(tag)).unwrap_or(&en::WORDS)
    }

    pub fn heading(&self, stage: impl Borrow<StageKind>) -> &'static str {
        self.headings[*stage.borrow() as usize]
    }

    pub fn stage_name(&self, stage: impl Borrow<StageKind>) -> &'static str {
        self.stages[*stage.borrow() as usize]
    }

    pub fn doing(&self, stage: impl Borrow<StageKind>) -> &'static str {
        self.doing[*stage.borrow() as usize]
    }

    pub fn state_name(&self, state: impl Borrow<JobState>) -> &'static str {
        self.states[*state.borrow() as usize]
    }

    /// The name of a language that is offered.
    pub fn language(&self, choice: &Choice) -> String {
        let own = language(&choice.value).filter(|_| self.own_language_names);
        own.map_or_else(|| choice.title.clone(), |language| language.own_name.to_owned())
    }

    /// The name of a language that a recording may be in.
    pub fn spoken_language(&self, choice: &Choice) -> String {
        if choice.value == AUTO { self.spoken_auto.to_owned() } else { self.language(choice) }
    }

    /// The name of a prompt template.
    pub fn template(&self, choice: &Choice) -> String {
        find(self.templates, &choice.value).unwrap_or(&choice.title).to_owned()
    }

    /// What a role of models does; `title` says it in English.
    pub fn role<'a>(&self, name: &str, title: &'a str) -> &'a str {
        find(self.roles, name).unwrap_or(title)
    }

    /// What went wrong; `message` says it in English, and more exactly.
    pub fn error<'a>(&self, code: &str, message: &'a str) -> &'a str {
        find(self.errors, code).unwrap_or(message)
    }

    /// What the script says, as JSON.
    pub fn for_script(&self) -> String {
        let script =
            ForScript { words: &self.script, errors: self.errors.iter().copied().collect() };
        // It has only strings.
        serde_json::to_string(&script).unwrap_or_default()
    }
}

/// [`Words::for_script`].
#[derive(Serialize)]
struct ForScript<'a> {
    #[serde(flatten)]
    words: &'a ScriptWords,
    /// By code.
    errors: BTreeMap<&'a str, &'a str>,
}

fn find(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

impl<S: Sync> FromRequestParts<S> for &'static Words {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let header = parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Ok(Words::accepted(header.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::ErrorCode;

    #[test]
    fn the_language_is_the_best_one_that_the_browser_asks_for() {
        let tag = |header| Words::accepted(header).tag;
        assert_eq!(tag("fr-CA,fr;q=0.9,en;q=0.8"), "fr");
        assert_eq!(tag("de,en;q=0.5,fr;q=0.7"), "fr");
        assert_eq!(tag("fr;q=0,en"), "en");
        assert_eq!(tag("de"), "en");
        assert_eq!(tag(""), "en");
    }

    #[test]
    fn french_has_a_sentence_for_every_failure_of_a_stage() {
        for code in ErrorCode::ALL {
            assert_ne!(fr::WORDS.error(code.as_str(), "English"), "English", "{}", code.as_str());
        }
    }
}
