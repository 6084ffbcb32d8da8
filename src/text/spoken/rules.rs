//! Rules that turn what is written short into words.

use regex::{Captures, Regex};

/// A pattern, and what is said for it; `None` leaves it as it is.
pub type Rule = (Regex, fn(&Captures<'_>) -> Option<String>);

/// Makes a rule. Patterns are part of the program; one that does not compile is found by
/// any test that says a word of the language.
pub fn rule(pattern: &str, say: fn(&Captures<'_>) -> Option<String>) -> Rule {
    (Regex::new(pattern).expect("a pattern of this program"), say)
}

/// Applies each rule in turn.
pub fn apply(rules: &[Rule], text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, say) in rules {
        let said = pattern.replace_all(&text, |found: &Captures<'_>| {
            say(found).unwrap_or_else(|| found[0].to_owned())
        });
        if let std::borrow::Cow::Owned(said) = said {
            text = said;
        }
    }
    text
}

/// The digits of a number without what groups them.
pub fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// The group with this name, if it took part.
pub fn group<'a>(found: &'a Captures<'_>, name: &str) -> Option<&'a str> {
    found.name(name).map(|group| group.as_str())
}

/// A web or mail address said sign by sign: `words` names `.`, `/`, `-`, `_` and `@`.
pub fn address(text: &str, words: &[(char, &str)]) -> String {
    let text = text.trim_start_matches("https://").trim_start_matches("http://");
    let text = text.trim_start_matches("www.");
    // What follows a question mark was never meant to be said.
    let text = text.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let mut said = String::new();
    for c in text.chars() {
        match words.iter().find(|(sign, _)| *sign == c) {
            Some((_, word)) => {
                said.push(' ');
                said.push_str(word);
                said.push(' ');
            }
            None => said.push(c),
        }
    }
    said
}

/// An alternation of the names in `table`, the longest first, each fit for a pattern.
pub fn any_of<T>(table: &[T], name: impl Fn(&T) -> &str) -> String {
    let mut names: Vec<&str> = table.iter().map(name).collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    names.iter().map(|name| regex::escape(name)).collect::<Vec<_>>().join("|")
}
