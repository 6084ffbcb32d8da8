//! Text made ready to be spoken: what is written short is said in full, and marks that
//! would be misread are put right.
//!
//! Called by `engine::phonemes` before the phonemiser reads a sentence.

mod en;
mod fr;
mod markup;
mod numbers;
mod rules;

/// Abbreviations whose full stop must not end a clause, with the word to say where
/// the phonemiser does not know it. Written without the stop; `.` inside is kept.
const ABBREVIATIONS: [(&str, &[(&str, &str)]); 3] = [
    (
        "en",
        &[
            ("Mr", "Mister"),
            ("Mrs", "Missis"),
            ("Ms", "Miz"),
            ("Dr", "Doctor"),
            ("Prof", "Professor"),
            ("St", "Saint"),
            ("Jr", "Junior"),
            ("Sr", "Senior"),
            ("Gen", "General"),
            ("Capt", "Captain"),
            ("Lt", "Lieutenant"),
            ("Sgt", "Sergeant"),
            ("Mt", "Mount"),
            ("vs", "versus"),
            ("approx", "approximately"),
        ],
    ),
    (
        "fr",
        &[
            ("M", "Monsieur"),
            ("MM", "Messieurs"),
            ("Mme", "Madame"),
            ("Mlle", "Mademoiselle"),
            ("Dr", "Docteur"),
            ("Pr", "Professeur"),
            ("St", "Saint"),
            ("Ste", "Sainte"),
        ],
    ),
    (
        "pt",
        &[
            ("Sr", "Senhor"),
            ("Sra", "Senhora"),
            ("Srta", "Senhorita"),
            ("Dr", "Doutor"),
            ("Dra", "Doutora"),
            ("Prof", "Professor"),
            ("Profa", "Professora"),
        ],
    ),
];

/// `text` on one line, for a voice of `language` (a tag such as `fr` or `en-us`).
///
/// Markdown, emoji and control characters go. In English and French, numbers, dates, times,
/// amounts, units, addresses and common abbreviations are put into words; other languages
/// leave them to the phonemiser. Stops of abbreviations and initials inside the sentence go,
/// since they would be heard as the end of it; a dash between spaces becomes `—`, since a
/// hyphen would not be heard at all.
pub fn prepare(text: &str, language: &str) -> String {
    let primary = language.split('-').next().unwrap_or_default();
    let plain = markup::plain(text);
    let clean = match primary {
        "en" => en::say(&plain),
        "fr" => fr::say(&plain),
        _ => plain,
    };
    let words: Vec<&str> = clean.split_whitespace().collect();
    let table = ABBREVIATIONS.iter().find(|(tag, _)| *tag == primary).map_or(&[][..], |t| t.1);
    let mut out = String::with_capacity(clean.len());
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        let last = index + 1 == words.len();
        match *word {
            "-" | "–" | "--" if !last => out.push('—'),
            _ if last => out.push_str(word),
            _ => push_word(&mut out, word, table),
        }
    }
    out
}

/// Adds a word that another word follows, without the stop of an abbreviation.
fn push_word(out: &mut String, word: &str, table: &[(&str, &str)]) {
    let Some(stem) = word.strip_suffix('.') else {
        out.push_str(word);
        return;
    };
    let letters = stem.trim_start_matches(|c: char| !c.is_alphanumeric());
    let before = &stem[..stem.len() - letters.len()];
    if let Some((_, full)) = table.iter().find(|(short, _)| *short == letters) {
        out.push_str(before);
        out.push_str(full);
    } else if is_initials(letters) {
        out.push_str(stem);
    } else {
        out.push_str(word);
    }
}

/// `J`, `U.S`, `e.g`: single letters parted by stops.
fn is_initials(letters: &str) -> bool {
    letters.split('.').all(|part| {
        let mut chars = part.chars();
        chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::prepare;

    #[test]
    fn stops_inside_a_sentence_go_and_the_last_one_stays() {
        assert_eq!(
            prepare("Dr. James T. Kirk of the U.S. Army, e.g. Mr. Spock Jr.", "en-us"),
            "Doctor James T Kirk of the U.S Army, for example Mister Spock Jr."
        );
        assert_eq!(prepare("He left. She stayed.", "en-us"), "He left. She stayed.");
    }

    #[test]
    fn french_and_portuguese_titles_are_said_in_full() {
        assert_eq!(prepare("« M. Dupont » est là.", "fr"), "« Monsieur Dupont » est là.");
        assert_eq!(prepare("A Sra. Silva saiu.", "pt-br"), "A Senhora Silva saiu.");
    }

    #[test]
    fn dashes_between_spaces_become_pauses_and_hyphens_stay() {
        assert_eq!(
            prepare("one - two – three -- well-known", "en"),
            "one — two — three — well-known"
        );
    }

    #[test]
    fn line_ends_and_control_characters_become_spaces() {
        assert_eq!(prepare("one\r\ntwo\0three\t four", "en"), "one two three four");
    }
}
