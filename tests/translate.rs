//! Promise: Firefox's English-Portuguese model translates well, and whatever
//! text it is given, one translation comes back for each sentence.

mod support;

use std::path::Path;
use std::sync::Mutex;

use mega_pipeline::engine::firefox::Firefox;
use mega_pipeline::engine::marian::Marian;
use mega_pipeline::engine::{Cancel, Control, EngineError, Progress, Translator};
use mega_pipeline::stage::{Artifact, StageKind};
use mega_pipeline::text::sentences;

use crate::support::stages::Stages;
use crate::support::{hardware, model_file};

const MODEL: &str = "firefox-en-pt";

/// English, and what the model made of it on 2026-11-26, when it was read and found good but for
/// `half past eight`, `such a` and `called me`: the sentences of benches/quality/en-pt.tsv.
const GOLDEN: &str = include_str!("golden/firefox_en_pt.tsv");

fn golden() -> Vec<(&'static str, &'static str)> {
    GOLDEN.lines().map(|line| line.split_once('\t').expect("two columns")).collect()
}

/// Paragraphs, lists, quotations and abbreviations; some 100 words.
const PIECE: &str = "\
Dr. James T. Kirk arrived at 5 p.m. on Monday. He had three things to do, e.g. to call the U.S. \
embassy, and he had little time.

You need:
- a box that is 3.14 meters long
- two lids, i.e. one for each side
1. Open the box.
2. Put everything in, close both lids, etc. Do not forget the keys!

\"Where have you been?\" she asked. \"I waited for an hour... and nobody came.\" He said nothing.


Version 2.1 of the program was released on March 14, 2024. It costs $4.50 a month (or $45 a year), \
which is not much. Is it worth it? Mr. Smith thinks so; Mrs. Jones does not.
";

fn firefox() -> Firefox {
    let vocab = model_file(MODEL, "vocab.enpt.spm");
    let shortlist = model_file(MODEL, "lex.50.50.enpt.s2t.bin");
    let model = model_file(MODEL, "model.enpt.intgemm.alphas.bin");
    Firefox::load(&model, &vocab, &vocab, Some(&shortlist), &hardware()).expect("the model loads")
}

fn translate(firefox: &mut Firefox, sentences: &[&str]) -> Vec<String> {
    let sentences: Vec<String> = sentences.iter().map(ToString::to_string).collect();
    let control = Control { cancel: &Cancel::default(), progress: &|_| {} };
    firefox.translate(&sentences, &control).expect("a translation")
}

#[test]
fn fifty_sentences_are_translated_as_they_were_when_checked() {
    let (english, portuguese): (Vec<_>, Vec<_>) = golden().into_iter().unzip();
    assert_eq!(english.len(), 50);
    assert_eq!(translate(&mut firefox(), &english), portuguese);
}

/// A text of 1,500 words comes back with the same paragraphs, items and sentences.
fn keeps_the_structure(translator: &mut dyn Translator) {
    let text = [PIECE; 16].join("\n");
    assert!(text.split_whitespace().count() > 1_500);
    let paragraphs = sentences::paragraphs(&text, "en");
    let flat: Vec<String> = paragraphs.iter().flatten().cloned().collect();
    assert_eq!(flat.len(), 16 * 15, "{:#?}", &flat[..20]);
    let control = Control { cancel: &Cancel::default(), progress: &|_| {} };
    let translated = translator.translate(&flat, &control).expect("a translation");
    assert_eq!(translated.len(), flat.len());
    assert!(translated.iter().all(|sentence| !sentence.trim().is_empty()));
    // What the same sentence becomes does not depend on where it stands.
    assert_eq!(translated[..15], translated[15 * 15..]);
    let mut rest = translated.into_iter();
    let made: Vec<Vec<String>> =
        paragraphs.iter().map(|it| rest.by_ref().take(it.len()).collect()).collect();
    assert_eq!(sentences::join(&made).split("\n\n").count(), paragraphs.len());
}

