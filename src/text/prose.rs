//! Making a language model's answer fit to be read aloud.
//!
//! Used by `stage::generate_text`, once, on the whole answer.

/// Signs that a whole sentence ends with; closing quotation marks and brackets may follow.
const ENDINGS: [char; 4] = ['.', '!', '?', '…'];
const CLOSERS: [char; 6] = ['"', '\'', '”', '’', ')', '»'];

/// A line of at most so many words that ends in a colon names what follows; nobody would say it.
const LABEL_WORDS: usize = 4;

/// Plain paragraphs from what the model wrote: markdown signs, code fences and a pair of
/// quotation marks around everything are gone, lines of one paragraph are joined, paragraphs are
/// parted by one blank line. Where the text stops in the middle of a sentence, it is cut back to
/// the last whole one; a text without any whole sentence is kept as it is.
#[must_use]
pub fn tidy(answer: &str) -> String {
    let mut paragraphs: Vec<String> = Vec::new();
    let mut in_code = false;
    let mut open = false;
    for line in answer.lines() {
        let line = line.trim();
        if line.starts_with("```") {
            in_code = !in_code;
            open = false;
            continue;
        }
        let plain = plain_line(line);
        if in_code || plain.is_empty() {
            open = false;
            continue;
        }
        match paragraphs.last_mut().filter(|_| open) {
            Some(paragraph) => {
                paragraph.push(' ');
                paragraph.push_str(&plain);
            }
            None => paragraphs.push(plain),
        }
        open = true;
    }
    let text = paragraphs.join("\n\n");
    whole_sentences(unquoted(&text)).trim().to_owned()
}

/// A line without markdown: heading and list signs before it, emphasis and code signs in it.
/// Nothing is left of a rule, nor of a label such as `Opening:`.
fn plain_line(line: &str) -> String {
    let line = line.trim_start_matches(['#', '>', ' ']);
    let line = ["- ", "* ", "• "].iter().find_map(|sign| line.strip_prefix(sign)).unwrap_or(line);
    let number = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let line = if (1..=2).contains(&number) {
        line[number..].strip_prefix(". ").unwrap_or(line)
    } else {
        line
    };
    if line.chars().all(|c| matches!(c, '-' | '*' | '_' | '=' | ' ')) {
        return String::new();
    }
    let plain = line.replace("**", "").replace("__", "").replace(['`', '*'], "").trim().to_owned();
    let label = plain.ends_with(':') && plain.split_whitespace().count() <= LABEL_WORDS;
    if label { String::new() } else { plain }
}

/// The text without quotation marks around the whole of it.
fn unquoted(text: &str) -> &str {
    [('"', '"'), ('“', '”')]
        .into_iter()
        .find_map(|(open, close)| {
            let inner = text.strip_prefix(open)?.strip_suffix(close)?;
            (!inner.contains([open, close])).then_some(inner)
        })
        .unwrap_or(text)
}

/// The text up to the end of its last whole sentence.
fn whole_sentences(text: &str) -> &str {
    let mut end = None;
    let mut ended = false;
    for (at, c) in text.char_indices() {
        // A full stop ends a sentence when space follows: not the one in 3.5 or example.org.
        if c.is_whitespace() && ended {
            end = Some(at);
        }
        ended = ENDINGS.contains(&c) || (ended && CLOSERS.contains(&c));
    }
    if ended {
        return text;
    }
    end.map_or(text, |end| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paragraphs_stay_as_they_are() {
        let text = "Ships carry boxes. It's \"easy\".\n\nIs version 3.5 out? (Yes.)";
        assert_eq!(tidy(text), text);
    }

    #[test]
    fn half_a_sentence_at_the_end_is_cut() {
        assert_eq!(tidy("One is done. Two is on ex"), "One is done.");
        assert_eq!(tidy("He said \"stop.\" Then he"), "He said \"stop.\"");
        assert_eq!(tidy("It costs 3.5 euros. See example.org for mo"), "It costs 3.5 euros.");
        assert_eq!(tidy("Done!\n\nA new paragraph that never"), "Done!");
    }

    #[test]
    fn a_text_without_a_whole_sentence_is_kept() {
        assert_eq!(tidy("just a few words"), "just a few words");
        assert_eq!(tidy(""), "");
    }

    #[test]
    fn markdown_is_taken_away_and_its_words_are_kept() {
        let text =
            "# Title.\n\n- **First** point.\n- Second `point`.\n\n1. Third *one*.\n---\n> Quoted.";
        assert_eq!(tidy(text), "Title.\n\nFirst point. Second point.\n\nThird one.\n\nQuoted.");
    }

    #[test]
    fn labels_between_paragraphs_are_dropped_and_spoken_colons_are_kept() {
        let text = "**Opening:**\n\nHello.\n\nClosing:\n\nHere is what I think about that:\nbye.";
        assert_eq!(tidy(text), "Hello.\n\nHere is what I think about that: bye.");
    }

    #[test]
    fn code_blocks_are_dropped() {
        assert_eq!(tidy("Before.\n```rust\nfn main() {}\n```\nAfter."), "Before.\n\nAfter.");
    }

    #[test]
    fn numbers_at_the_start_of_a_sentence_are_no_list() {
        assert_eq!(tidy("1984. A book.\n\n3 of them."), "1984. A book.\n\n3 of them.");
    }

    #[test]
    fn quotation_marks_around_everything_are_taken_away() {
        assert_eq!(tidy("\"All of it.\""), "All of it.");
        assert_eq!(tidy("\"One,\" he said, \"two.\""), "\"One,\" he said, \"two.\"");
    }
}
