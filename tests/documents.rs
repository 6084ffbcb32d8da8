//! Promise: commands in the documents are ones that the program knows, scripts that they name are
//! there, and links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use mega_pipeline::cli::Cli;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document, with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> = ["", "docs", "models"]
        .iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|it| it == "md"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a text");
            (path, text)
        })
        .collect()
}

/// Lines of the blocks that are for a shell, those that go on in the next one put together.
fn shell_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let (mut inside, mut goes_on) = (false, false);
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            let (line, more) = line.strip_suffix('\\').map_or((line, false), |line| (line, true));
            match lines.last_mut().filter(|_| goes_on) {
                Some(last) => last.push_str(line),
                None => lines.push(line.to_owned()),
            }
            goes_on = more;
        }
    }
    lines
}

/// What stands between backticks in one line, if it is a script, or a call of the program that can
/// be made as it stands.
fn spans(text: &str) -> Vec<String> {
    let spans = text.split('`').skip(1).step_by(2);
    spans
        .filter(|span| {
            let whole = !span.contains(|c: char| c.is_ascii_uppercase() || "…[".contains(c));
            let script = span.starts_with("script/") || span.starts_with("benches/");
            script || whole && span.starts_with("mega-pipeline ")
        })
        .map(str::to_owned)
        .collect()
}

/// Words as a shell parts them, without what comes after `#`, and without settings before them.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut quote, mut in_word) = (None, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => (quote, in_word) = (Some(c), push(&mut words, in_word, None)),
            (None, '#') if !in_word => break,
            (None, ' ') => in_word = false,
            _ => in_word = push(&mut words, in_word, Some(c)),
        }
    }
    let is_setting = |word: &String| {
        let name = word.split_once('=').map_or("", |(name, _)| name);
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
    };
    words.into_iter().skip_while(is_setting).collect()
}

fn push(words: &mut Vec<String>, in_word: bool, c: Option<char>) -> bool {
    if !in_word {
        words.push(String::new());
    }
    if let Some(last) = words.last_mut() {
        last.extend(c);
    }
    true
}

#[test]
fn every_command_is_one_that_the_program_or_the_repository_has() {
    let mut commands = 0;
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        for line in shell_lines(&text).into_iter().chain(text.lines().flat_map(spans)) {
            let words = words(&line);
            let Some(first) = words.first() else { continue };
            if first == "mega-pipeline" || first.ends_with("/mega-pipeline") {
                commands += 1;
                if let Err(error) = Cli::try_parse_from(&words) {
                    wrong.push(format!("{}: {line}: {error}", path.display()));
                }
            } else if first.starts_with("script/") || first.starts_with("benches/") {
                commands += 1;
                if !root().join(first).exists() {
                    wrong.push(format!("{}: {line}: there is no such file", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(commands > 40, "{commands} commands were found");
}

/// The names under which the headings of a text can be linked to.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut links = 0;
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            links += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => path.clone(),
                file => path.parent().expect("a folder").join(file),
            };
            let there = match heading {
                "" => file.exists(),
                heading => {
                    fs::read_to_string(&file).is_ok_and(|text| anchors(&text).contains(heading))
                }
            };
            if !there {
                wrong.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(links > 60, "{links} links were found");
}