#[test]
fn a_long_text_keeps_its_paragraphs_lists_and_sentences_in_firefox() {
    let mut firefox = firefox();
    keeps_the_structure(&mut firefox);
    let list = ["- a box that is long", "1. Open the box."];
    let translated = translate(&mut firefox, &list);
    assert!(translated[0].starts_with("- ") && translated[1].starts_with("1. "), "{translated:?}");
}

#[test]
fn a_long_text_keeps_its_paragraphs_lists_and_sentences_in_marian() {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/marian-tiny");
    keeps_the_structure(&mut Marian::load(&tiny, &hardware()).expect("the fixture loads"));
}

#[test]
fn the_stage_gives_back_paragraphs_and_lists() {
    let english = "You need:\n- a box. A big one.\n- two lids\n1. Open the box.\n\nThat is all.";
    let Artifact::Text(text) = Stages::new("pt").run(StageKind::TranslateText, english) else {
        panic!("a translation is a text");
    };
    println!("{text}");
    let begin = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.chars().take(2).collect()).collect()
    };
    let lines = begin(&text);
    assert_eq!(lines.len(), 6, "{text}");
    assert_eq!(lines[1..5], begin(english)[1..5], "{text}");
    assert_eq!(text.matches('.').count(), english.matches('.').count(), "{text}");
}

#[test]
fn a_sentence_is_translated_alike_alone_and_beside_others() {
    let mut firefox = firefox();
    let english: Vec<_> = golden().into_iter().map(|(english, _)| english).collect();
    let together = translate(&mut firefox, &english);
    let alone: Vec<_> =
        english.iter().flat_map(|sentence| translate(&mut firefox, &[sentence])).collect();
    assert_eq!(together, alone);
}

#[test]
fn a_paragraph_comes_back_sentence_by_sentence_and_blank_ones_as_they_were() {
    let sentences = [
        "Containers changed how software is shipped.",
        "",
        "  ",
        "They start in a second, and they hold all that a program needs.",
        "\n",
    ];
    let translated = translate(&mut firefox(), &sentences);
    assert_eq!(translated.len(), sentences.len());
    for blank in [1, 2, 4] {
        assert_eq!(translated[blank], sentences[blank]);
    }
    for full in [0, 3] {
        assert!(translated[full].split_whitespace().count() >= 4, "{:?}", translated[full]);
        assert_ne!(translated[full], sentences[full]);
    }
}

#[test]
fn a_sentence_longer_than_the_window_keeps_its_end() {
    let mut long =
        "we packed the boxes, loaded the cars, and drove through the valley; ".repeat(20);
    long.push_str("finally we reached the yellow lighthouse.");
    let translated = translate(&mut firefox(), &[&long]).remove(0);
    assert!(translated.contains("farol"), "{translated}");
    let words = translated.split_whitespace().count();
    assert!(words > 150, "{words} words: {translated}");
}

#[test]
fn odd_texts_neither_stop_the_engine_nor_lose_their_place() {
    let unbroken = "a".repeat(2_000);
    let accents = "e\u{301}".repeat(700);
    let odd = [
        "🙂",
        "I am happy 🙂🎉👩‍👩‍👧 today.",
        &unbroken,
        &accents,
        "...!?;:---",
        "\u{1}\u{2}\u{7f}\u{0}",
        "Line\u{0}with\u{8}controls",
        "مرحبا بالعالم، كيف حالك؟",
        "\u{202e}right to left\u{202c}",
        "日本語のテキスト",
        "\u{feff}\u{200b}\u{200d}",
        "\u{fffd}\u{10ffff}",
        "▁▁ </s> <unk> <s>",
        "The end.",
    ];
    let mut firefox = firefox();
    let translated = translate(&mut firefox, &odd);
    assert_eq!(translated.len(), odd.len());
    for wordless in [0, 4, 5, 10] {
        assert_eq!(translated[wordless], odd[wordless]);
    }
    assert_eq!(translated[13], "O fim.");
    assert_eq!(translate(&mut firefox, &[golden()[0].0]), [golden()[0].1]);
}

