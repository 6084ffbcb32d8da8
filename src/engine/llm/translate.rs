//! A translator made of the language model, for targets that no translation model serves.
//!
//! Used by `stage::translate_text`. Slower and less faithful than a translation
//! model, so that every sentence is checked, and asked for again when it looks wrong.

use std::fmt::Write;

use super::phrasebook::Phrasebook;
use crate::engine::{
    Cancel, ChatMessage, Control, EngineError, GenerateOptions, Shared, TextModel, Translator,
    end_turn, turn,
};
use crate::text::{Language, UNTRANSLATED};

/// Translations longer or shorter than this, by their [`ratio`] to the English, are doubted.
const LIKELY_RATIO: std::ops::RangeInclusive<f64> = 0.4..=2.5;

/// The same for sentences from [`LONG`] on: what is much shorter has left out a clause.
const LIKELY_RATIO_OF_LONG: std::ops::RangeInclusive<f64> = 0.7..=1.8;

/// Sentences that are long, in characters.
const LONG: usize = 60;

/// A conversation begins anew, with the last sentence, when it has had so many, or when their
/// English has so many characters. Each is read once; but the more there are, the longer the model
/// looks back at each word.
const MOST_BEFORE: usize = 6;
const MOST_BEFORE_CHARS: usize = 1000;

/// Sentences from here on, in characters, are no idioms such as `How are you doing?` (`Ça va ?`): a
/// translation of an unlikely length is none.
const PLAIN: usize = 30;

/// Sentences shorter than this, in characters, may translate to any length (`OK.`, `Oui.`).
const SHORT: usize = 12;

/// Translates with a language model that the text stage may be using too.
pub struct LlmTranslator {
    llm: Shared<dyn TextModel>,
    /// Name in English, such as `French`.
    language: &'static str,
    book: Option<&'static Phrasebook>,
}

impl LlmTranslator {
    /// A translator from English to `language`.
    pub fn new(llm: Shared<dyn TextModel>, language: &Language) -> Self {
        Self { llm, language: language.english_name, book: Phrasebook::of(language.tag) }
    }

    /// What to do, and what the words that are mixed up most often mean.
    fn task(&self, sentence: &str) -> ChatMessage {
        let mut task = format!(
            "You translate English into {language}, one sentence at a time. Answer with the \
             {language} sentence only: no quotation marks, no explanation, nothing added or left \
             out.",
            language = self.language
        );
        for (english, translation) in self.calendar_of(sentence) {
            let _ = write!(task, " {english} is {translation}.");
        }
        ChatMessage::system(task)
    }

    fn calendar_of(&self, sentence: &str) -> Vec<(&'static str, &'static str)> {
        self.book.map_or_else(Vec::new, |book| book.calendar_of(sentence))
    }

    /// The sentence as the next turn of a conversation, after examples and sentences before it.
    /// The model keeps what it has read and said from one sentence to the next.
    fn in_context(&self, before: &[(String, String)], sentence: &str) -> Vec<ChatMessage> {
        let mut messages = vec![self.task(sentence)];
        let examples = self.book.map_or(&[][..], |book| book.examples);
        let before = before.iter().map(|(english, translation)| (&**english, &**translation));
        for (english, translation) in examples.iter().copied().chain(before) {
            messages.push(ChatMessage::user(english));
            messages.push(ChatMessage::assistant(translation));
        }
        messages.push(ChatMessage::user(sentence));
        messages
    }

    /// The sentence alone, with the task beside it: for models that answered instead.
    fn alone(&self, sentence: &str) -> Vec<ChatMessage> {
        let task = format!(
            "Translate this English sentence into {language}, every part of it. Write only the \
             {language} sentence.\n\nEnglish: {sentence}\n{language}:",
            language = self.language
        );
        vec![self.task(sentence), ChatMessage::user(task)]
    }

