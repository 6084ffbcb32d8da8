//! Rules that turn what is written short into words.

use regex::{Captures, Regex};

use super::numbers::Speller;

/// What is said for a match; `None` leaves it as it is.
type Say = Box<dyn Fn(&Captures<'_>) -> Option<String> + Send + Sync>;

/// A pattern, and what is said for it.
pub type Rule = (Regex, Say);

/// What is written, and what is said for it.
pub type Table = &'static [(&'static str, &'static str)];

/// Makes a rule. Patterns are part of the program; one that does not compile is found by
/// any test that says a word of the language.
pub fn rule(
    pattern: &str,
    say: impl Fn(&Captures<'_>) -> Option<String> + Send + Sync + 'static,
) -> Rule {
    (Regex::new(pattern).expect("a pattern of this program"), Box::new(say))
}

/// Versions and addresses of machines: `v1.2`, `1.2.3`.
pub fn versions(speller: Speller) -> [Rule; 2] {
    let dotted = move |text: &str| {
        text.split('.').map(|part| speller.cardinal(part)).collect::<Vec<_>>().join(" point ")
    };
    [
        rule(r"\b[vV](?P<version>\d+(?:\.\d+)+)\b", move |it| {
            Some(format!("version {}", dotted(&it["version"])))
        }),
        rule(r"\b\d+(?:\.\d+){2,}\b", move |it| Some(dotted(&it[0]))),
    ]
}

/// Short words that stand for others only before a number: `p. 12`.
pub fn before_numbers(table: Table) -> Rule {
    let words = any_of(table, |it| it.0);
    let pattern = format!(r"(?P<before>^|[^\w])(?P<short>{words})\s?(?P<number>\d)");
    rule(&pattern, move |it| {
        let said = full(table, &it["short"])?;
        Some(format!("{}{said} {}", &it["before"], &it["number"]))
    })
}

/// Short words that stand for others anywhere. `open` and `close` are the marks that may stand
/// beside them.
pub fn short_words(table: Table, open: &str, close: &str) -> Rule {
    let words = any_of(table, |it| it.0);
    let pattern = format!(r"(?P<before>^|[\s{open}])(?P<short>{words})(?P<after>$|[\s{close}])");
    rule(&pattern, move |it| {
        let said = full(table, &it["short"])?;
        // At the end its stop was the sentence's as well.
        let stop = if it["after"].is_empty() && it["short"].ends_with('.') { "." } else { "" };
        Some(format!("{}{said}{stop}{}", &it["before"], &it["after"]))
    })
}

/// Signs: those of `table` that stand alone, `and` between letters, `about` before a word, and
/// the slash between words, which is not said.
pub fn signs(table: Table, and: &'static str, about: &'static str) -> [Rule; 4] {
    let alone = format!(r"(?P<before>^| )(?P<sign>{})(?P<after> )", any_of(table, |it| it.0));
    [
        rule(&alone, move |it| {
            Some(format!("{}{}{}", &it["before"], full(table, &it["sign"])?, &it["after"]))
        }),
        rule(r"(?P<before>\w)&(?P<after>\w)", move |it| {
            Some(format!("{} {and} {}", &it["before"], &it["after"]))
        }),
        rule(r"~(?P<word>\w)", move |it| Some(format!("{about} {}", &it["word"]))),
        rule(r"(?P<before>\p{L})/(?P<after>\p{L})", |it| {
            Some(format!("{} {}", &it["before"], &it["after"]))
        }),
    ]
}

/// What is counted each second, minute or hour: `25 images/s`. `per` stands between what is counted
/// and the time, which `one_of` names.
pub fn each_time(per: &'static str, one_of: fn(&str) -> &str) -> Rule {
    rule(r"(?P<number>\d\s)(?P<what>\p{L}{3,})/(?P<time>s|min|h)\b", move |it| {
        Some(format!("{}{} {per} {}", &it["number"], &it["what"], one_of(&it["time"])))
    })
}

/// A number in the groups `sign`, `whole` and `decimals`.
pub fn number(speller: Speller, found: &Captures<'_>) -> String {
    let negative = group(found, "sign").is_some();
    speller.number(negative, &digits(&found["whole"]), group(found, "decimals"))
}

fn full(table: Table, short: &str) -> Option<&'static str> {
    table.iter().find(|(written, _)| *written == short).map(|(_, said)| *said)
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