#[test]
fn a_canceled_translation_stops_after_the_batch_it_is_in() {
    let sentences = vec![golden()[1].0.to_owned(); 200];
    let cancel = Cancel::default();
    let seen = Mutex::new(Vec::new());
    let progress = |progress| {
        cancel.cancel();
        seen.lock().expect("no test panics while it holds this").push(progress);
    };
    let result = firefox().translate(&sentences, &Control { cancel: &cancel, progress: &progress });
    assert!(matches!(result, Err(EngineError::Canceled)), "{result:?}");
    let seen = seen.into_inner().expect("as above");
    assert!(matches!(seen[..], [Progress::Fraction { done: 1..=50, total: 200 }]), "{seen:?}");
}

#[test]
fn progress_ends_with_every_sentence_done() {
    let sentences = vec![golden()[1].0.to_owned(); 40];
    let seen = Mutex::new(Vec::new());
    let progress = |progress| seen.lock().expect("never poisoned").push(progress);
    let control = Control { cancel: &Cancel::default(), progress: &progress };
    firefox().translate(&sentences, &control).expect("a translation");
    let seen = seen.into_inner().expect("never poisoned");
    assert_eq!(seen.last(), Some(&Progress::Fraction { done: 40, total: 40 }));
}

#[test]
fn a_missing_file_is_named() {
    let vocab = model_file(MODEL, "vocab.enpt.spm");
    let model = model_file(MODEL, "model.enpt.intgemm.alphas.bin");
    let nowhere = Path::new("/nowhere/model.bin");
    for result in [
        Firefox::load(nowhere, &vocab, &vocab, None, &hardware()),
        Firefox::load(&model, nowhere, &vocab, None, &hardware()),
        Firefox::load(&model, &vocab, nowhere, None, &hardware()),
        Firefox::load(&model, &vocab, &vocab, Some(nowhere), &hardware()),
    ] {
        match result.err() {
            Some(EngineError::Missing { path, .. }) => assert_eq!(path, nowhere),
            other => panic!("expected Missing, got {other:?}"),
        }
    }
}

#[test]
fn a_damaged_file_is_an_error_and_not_a_crash() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let vocab = model_file(MODEL, "vocab.enpt.spm");
    let model = model_file(MODEL, "model.enpt.intgemm.alphas.bin");
    let shortlist = model_file(MODEL, "lex.50.50.enpt.s2t.bin");
    let damaged = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file is written");
        path
    };
    let half = |path: &Path| {
        let bytes = std::fs::read(path).expect("the model is readable");
        bytes[..bytes.len() / 2].to_vec()
    };
    let noise: Vec<u8> = (0..5_000_u32).map(|number| ((number * 7919) >> 3) as u8).collect();
    let models = [damaged("empty", b""), damaged("noise", &noise), damaged("half", &half(&model))];
    for bad in &models {
        let result = Firefox::load(bad, &vocab, &vocab, Some(&shortlist), &hardware());
        assert!(matches!(result.err(), Some(EngineError::Load { .. })), "{}", bad.display());
    }
    for bad in [&models[0], &models[1], &damaged("half vocabulary", &half(&vocab))] {
        let result = Firefox::load(&model, bad, &vocab, None, &hardware());
        assert!(matches!(result.err(), Some(EngineError::Load { .. })), "{}", bad.display());
    }
    for bad in [&models[0], &models[1], &damaged("half list", &half(&shortlist)), &model] {
        let result = Firefox::load(&model, &vocab, &vocab, Some(bad), &hardware());
        assert!(matches!(result.err(), Some(EngineError::Load { .. })), "{}", bad.display());
    }
}
