//! A translator made of the language model, for targets that no translation model serves.
//!
//! Used by `stage::translate_text`. Slower and less faithful than a translation
//! model, so that every sentence is checked, and asked for again when it looks wrong.

use std::sync::{Arc, Mutex, PoisonError};

use super::{ChatMessage, GenerateOptions, Llm};
use crate::engine::{Cancel, Control, EngineError, Translator};

/// Translations longer or shorter than this, in characters per character of English, are doubted.
const LIKELY_RATIO: std::ops::RangeInclusive<f64> = 0.4..=2.5;

/// Sentences shorter than this, in characters, may translate to any length (`OK.`, `Oui.`).
const SHORT: usize = 12;

/// Translates with a language model that the text stage may be using too.
pub struct LlmTranslator {
    llm: Arc<Mutex<Llm>>,
    language: String,
}

impl LlmTranslator {
    /// A translator from English to `language`, given by its English name: `French`.
    pub fn new(llm: Arc<Mutex<Llm>>, language: impl Into<String>) -> Self {
        Self { llm, language: language.into() }
    }

    /// The sentence as the second turn of a conversation whose first is the sentence before.
    fn in_context(&self, previous: Option<(&str, &str)>, sentence: &str) -> Vec<ChatMessage> {
        let mut messages = vec![ChatMessage::system(format!(
            "You translate English into {language}, one sentence at a time. Answer with the \
             {language} sentence only: no quotation marks, no explanation, nothing added or left \
             out.",
            language = self.language
        ))];
        if let Some((english, translation)) = previous {
            messages.push(ChatMessage::user(english));
            messages.push(ChatMessage::assistant(translation));
        }
        messages.push(ChatMessage::user(sentence));
        messages
    }

    /// The sentence alone, with the task beside it: for models that answered instead.
    fn alone(&self, sentence: &str) -> Vec<ChatMessage> {
        vec![ChatMessage::user(format!(
            "Translate this English sentence into {language}. Write only the {language} \
             sentence.\n\nEnglish: {sentence}\n{language}:",
            language = self.language
        ))]
    }

    fn ask(
        &self,
        messages: &[ChatMessage],
        sentence: &str,
        cancel: &Cancel,
    ) -> Result<String, EngineError> {
        // A panic while another job held the model leaves nothing half-done that the next
        // generation does not clear, so a poisoned lock is as good as any.
        let mut llm = self.llm.lock().unwrap_or_else(PoisonError::into_inner);
        let length = llm.tokenizer().encode(sentence, false)?.len();
        let options = GenerateOptions { max_tokens: 3 * length + 32, ..GenerateOptions::default() };
        // The caller counts sentences; the tokens of one are not to be told.
        let quiet = Control { cancel, progress: &|_| {} };
        let answer = llm.generate(messages, &options, &quiet, |_| {})?;
        Ok(tidy(&answer.text, sentence))
    }

    fn sentence(
        &self,
        previous: Option<(&str, &str)>,
        sentence: &str,
        cancel: &Cancel,
    ) -> Result<String, EngineError> {
        let first = self.ask(&self.in_context(previous, sentence), sentence, cancel)?;
        let faults = faults(sentence, &first);
        if faults == 0 {
            return Ok(first);
        }
        let second = self.ask(&self.alone(sentence), sentence, cancel)?;
        let better = if self::faults(sentence, &second) < faults { second } else { first };
        // An empty translation would drop the sentence from the speech without a trace.
        Ok(if better.is_empty() { sentence.to_owned() } else { better })
    }
}

impl Translator for LlmTranslator {
    fn translate(
        &mut self,
        sentences: &[String],
        control: &Control<'_>,
    ) -> Result<Vec<String>, EngineError> {
        let mut translations: Vec<String> = Vec::with_capacity(sentences.len());
        for (at, sentence) in sentences.iter().enumerate() {
            control.cancel.check()?;
            let previous = at
                .checked_sub(1)
                .map(|before| (sentences[before].as_str(), translations[before].as_str()));
            let translation = if sentence.trim().is_empty() {
                String::new()
            } else {
                self.sentence(previous, sentence, control.cancel)?
            };
            translations.push(translation);
            control.report(at + 1, sentences.len());
        }
        Ok(translations)
    }
}

/// Takes away what models put around a translation: quotation marks that the English has not,
/// and whatever follows the first line of a one-line sentence.
fn tidy(answer: &str, english: &str) -> String {
    let mut text = answer.trim();
    if !english.trim().contains('\n') {
        text = text.lines().next().unwrap_or_default().trim_end();
    }
    let quoted = english.trim().starts_with(['"', '“']);
    for (open, close) in [('"', '"'), ('“', '”'), ('«', '»')] {
        let inner = text.strip_prefix(open).and_then(|text| text.strip_suffix(close));
        if let Some(inner) = inner.filter(|_| !quoted) {
            text = inner.trim();
        }
    }
    text.to_owned()
}

/// How many signs of a failed translation there are; 0 is a good one.
fn faults(english: &str, translation: &str) -> usize {
    let letters = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let digits = |text: &str| {
        let mut digits: Vec<char> = text.chars().filter(char::is_ascii_digit).collect();
        digits.sort_unstable();
        digits
    };
    let english_letters = letters(english);
    let translated_letters = letters(translation);
    if translated_letters.is_empty() {
        return if english_letters.is_empty() { 0 } else { usize::MAX };
    }
    let length = english.chars().count();
    let ratio = translation.chars().count() as f64 / length.max(1) as f64;
    let explained = |sign| translation.contains(sign) && !english.contains(sign);
    [
        length > SHORT && english_letters == translated_letters,
        length > SHORT && !LIKELY_RATIO.contains(&ratio),
        digits(english) != digits(translation),
        [':', '(', '\n'].into_iter().any(explained),
    ]
    .into_iter()
    .filter(|&fault| fault)
    .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: &str = "The train leaves at 12:30 on Monday.";

    #[test]
    fn a_good_translation_has_no_faults() {
        assert_eq!(faults(ENGLISH, "Le train part à 12:30 le lundi."), 0);
        assert_eq!(faults("1,000 people came.", "1 000 personnes sont venues."), 0);
        assert_eq!(faults("OK.", "OK."), 0);
    }

    #[test]
    fn what_goes_wrong_with_language_models_is_noticed() {
        for wrong in [
            "",
            "...",
            "The train leaves at 12:30, on Monday!",
            "Le train part à 13:30 le lundi.",
            "Le 12:30.",
            "Le train part à 12:30 le lundi (« leaves » se traduit par « part »).",
        ] {
            assert!(faults(ENGLISH, wrong) > 0, "{wrong:?} passed");
        }
    }

    #[test]
    fn an_empty_translation_is_worse_than_any_other() {
        assert!(faults(ENGLISH, "") > faults(ENGLISH, ENGLISH));
    }

    #[test]
    fn quotation_marks_and_explanations_are_taken_away() {
        assert_eq!(tidy("\"Bonjour.\"\n\nThis means hello.", "Hello."), "Bonjour.");
        assert_eq!(tidy(" « Bonjour. » ", "Hello."), "Bonjour.");
        assert_eq!(tidy("« Bonjour », dit-elle.", "Hello, she said."), "« Bonjour », dit-elle.");
        assert_eq!(tidy("\"Bonjour.\"", "\"Hello.\""), "\"Bonjour.\"");
    }
}
