//! The languages that can be named: tags and names.
//!
//! Called by `stage`, `engine`, `settings`, `web` and `cli` to check a language tag and to
//! show its name. A language in this table is one we can name; whether a model for it is
//! installed is another matter.

/// A language that a person may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Language {
    /// BCP 47 tag: ISO 639 code of the language, such as `fr`.
    pub tag: &'static str,
    /// Name in English, such as `French`.
    pub english_name: &'static str,
    /// Name in the language itself, such as `français`.
    pub own_name: &'static str,
}

/// A table row; short so that the table can be read as one.
const fn row(tag: &'static str, english_name: &'static str, own_name: &'static str) -> Language {
    Language { tag, english_name, own_name }
}

/// Every language that can be named, by tag: all that Whisper writes down.
///
/// Tags and names: ISO 639 and CLDR.
pub const LANGUAGES: &[Language] = &[
    row("af", "Afrikaans", "Afrikaans"),
    row("am", "Amharic", "አማርኛ"),
    row("ar", "Arabic", "العربية"),
    row("as", "Assamese", "অসমীয়া"),
    row("az", "Azerbaijani", "azərbaycan"),
    row("ba", "Bashkir", "башҡорт теле"),
    row("be", "Belarusian", "беларуская"),
    row("bg", "Bulgarian", "български"),
    row("bn", "Bengali", "বাংলা"),
    row("bo", "Tibetan", "བོད་སྐད་"),
    row("br", "Breton", "brezhoneg"),
    row("bs", "Bosnian", "bosanski"),
    row("ca", "Catalan", "català"),
    row("cs", "Czech", "čeština"),
    row("cy", "Welsh", "Cymraeg"),
    row("da", "Danish", "dansk"),
    row("de", "German", "Deutsch"),
    row("el", "Greek", "ελληνικά"),
    row("en", "English", "English"),
    row("es", "Spanish", "español"),
    row("et", "Estonian", "eesti"),
    row("eu", "Basque", "euskara"),
    row("fa", "Persian", "فارسی"),
    row("fi", "Finnish", "suomi"),
    row("fo", "Faroese", "føroyskt"),
    row("fr", "French", "français"),
    row("gl", "Galician", "galego"),
    row("gu", "Gujarati", "ગુજરાતી"),
    row("ha", "Hausa", "Hausa"),
    row("haw", "Hawaiian", "ʻŌlelo Hawaiʻi"),
    row("he", "Hebrew", "עברית"),
    row("hi", "Hindi", "हिन्दी"),
    row("hr", "Croatian", "hrvatski"),
    row("ht", "Haitian Creole", "kreyòl ayisyen"),
    row("hu", "Hungarian", "magyar"),
    row("hy", "Armenian", "հայերեն"),
    row("id", "Indonesian", "Indonesia"),
    row("is", "Icelandic", "íslenska"),
    row("it", "Italian", "italiano"),
    row("ja", "Japanese", "日本語"),
    row("jv", "Javanese", "Jawa"),
    row("ka", "Georgian", "ქართული"),
    row("kk", "Kazakh", "қазақ тілі"),
    row("km", "Khmer", "ខ្មែរ"),
    row("kn", "Kannada", "ಕನ್ನಡ"),
    row("ko", "Korean", "한국어"),
    row("la", "Latin", "Latina"),
    row("lb", "Luxembourgish", "Lëtzebuergesch"),
    row("ln", "Lingala", "lingála"),
    row("lo", "Lao", "ລາວ"),
    row("lt", "Lithuanian", "lietuvių"),
    row("lv", "Latvian", "latviešu"),
    row("mg", "Malagasy", "Malagasy"),
    row("mi", "Maori", "Māori"),
    row("mk", "Macedonian", "македонски"),
    row("ml", "Malayalam", "മലയാളം"),
    row("mn", "Mongolian", "монгол"),
    row("mr", "Marathi", "मराठी"),
    row("ms", "Malay", "Melayu"),
    row("mt", "Maltese", "Malti"),
    row("my", "Burmese", "မြန်မာ"),
    row("nb", "Norwegian", "norsk bokmål"),
    row("ne", "Nepali", "नेपाली"),
    row("nl", "Dutch", "Nederlands"),
    row("nn", "Norwegian Nynorsk", "norsk nynorsk"),
    row("oc", "Occitan", "occitan"),
    row("pa", "Punjabi", "ਪੰਜਾਬੀ"),
    row("pl", "Polish", "polski"),
    row("ps", "Pashto", "پښتو"),
    row("pt", "Portuguese", "português"),
    row("ro", "Romanian", "română"),
    row("ru", "Russian", "русский"),
    row("sa", "Sanskrit", "संस्कृत भाषा"),
    row("sd", "Sindhi", "سنڌي"),
    row("si", "Sinhala", "සිංහල"),
    row("sk", "Slovak", "slovenčina"),
    row("sl", "Slovenian", "slovenščina"),
    row("sn", "Shona", "chiShona"),
    row("so", "Somali", "Soomaali"),
    row("sq", "Albanian", "shqip"),
    row("sr", "Serbian", "српски"),
    row("su", "Sundanese", "Basa Sunda"),
    row("sv", "Swedish", "svenska"),
    row("sw", "Swahili", "Kiswahili"),
    row("ta", "Tamil", "தமிழ்"),
    row("te", "Telugu", "తెలుగు"),
    row("tg", "Tajik", "тоҷикӣ"),
    row("th", "Thai", "ไทย"),
    row("tk", "Turkmen", "türkmen dili"),
    row("tl", "Tagalog", "Tagalog"),
    row("tr", "Turkish", "Türkçe"),
    row("tt", "Tatar", "татар"),
    row("uk", "Ukrainian", "українська"),
    row("ur", "Urdu", "اردو"),
    row("uz", "Uzbek", "o‘zbek"),
    row("vi", "Vietnamese", "Tiếng Việt"),
    row("yi", "Yiddish", "ייִדיש"),
    row("yo", "Yoruba", "Èdè Yorùbá"),
    row("yue", "Cantonese", "粵語"),
    row("zh", "Chinese", "中文"),
];

/// Tags that stand for one of the table: as a macrolanguage, of old, or as Whisper has it.
const OTHER_TAGS: [(&str, &str); 4] = [("fil", "tl"), ("iw", "he"), ("jw", "jv"), ("no", "nb")];

/// The language of a BCP 47 tag. Case does not matter, `_` stands for `-`, and
/// a region or script is ignored: `pt_BR` is Portuguese.
pub fn language(tag: &str) -> Option<&'static Language> {
    let primary = tag.trim().split(['-', '_']).next()?.to_ascii_lowercase();
    let other = OTHER_TAGS.iter().find(|(other, _)| *other == primary).map(|(_, tag)| *tag);
    let primary = other.unwrap_or(&primary);
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
    fn other_tags_of_a_language_find_it() {
        for (other, tag) in OTHER_TAGS {
            assert_eq!(language(other).map(|found| found.tag), Some(tag), "{other}");
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
