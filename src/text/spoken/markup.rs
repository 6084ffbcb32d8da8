//! What is on a page but not in speech: Markdown, emoji, control characters.

use std::sync::LazyLock;

use regex::Regex;

/// Links become their text; signs of Markdown and tags go.
static MARKDOWN: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"!?\[([^\]]*)\]\([^)\s]*\)", "$1"),
        (r"</?[A-Za-z][^<>]*>", " "),
        (r"```\w*|`", ""),
        (r"\*\*|__|~~", ""),
        (r"(^|\s)[*_]([^\s*_][^*_]*)[*_]", "$1$2"),
        (r"^\s*(?:#{1,6}|>|[-*+•])\s+", ""),
        (r"\s*\|\s*", ", "),
    ]
    .into_iter()
    .map(|(pattern, said)| (Regex::new(pattern).expect("a pattern of this program"), said))
    .collect()
});

/// `text` without what nobody says.
pub fn plain(text: &str) -> String {
    let mut after_pictograph = false;
    let mut text: String = text
        .chars()
        .filter(|&c| {
            // The joiner glues emoji together; in some scripts it also shapes letters.
            after_pictograph = is_pictograph(c) || (after_pictograph && c == JOINER);
            !after_pictograph
        })
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    for (pattern, said) in MARKDOWN.iter() {
        if let std::borrow::Cow::Owned(changed) = pattern.replace_all(&text, *said) {
            text = changed;
        }
    }
    text
}

const JOINER: char = '\u{200D}';

/// Emoji, dingbats and what changes their looks (blocks of Unicode 16).
const fn is_pictograph(c: char) -> bool {
    matches!(c,
        '\u{1F000}'..='\u{1FAFF}' | '\u{2600}'..='\u{27BF}' | '\u{2B00}'..='\u{2BFF}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{200B}' | '\u{20E3}' | '\u{FEFF}'
        | '\u{E0000}'..='\u{E007F}' | '©' | '®' | '™')
}
