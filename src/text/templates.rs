//! What the language model is asked to do with a transcript: one template a task.
//!
//! Used by `stage::generate_text`, and by `cli` and `web` to offer the choice.
//! The wording is in `templates/`, two files each; it was tuned on
//! Qwen2.5-Coder-1.5B, the weakest model that is offered by default.

use std::fmt::Write;

use super::language;

/// Where the transcript stands in a template's user message.
const PLACEHOLDER: &str = "{transcript}";

/// Ends an answer with its first paragraph; small models like to add more than was asked for.
const ONE_PARAGRAPH: &[&str] = &["\n\n"];

/// One way to make text from a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    /// Name in options and on the command line.
    pub name: &'static str,
    /// Name for a person.
    pub title: &'static str,
    /// The system message.
    pub system: &'static str,
    /// The user message, with `{transcript}` where the transcript goes.
    pub user: &'static str,
    /// Tokens that an answer of the intended length may take.
    pub max_tokens: u32,
    /// The answer ends before the first of these.
    pub stop: &'static [&'static str],
}

impl Template {
    /// The system message and the user message for `transcript`, which is in `language`, a BCP
    /// 47 tag; the answer is to be English whatever it is. An `instruction` takes the place of
    /// the user message; it may say `{transcript}` where the transcript is to stand, which
    /// otherwise follows it.
    #[must_use]
    pub fn messages(
        &self,
        transcript: &str,
        language: &str,
        instruction: &str,
    ) -> (String, String) {
        let user = match instruction.trim() {
            "" => self.user.trim().to_owned(),
            own if own.contains(PLACEHOLDER) => own.to_owned(),
            own => format!("{own}\n\n{PLACEHOLDER}"),
        };
        let user = user.replace(PLACEHOLDER, transcript.trim());
        let mut system = self.system.trim().to_owned();
        if let Some(foreign) = language::language(language).filter(|it| it.tag != "en") {
            let _ = write!(
                system,
                " The person speaks {}, and you answer in English, unless they ask for another \
                 language.",
                foreign.english_name
            );
        }
        (system, user)
    }
}

/// All templates; the first is the default.
pub const ALL: [Template; 4] = [
    Template {
        name: "continue",
        title: "Continue the thought",
        system: include_str!("templates/continue.system.txt"),
        user: include_str!("templates/continue.user.txt"),
        max_tokens: 160,
        stop: ONE_PARAGRAPH,
    },
    Template {
        name: "podcast",
        title: "Podcast script",
        system: include_str!("templates/podcast.system.txt"),
        user: include_str!("templates/podcast.user.txt"),
        max_tokens: 1600,
        stop: &[],
    },
    Template {
        name: "summarise",
        title: "Summarise",
        system: include_str!("templates/summarise.system.txt"),
        user: include_str!("templates/summarise.user.txt"),
        max_tokens: 120,
        stop: ONE_PARAGRAPH,
    },
    Template {
        name: "free",
        title: "Free",
        system: include_str!("templates/free.system.txt"),
        user: include_str!("templates/free.user.txt"),
        max_tokens: 256,
        stop: &[],
    },
];

/// The template called `name`.
#[must_use]
pub fn template(name: &str) -> Option<&'static Template> {
    ALL.iter().find(|template| template.name == name)
}

/// The names of all templates, in order.
#[must_use]
pub fn names() -> [&'static str; ALL.len()] {
    ALL.map(|template| template.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_found_by_its_name_and_takes_the_transcript_once() {
        for expected in &ALL {
            let found = template(expected.name).expect("it is listed");
            assert_eq!(found, expected);
            let (system, user) = found.messages(" Cats sleep a lot. ", "en", "");
            assert_eq!(user.matches("Cats sleep a lot.").count(), 1, "{user}");
            assert!(!user.contains(PLACEHOLDER) && !system.contains(PLACEHOLDER));
            assert!(!system.is_empty());
        }
    }

    #[test]
    fn a_name_that_is_not_known_has_no_template() {
        assert_eq!(template("Continue"), None);
    }

    #[test]
    fn a_transcript_that_names_the_placeholder_is_not_expanded_again() {
        let (_, user) = ALL[0].messages("say {transcript} twice", "en", "");
        assert_eq!(user.matches("say {transcript} twice").count(), 1);
        assert_eq!(user.matches(PLACEHOLDER).count(), 1);
    }

    #[test]
    fn an_instruction_takes_the_place_of_the_templates_words() {
        let (system, user) = ALL[0].messages("cats", "en", "Answer as a pirate.");
        assert_eq!(system, ALL[0].system.trim());
        assert_eq!(user, "Answer as a pirate.\n\ncats");
        let (_, user) = ALL[0].messages("cats", "en", "Rhyme on {transcript}!");
        assert_eq!(user, "Rhyme on cats!");
    }

    #[test]
    fn a_prompt_in_another_language_is_answered_in_english() {
        let (system, user) = ALL[0].messages("les chats", "fr", "");
        assert!(system.contains("speaks French, and you answer in English"), "{system}");
        assert!(user.contains("les chats"));
    }
}
