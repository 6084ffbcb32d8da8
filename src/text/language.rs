//! The languages that can be named: tags, names, and what voices call them.
//!
//! Called by `stage`, `settings`, `web` and `cli` to check a language tag, to
//! show its name, and to choose a phonemiser's voice. A language in this table
//! is one we can name; whether a model for it is installed is another matter.

/// A language that a person may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Language {
    /// BCP 47 tag: ISO 639-1 code of the language, such as `fr`.
    pub tag: &'static str,
    /// Name in English, such as `French`.
    pub english_name: &'static str,
    /// Name in the language itself, such as `français`.
    pub own_name: &'static str,
    /// Voice of espeak-ng, which makes phonemes for Piper and Kokoro, such as `fr-fr`.
    pub espeak_voice: &'static str,
    /// Kokoro's letter for the language, the first of its voices' names
    /// (`f` in `ff_siwis`); `None` where Kokoro 82M has no voice.
    pub kokoro: Option<char>,
}

/// A table row; short so that the table can be read as one.
const fn row(
    tag: &'static str,
    english_name: &'static str,
    own_name: &'static str,
    espeak_voice: &'static str,
    kokoro: Option<char>,
) -> Language {
    Language { tag, english_name, own_name, espeak_voice, kokoro }
}

/// Every language that can be named, by tag.
///
/// Tags and names: ISO 639-1 and CLDR. Voices: `espeak-ng --voices`. Kokoro's
/// letters: VOICES.md of Kokoro-82M v1.0.
pub const LANGUAGES: &[Language] = &[
    row("ar", "Arabic", "العربية", "ar", None),
    row("bg", "Bulgarian", "български", "bg", None),
    row("bn", "Bengali", "বাংলা", "bn", None),
    row("ca", "Catalan", "català", "ca", None),
    row("cs", "Czech", "čeština", "cs", None),
    row("da", "Danish", "dansk", "da", None),
    row("de", "German", "Deutsch", "de", None),
    row("el", "Greek", "ελληνικά", "el", None),
    row("en", "English", "English", "en-us", Some('a')),
    row("es", "Spanish", "español", "es", Some('e')),
    row("et", "Estonian", "eesti", "et", None),
    row("fa", "Persian", "فارسی", "fa", None),
    row("fi", "Finnish", "suomi", "fi", None),
    row("fr", "French", "français", "fr-fr", Some('f')),
    row("gu", "Gujarati", "ગુજરાતી", "gu", None),
    row("he", "Hebrew", "עברית", "he", None),
    row("hi", "Hindi", "हिन्दी", "hi", Some('h')),
    row("hr", "Croatian", "hrvatski", "hr", None),
    row("hu", "Hungarian", "magyar", "hu", None),
    row("id", "Indonesian", "Indonesia", "id", None),
    row("it", "Italian", "italiano", "it", Some('i')),
    row("ja", "Japanese", "日本語", "ja", Some('j')),
    row("ko", "Korean", "한국어", "ko", None),
    row("lt", "Lithuanian", "lietuvių", "lt", None),
    row("lv", "Latvian", "latviešu", "lv", None),
    row("nb", "Norwegian", "norsk bokmål", "nb", None),
    row("nl", "Dutch", "Nederlands", "nl", None),
    row("pl", "Polish", "polski", "pl", None),
    row("pt", "Portuguese", "português", "pt-br", Some('p')),
    row("ro", "Romanian", "română", "ro", None),
    row("ru", "Russian", "русский", "ru", None),
    row("sk", "Slovak", "slovenčina", "sk", None),
    row("sl", "Slovenian", "slovenščina", "sl", None),
    row("sv", "Swedish", "svenska", "sv", None),
    row("ta", "Tamil", "தமிழ்", "ta", None),
    row("te", "Telugu", "తెలుగు", "te", None),
    row("tr", "Turkish", "Türkçe", "tr", None),
    row("uk", "Ukrainian", "українська", "uk", None),
    row("vi", "Vietnamese", "Tiếng Việt", "vi", None),
    row("zh", "Chinese", "中文", "cmn", Some('z')),
];

/// The language of a BCP 47 tag. Case does not matter, `_` stands for `-`, and
/// a region or script is ignored: `pt_BR` is Portuguese.
pub fn language(tag: &str) -> Option<&'static Language> {
    let primary = tag.trim().split(['-', '_']).next()?.to_ascii_lowercase();
    LANGUAGES.iter().find(|language| language.tag == primary)
}

/// The language that somebody probably meant by a tag that [`language`] does
/// not know: the one whose tag or name is most like it, so that `french`, `fra`
/// and `portugese` find their way. `None` when nothing is near.
pub fn nearest(unknown: &str) -> Option<&'static Language> {
    // Below this, Jaro-Winkler calls words alike that share little but a letter.
    const ALIKE: f64 = 0.8;
    let wanted = unknown.trim().to_lowercase();
    let likeness = |language: &Language| {
        [language.english_name, language.own_name, language.tag]
            .into_iter()
            .map(|name| strsim::jaro_winkler(&wanted, &name.to_lowercase()))
            .fold(0.0, f64::max)
    };
    LANGUAGES
        .iter()
        .map(|language| (likeness(language), language))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, language)| language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_whatever_its_case_and_region() {
        for tag in ["pt", "PT", "pt-BR", "pt_br", " pt-Latn-PT "] {
            assert_eq!(language(tag).map(|found| found.english_name), Some("Portuguese"), "{tag}");
        }
    }

    #[test]
    fn an_unknown_tag_is_not_a_language() {
        for tag in ["", "-", "xx", "french", "f"] {
            assert_eq!(language(tag), None, "{tag}");
        }
    }

    #[test]
    fn a_mistaken_tag_finds_the_language_that_was_meant() {
        for (mistaken, meant) in
            [("french", "fr"), ("fra", "fr"), ("portugese", "pt"), ("Español", "es"), ("deu", "de")]
        {
            assert_eq!(nearest(mistaken).map(|found| found.tag), Some(meant), "{mistaken}");
        }
    }

    #[test]
    fn nonsense_is_near_to_nothing() {
        for nonsense in ["", "qqqq", "🙂", "0123456789"] {
            assert_eq!(nearest(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn the_table_is_sorted_by_tag_and_has_no_tag_twice() {
        assert!(LANGUAGES.is_sorted_by(|left, right| left.tag < right.tag));
    }
}
