//! How much of a text was understood.
//!
//! Used by `cli bench quality` and by tests.

use super::spoken;

/// Word errors (substitutions, insertions, deletions) in `hypothesis`, and the words of
/// `reference`; both are in `language`, a BCP 47 tag.
///
/// Case and punctuation do not count, nor, in English and French, whether a number or an
/// abbreviation is written in full.
#[must_use]
pub fn word_errors(reference: &str, hypothesis: &str, language: &str) -> (usize, usize) {
    let (reference, hypothesis) = (words(reference, language), words(hypothesis, language));
    let mut row: Vec<usize> = (0..=hypothesis.len()).collect();
    for (i, expected) in reference.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, found) in hypothesis.iter().enumerate() {
            let substituted = diagonal + usize::from(expected != found);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    (row[hypothesis.len()], reference.len())
}

fn words(text: &str, language: &str) -> Vec<String> {
    spoken::prepare(text, language)
        .to_lowercase()
        .replace('’', "'")
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_counts_once() {
        assert_eq!(word_errors("one two three", "one two three", "en"), (0, 3));
        assert_eq!(word_errors("one two three", "one too three four", "en"), (2, 3));
        assert_eq!(word_errors("one two three", "", "en"), (3, 3));
    }

    #[test]
    fn how_a_number_is_written_does_not_count() {
        assert_eq!(
            word_errors("Mr. Smith has 8 dogs!", "mister smith has eight dogs", "en"),
            (0, 5)
        );
        assert_eq!(word_errors("Il est 8 h.", "il est huit heures", "fr"), (0, 4));
    }
}
