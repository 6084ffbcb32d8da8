//! Text parted into paragraphs and sentences, and put together again.
//!
//! Called by the stages that translate and speak, which work sentence by sentence.
//! Sentence ends are found by the crate `sentencex` (rules and abbreviation lists
//! of the Wikimedia Language team).

/// Marks with which an item of a list may begin.
const BULLETS: [&str; 4] = ["- ", "* ", "• ", "– "];

/// Parts `text`, written in `language` (a BCP 47 tag), into paragraphs of sentences.
///
/// Paragraphs are parted by blank lines. A single line end is a space, except
/// before an item of a list, which is a sentence of its own. Sentences are trimmed
/// and never empty.
pub fn paragraphs(text: &str, language: &str) -> Vec<Vec<String>> {
    let language = language.split('-').next().unwrap_or_default();
    let mut paragraphs: Vec<Vec<String>> = Vec::new();
    let mut items: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim).chain([""]) {
        if line.is_empty() {
            let sentences: Vec<String> =
                items.drain(..).flat_map(|item| sentences(&item, language)).collect();
            if !sentences.is_empty() {
                paragraphs.push(sentences);
            }
        } else if begins_item(line) || items.is_empty() {
            items.push(line.to_owned());
        } else if let Some(item) = items.last_mut() {
            item.push(' ');
            item.push_str(line);
        }
    }
    paragraphs
}

/// The inverse of [`paragraphs`]: sentences parted by a space, items of lists by a line end,
/// paragraphs by a blank line.
pub fn join(paragraphs: &[Vec<String>]) -> String {
    let paragraph = |sentences: &Vec<String>| {
        let mut text = String::new();
        for sentence in sentences {
            if !text.is_empty() {
                text.push(if begins_item(sentence) { '\n' } else { ' ' });
            }
            text.push_str(sentence);
        }
        text
    };
    paragraphs.iter().map(paragraph).collect::<Vec<_>>().join("\n\n")
}

/// What makes `sentence` an item of a list, such as `- ` or `2. `, and the rest of it. The first
/// is empty in all other sentences.
pub fn part_marker(sentence: &str) -> (&str, &str) {
    sentence.split_at(marker_len(sentence))
}

/// Whether a line begins an item of a list.
fn begins_item(line: &str) -> bool {
    marker_len(line) > 0
}

/// Length in bytes of the bullet, or the number with its stop or bracket, that begins
/// an item of a list; 0 if there is none.
fn marker_len(line: &str) -> usize {
    if let Some(bullet) = BULLETS.iter().find(|bullet| line.starts_with(**bullet)) {
        return bullet.len();
    }
    let after_number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = line.len() - after_number.len();
    let numbered = after_number.starts_with(". ") || after_number.starts_with(") ");
    // A year may begin a line too, but hardly an item.
    if numbered && (1..=3).contains(&digits) { digits + 2 } else { 0 }
}