    fn ask(
        &self,
        messages: &[ChatMessage],
        follows: bool,
        sentence: &str,
        cancel: &Cancel,
    ) -> Result<String, EngineError> {
        let mut llm = turn(&self.llm, cancel)?;
        let length = llm.count_tokens(sentence)?;
        let max_tokens = 3 * length + 32;
        let options = GenerateOptions { max_tokens, follows, ..GenerateOptions::default() };
        // The caller counts sentences; the tokens of one are not to be told.
        let quiet = Control { cancel, progress: &|_| {} };
        let answer = llm.answer(messages, &options, &quiet, &mut |_| {})?;
        // Others who need the model have their turn between two sentences.
        end_turn(llm);
        Ok(tidy(&answer.text, sentence))
    }

    /// The translation of the next sentence in `conversation`.
    fn sentence(
        &self,
        conversation: &mut Conversation,
        sentence: &str,
        cancel: &Cancel,
    ) -> Result<String, EngineError> {
        // Its words are in the task, with which a conversation begins.
        let has_date = !self.calendar_of(sentence).is_empty();
        conversation.goes_on &= !has_date;
        conversation.prepare();
        let messages = self.in_context(&conversation.turns, sentence);
        let first = self.ask(&messages, conversation.goes_on, sentence, cancel)?;
        let doubts = self.doubts(sentence, &first);
        conversation.goes_on = doubts == 0 && !has_date;
        let translation = if doubts == 0 {
            first
        } else {
            let second = self.ask(&self.alone(sentence), false, sentence, cancel)?;
            let better = self.doubts(sentence, &second) < doubts;
            if better || !is_translated(sentence, &first) { second } else { first }
        };
        let translation = match self.book {
            Some(book) => book.mend_calendar(sentence, translation),
            None => translation,
        };
        // Said as it is, and marked as such, no sentence is lost without a trace.
        if !is_translated(sentence, &translation) {
            return Ok(format!("{UNTRANSLATED}{sentence}"));
        }
        conversation.turns.push((sentence.to_owned(), translation.clone()));
        Ok(translation)
    }

    /// How many signs of a poor translation there are; 0 is a good one.
    fn doubts(&self, english: &str, translation: &str) -> usize {
        let lower = translation.to_lowercase();
        let calendar = self.calendar_of(english);
        let dates = calendar.iter().filter(|(_, word)| !lower.contains(&word.to_lowercase()));
        // Names keep their beginning, but only in letters of the same script; one that is a
        // word of its own in the other language costs a second try and nothing else.
        let latin = lower.chars().any(|c| c.is_ascii_alphabetic());
        let lost = |name: &String| latin && !lower.contains(name.as_str());
        let names = names(english).filter(|name| !is_date(&calendar, name)).any(|name| lost(&name));
        faults(english, translation).saturating_add(dates.count()).saturating_add(names.into())
    }
}

impl Translator for LlmTranslator {
    fn translate(
        &mut self,
        sentences: &[String],
        control: &Control<'_>,
    ) -> Result<Vec<String>, EngineError> {
        let mut translations: Vec<String> = Vec::with_capacity(sentences.len());
        let mut conversation = Conversation::default();
        for (at, sentence) in sentences.iter().enumerate() {
            control.cancel.check()?;
            let translation = if sentence.trim().is_empty() {
                String::new()
            } else {
                self.sentence(&mut conversation, sentence, control.cancel)?
            };
            translations.push(translation);
            control.report(at + 1, sentences.len());
        }
        Ok(translations)
    }
}

/// What was translated before, as the model is told it.
#[derive(Default)]
struct Conversation {
    /// English beside translations.
    turns: Vec<(String, String)>,
    /// Whether the model was asked for the last of them in this conversation, so that it knows
    /// all up to there.
    goes_on: bool,
}

