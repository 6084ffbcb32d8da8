//! Cuts a sentence that is too long for a translation model into stretches.
//!
//! Called by the translators in `engine`. A model has a window of so many
//! tokens; what lies beyond would be dropped without a word.

/// Cuts `text` into stretches of at most `limit` tokens, none of them blank.
///
/// A text without a letter or digit has none: a model made of words turns a
/// smiley or a row of dots into something else.
///
/// `count` says how many tokens a piece of text has. A text that fits comes back
/// whole. Otherwise cuts fall after a comma, semicolon, colon or full stop where
/// one stands in the second half of a window, else between words; only a single
/// word beyond `limit` is cut inside. Words are counted one by one, so that the
/// work grows with the length and not with its square.
pub fn windows(text: &str, limit: usize, count: impl Fn(&str) -> usize) -> Vec<&str> {
    let limit = limit.max(1);
    if !text.chars().any(char::is_alphanumeric) {
        return Vec::new();
    }
    if count(text) <= limit {
        return vec![text.trim()];
    }
    let mut words = Vec::new();
    for word in text.split_inclusive(char::is_whitespace) {
        push_word(word, limit, &count, &mut words);
    }

    let mut cuts = Vec::new();
    let mut first = 0;
    while first < words.len() {
        let mut tokens = 0;
        let mut end = first;
        let mut clause_end = None;
        while let Some((word, word_tokens)) = words.get(end) {
            if tokens + word_tokens > limit && end > first {
                break;
            }
            tokens += word_tokens;
            end += 1;
            if tokens > limit / 2 && word.trim_end().ends_with([',', ';', ':', '.', '!', '?']) {
                clause_end = Some(end);
            }
        }
        if end < words.len() {
            end = clause_end.unwrap_or(end);
        }
        cuts.push(words[first..end].iter().map(|(word, _)| word.len()).sum::<usize>());
        first = end;
    }

    let mut rest = text;
    cuts.into_iter()
        .map(|bytes| {
            let (stretch, after) = rest.split_at(bytes);
            rest = after;
            stretch.trim()
        })
        .filter(|stretch| !stretch.is_empty())
        .collect()
}

/// Appends `word` with its number of tokens, halved until each part fits.
fn push_word<'a>(
    word: &'a str,
    limit: usize,
    count: &impl Fn(&str) -> usize,
    words: &mut Vec<(&'a str, usize)>,
) {
    let tokens = count(word);
    let middle = word.char_indices().nth(word.chars().count() / 2).map_or(0, |(byte, _)| byte);
    if tokens <= limit || middle == 0 {
        words.push((word, tokens));
        return;
    }
    let (left, right) = word.split_at(middle);
    push_word(left, limit, count, words);
    push_word(right, limit, count, words);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One token a letter, which is what an unknown script costs.
    fn letters(text: &str) -> usize {
        text.chars().filter(|letter| !letter.is_whitespace()).count()
    }

    #[test]
    fn a_text_that_fits_comes_back_whole() {
        assert_eq!(windows(" one two ", 6, letters), ["one two"]);
    }

    #[test]
    fn a_text_without_words_has_no_windows() {
        for text in ["", " \n\t", "... --- ?!", "🙂", "\u{1}\u{200b}"] {
            assert!(windows(text, 6, letters).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_after_a_comma_rather_than_between_words() {
        let cut = windows("one two, three four", 11, letters);
        assert_eq!(cut, ["one two,", "three four"]);
    }

    #[test]
    fn without_punctuation_the_cut_falls_between_words() {
        assert_eq!(windows("one two three", 7, letters), ["one two", "three"]);
    }

    #[test]
    fn a_word_beyond_the_window_is_cut_inside_and_no_letter_is_lost() {
        let word = "é".repeat(1000);
        let cut = windows(&word, 127, letters);
        assert!(cut.iter().all(|stretch| letters(stretch) <= 127));
        assert_eq!(cut.concat(), word);
    }

    #[test]
    fn no_word_is_lost_or_moved_by_the_cuts() {
        let text = "a bb, ccc dddd; eeeee ffffff: ggggggg ".repeat(40);
        let cut = windows(&text, 30, letters);
        assert!(cut.iter().all(|stretch| letters(stretch) <= 30));
        let again: Vec<_> = cut.iter().flat_map(|stretch| stretch.split_whitespace()).collect();
        assert_eq!(again, text.split_whitespace().collect::<Vec<_>>());
    }
}