/// The sentences of one paragraph or item; an item's marker stays with the first.
fn sentences(paragraph: &str, language: &str) -> Vec<String> {
    let (marker, text) = part_marker(paragraph);
    let mut sentences: Vec<String> = sentencex::segment(language, text)
        .into_iter()
        .map(str::trim)
        .filter(|sentence| !sentence.is_empty())
        .map(str::to_owned)
        .collect();
    if let Some(first) = sentences.first_mut() {
        first.insert_str(0, marker);
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn english(text: &str) -> Vec<String> {
        paragraphs(text, "en").concat()
    }

    fn french(text: &str) -> Vec<String> {
        paragraphs(text, "fr").concat()
    }

    #[test]
    fn abbreviations_and_initials_do_not_end_a_sentence() {
        assert_eq!(
            english("Dr. James T. Kirk left. He saw Mr. Spock, e.g. on Monday. So it goes."),
            ["Dr. James T. Kirk left.", "He saw Mr. Spock, e.g. on Monday.", "So it goes."]
        );
        assert_eq!(
            english("The U.S. Army came at 5 p.m. yesterday. Nobody saw it."),
            ["The U.S. Army came at 5 p.m. yesterday.", "Nobody saw it."]
        );
    }

    #[test]
    fn numbers_keep_their_stops() {
        assert_eq!(
            english("Pi is 3.14. Version 1.2.3 costs $4.50! Is that all?"),
            ["Pi is 3.14.", "Version 1.2.3 costs $4.50!", "Is that all?"]
        );
    }

    #[test]
    fn a_quotation_stays_with_the_words_that_introduce_it() {
        assert_eq!(
            english("\"Where are you?\" she asked. \"Here!\" He laughed."),
            ["\"Where are you?\" she asked.", "\"Here!\"", "He laughed."]
        );
        assert_eq!(
            english("He said, “I left. It was late.” Then he slept."),
            ["He said, “I left. It was late.”", "Then he slept."]
        );
    }

    #[test]
    fn an_ellipsis_ends_a_sentence_only_before_a_capital() {
        assert_eq!(
            english("Well... maybe not. We waited... Then it came. Wait… what?"),
            ["Well... maybe not.", "We waited...", "Then it came.", "Wait… what?"]
        );
    }

    #[test]
    fn french_marks_stay_with_their_sentence_whatever_space_is_before_them() {
        assert_eq!(
            french(
                "Comment ça va ? Très bien\u{202f}! Il dit\u{a0}: « Où est M. Dupont ? » Puis il partit."
            ),
            [
                "Comment ça va ?",
                "Très bien\u{202f}!",
                "Il dit\u{a0}: « Où est M. Dupont ? »",
                "Puis il partit."
            ]
        );
    }

    #[test]
    fn portuguese_titles_do_not_end_a_sentence() {
        assert_eq!(
            paragraphs("O Sr. Silva saiu. A Dra. Ana ficou.", "pt-BR").concat(),
            ["O Sr. Silva saiu.", "A Dra. Ana ficou."]
        );
    }

    #[test]
    fn blank_lines_part_paragraphs_and_single_line_ends_do_not() {
        let text = "\r\nOne and\r\nhalf. Two.\r\n \t\r\n\r\nThree.\n\n\nFour";
        assert_eq!(
            paragraphs(text, "en"),
            [vec!["One and half.", "Two."], vec!["Three."], vec!["Four"]]
        );
    }

    #[test]
    fn each_item_of_a_list_is_a_sentence() {
        assert_eq!(
            english("You need:\n- a box\n- a lid\n  that fits\n1. Open it.\n2. Close it."),
            ["You need:", "- a box", "- a lid that fits", "1. Open it.", "2. Close it."]
        );
    }

    #[test]
    fn joining_gives_back_the_structure() {
        let text =
            "One. Two?\n\nThree!\n\nYou need:\n- a box. A big one.\n- a lid\n1. Open it.\n\nFour.";
        let parted = paragraphs(text, "en");
        assert_eq!(join(&parted), text);
        assert_eq!(paragraphs(&join(&parted), "en"), parted);
    }

    #[test]
    fn a_marker_is_parted_from_its_item_alone() {
        assert_eq!(part_marker("- a box"), ("- ", "a box"));
        assert_eq!(part_marker("12) Open it."), ("12) ", "Open it."));
        assert_eq!(part_marker("2024. A year."), ("", "2024. A year."));
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(paragraphs("", "en").is_empty());
        assert!(paragraphs(" \n\n \u{a0}\n", "en").is_empty());
    }

    #[test]
    fn an_unknown_language_is_parted_by_general_rules() {
        assert_eq!(paragraphs("Eins. Zwei.", "xx").concat(), ["Eins.", "Zwei."]);
        assert_eq!(paragraphs("One. Two.", "").concat(), ["One.", "Two."]);
    }
}