impl Conversation {
    /// Forgets all but the last turn if the model does not know the others any more, or if there
    /// are enough.
    fn prepare(&mut self) {
        let length: usize = self.turns.iter().map(|(english, _)| english.chars().count()).sum();
        self.goes_on &= self.turns.len() < MOST_BEFORE && length < MOST_BEFORE_CHARS;
        if !self.goes_on {
            self.turns.drain(..self.turns.len().saturating_sub(1));
        }
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

/// Whether there is a translation at all: not nothing, not the English again, not a part of it or
/// an essay on it.
fn is_translated(english: &str, translation: &str) -> bool {
    let made = letters(translation);
    let english_letters = letters(english);
    if english_letters.is_empty() || made.is_empty() {
        return english_letters.is_empty();
    }
    let length = english.chars().count();
    length <= SHORT
        || made != english_letters
            && (length < PLAIN || LIKELY_RATIO.contains(&ratio(english, translation)))
}

/// How long `translation` is for a character of `english`. A sign of Chinese, Japanese or Korean
/// says as much as three letters.
fn ratio(english: &str, translation: &str) -> f64 {
    let weight = |c: char| if ('\u{2e80}'..='\u{d7ff}').contains(&c) { 3 } else { 1 };
    let length: usize = translation.chars().map(weight).sum();
    length as f64 / english.chars().count().max(1) as f64
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Words that are likely names: capitals inside the sentence, with the first three letters that
/// a name keeps in other languages.
fn names(english: &str) -> impl Iterator<Item = String> + '_ {
    english
        .split(|c: char| !c.is_alphanumeric())
        .skip(1)
        .filter(|word| word.chars().count() > 3 && word.starts_with(char::is_uppercase))
        .map(|word| word.chars().take(3).collect::<String>().to_lowercase())
}

/// Whether a name is the beginning of one of the weekdays or months.
fn is_date(calendar: &[(&str, &str)], name: &str) -> bool {
    calendar.iter().any(|(english, _)| english.to_lowercase().starts_with(name))
}

/// How many signs of a failed translation there are that show in any language; 0 is a good one.
fn faults(english: &str, translation: &str) -> usize {
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
    let likely = if length >= LONG { LIKELY_RATIO_OF_LONG } else { LIKELY_RATIO };
    let explained = |sign| translation.contains(sign) && !english.contains(sign);
    [
        length > SHORT && english_letters == translated_letters,
        length > SHORT && !likely.contains(&ratio(english, translation)),
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
    use crate::engine::{Finish, Generation, shared};

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
    fn what_is_much_shorter_than_a_long_sentence_is_noticed() {
        let english = "A monolith is easier to test, whereas microservices are easier to deploy.";
        assert!(faults(english, "Un monolithe est plus facile à tester.") > 0);
    }

    #[test]
    fn nothing_and_the_english_again_are_no_translations() {
        assert!(!is_translated(ENGLISH, "") && !is_translated(ENGLISH, " ... "));
        assert!(!is_translated(ENGLISH, "The train leaves at 12:30, on Monday"));
        assert!(!is_translated(ENGLISH, "Le train."), "half of it is lost");
        assert!(!is_translated(ENGLISH, &"Le train part à 12:30. ".repeat(5)));
        assert!(is_translated(ENGLISH, "Le train part à 12:30."));
        assert!(is_translated(ENGLISH, "火车周一十二点半开。"));
        assert!(is_translated("How are you doing?", "Ça va ?"));
        assert!(is_translated("OK.", "OK.") && is_translated("...", ""));
    }

    /// Answers with what a function makes of the last message and the number of the try.
    struct Scripted<F>(F, usize);

    impl<F: Fn(&str, usize) -> String + Send> TextModel for Scripted<F> {
        fn answer(
            &mut self,
            messages: &[ChatMessage],
            _: &GenerateOptions,
            _: &Control<'_>,
            _: &mut dyn FnMut(&str),
        ) -> Result<Generation, EngineError> {
            self.1 += 1;
            let asked = messages.last().map_or("", |message| &message.content);
            let text = (self.0)(asked, self.1);
            Ok(Generation {
                text,
                prompt_tokens: 1,
                read_tokens: 1,
                tokens: 1,
                prompt_ms: 0,
                decode_ms: 0,
                finish: Finish::Stop,
            })
        }

        fn count_tokens(&self, text: &str) -> Result<usize, EngineError> {
            Ok(text.len())
        }
    }

    fn french(
        answer: impl Fn(&str, usize) -> String + Send + 'static,
        sentences: &[&str],
    ) -> Vec<String> {
        let llm: Shared<dyn TextModel> = shared(Scripted(answer, 0));
        let french = crate::text::language::language("fr").expect("in the table");
        let sentences: Vec<String> = sentences.iter().map(ToString::to_string).collect();
        let control = Control { cancel: &Cancel::default(), progress: &|_| {} };
        LlmTranslator::new(llm, french).translate(&sentences, &control).expect("it answers")
    }

    #[test]
    fn a_doubtful_translation_is_asked_for_again_with_another_prompt() {
        let good = "Le train part à 12:30 le lundi.";
        let translated = french(
            move |asked, _| {
                let again = asked.starts_with("Translate");
                if again { good.to_owned() } else { "Le train part à 13:45 le lundi.".to_owned() }
            },
            &[ENGLISH],
        );
        assert_eq!(translated, [good]);
    }

    #[test]
    fn the_better_of_two_doubtful_translations_is_taken() {
        let better = "Le train part à 13:45 le lundi.";
        let translated = french(
            move |_, at| if at == 1 { better.to_owned() } else { "Le train : lundi.".to_owned() },
            &[ENGLISH],
        );
        assert_eq!(translated, [better]);
    }

    #[test]
    fn a_second_try_that_is_a_translation_is_taken_for_a_first_that_is_none() {
        let english = "Then the people of Toledo came to see it.";
        let second = "Puis les gens de la ville sont venus le voir.";
        let translated = french(
            move |_, at| if at == 1 { "Toledo.".to_owned() } else { second.to_owned() },
            &[english],
        );
        assert_eq!(translated, [second]);
    }

    #[test]
    fn what_is_not_translated_in_two_tries_is_marked_and_not_lost() {
        for answer in ["", ENGLISH, "Le.", &"Il y a beaucoup à dire sur ce train. ".repeat(5)] {
            let answer = answer.to_owned();
            let translated = french(move |_, _| answer.clone(), &[ENGLISH, "OK."]);
            assert_eq!(translated[0], format!("[en] {ENGLISH}"));
            assert_eq!(translated.len(), 2);
        }
    }

    #[test]
    fn a_text_of_fifteen_hundred_words_gives_a_sentence_for_each_sentence() {
        let words = ["conteneur", "programme", "serveur", "image", "réseau"];
        let english: Vec<String> = (0..150)
            .map(|at| match at % 5 {
                0 => {
                    format!("Dr. Kirk counted {at} of them on the 3rd day, e.g. in the U.S. part.")
                }
                1 => format!("- a box that is {at}.14 meters long, with two lids on its sides"),
                2 => "\"Where have you been for all this time?\" she asked him twice.".to_owned(),
                3 => format!("Is number {at} worth as much as what it cost last year?"),
                _ => "It runs on a server that has nothing else to do than this.".to_owned(),
            })
            .collect();
        assert!(english.iter().map(|it| it.split_whitespace().count()).sum::<usize>() > 1_500);
        // Good, empty, echoed, explained, and of several lines, in turn.
        let answer = move |asked: &str, at: usize| match at % 5 {
            0 => String::new(),
            1 => asked.to_owned(),
            2 => format!("{} : {}", words[at % 4], "bla ".repeat(90)),
            3 => "Une ligne.\n\nEt une autre, qui explique la première.".to_owned(),
            _ => "Voilà une phrase française qui est aussi longue que l'autre.".to_owned(),
        };
        let english: Vec<&str> = english.iter().map(String::as_str).collect();
        let translated = french(answer, &english);
        assert_eq!(translated.len(), english.len());
        assert!(translated.iter().all(|made| !made.trim().is_empty() && !made.contains('\n')));
        let marked = translated.iter().filter(|made| made.starts_with(UNTRANSLATED)).count();
        assert!((1..english.len()).contains(&marked), "{marked} of {}", english.len());
    }

    #[test]
    fn names_are_told_by_their_capitals_inside_the_sentence() {
        assert_eq!(
            names("Then Anna met Dr. Strangelove on Monday.").collect::<Vec<_>>(),
            ["ann", "str", "mon"]
        );
        assert!(is_date(&[("Monday", "lundi")], "mon") && !is_date(&[("Monday", "lundi")], "ann"));
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
