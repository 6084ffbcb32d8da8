//! Promise: a Marian model in the layout of Helsinki-NLP computes what the
//! library transformers computes, token for token, from either weight format.
//!
//! The small model is tests/fixtures/marian-tiny, made by make_marian_tiny.py; the one in full
//! size is made here as tests/golden/make_marian_golden.py makes it. What the reference computes
//! with both is in tests/golden/marian.json.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use mega_pipeline::engine::marian::Marian;
use mega_pipeline::engine::{Cancel, Control, EngineError, Hardware, Translator};
use serde::Deserialize;
use tempfile::TempDir;

#[path = "support/marian_full.rs"]
mod full_size;

const CPU: Hardware = Hardware { threads: 1, gpu: None };
const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// What the reference made of a sentence.
#[derive(Deserialize)]
struct Expected {
    text: String,
    tokens: Vec<u32>,
    greedy: Vec<u32>,
    decoded: String,
    encoder: Option<Vec<Vec<f32>>>,
}

/// What the reference made with one of the two models.
#[derive(Deserialize)]
struct Golden {
    sources: Vec<Vec<u32>>,
    searches: Vec<Searched>,
    scores: Vec<Scored>,
}

/// The translations of a model's `sources` with the settings `search`.
#[derive(Deserialize)]
struct Searched {
    search: serde_json::Map<String, serde_json::Value>,
    found: Vec<Vec<u32>>,
}

/// Scores of every `every`th token of the vocabulary after each of the tokens `made`.
#[derive(Deserialize)]
struct Scored {
    source: Vec<u32>,
    made: Vec<u32>,
    every: usize,
    scores: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Tokenized {
    text: String,
    tokens: Vec<u32>,
}

fn golden<T: serde::de::DeserializeOwned>(part: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/marian.json");
    let json = fs::read(path).expect("marian.json is committed");
    let mut parts: HashMap<String, serde_json::Value> =
        serde_json::from_slice(&json).expect("marian.json is what the script writes");
    serde_json::from_value(parts.remove(part).expect("a part")).expect("the part's form")
}

/// Changes settings in `generation_config.json` of the model in `dir`.
fn set(dir: &Path, settings: &serde_json::Map<String, serde_json::Value>) {
    let path = dir.join("generation_config.json");
    let json = fs::read(&path).expect("a configuration");
    let mut config: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&json).expect("JSON");
    config.extend(settings.clone());
    fs::write(&path, serde_json::to_vec(&config).expect("JSON")).expect("a changed copy");
}

/// Checks the searches, alone and all sentences together.
fn searches_agree(dir: &Path, golden: &Golden) {
    let path = dir.join("generation_config.json");
    let published = fs::read(&path).expect("a configuration");
    for Searched { search, found } in &golden.searches {
        fs::write(&path, &published).expect("a copy");
        set(dir, search);
        let marian = Marian::load(dir, &CPU).expect("the model loads");
        let sources: Vec<&[u32]> = golden.sources.iter().map(Vec::as_slice).collect();
        let together = marian.generate(&sources, &Cancel::default()).expect("tokens");
        for (at, wanted) in found.iter().enumerate() {
            assert_eq!(&together[at], wanted, "sentence {at} with {search:?}");
        }
        let alone = marian.generate(&sources[..1], &Cancel::default()).expect("tokens");
        assert_eq!(alone, together[..1], "alone with {search:?}");
    }
}

fn scores_agree(dir: &Path, golden: &Golden) {
    let marian = Marian::load(dir, &CPU).expect("the model loads");
    for Scored { source, made, every, scores } in &golden.scores {
        let computed = marian.scores(source, made).expect("scores");
        assert_eq!(computed.len(), scores.len());
        for (computed, wanted) in computed.iter().zip(scores) {
            let computed: Vec<f32> = computed.iter().step_by(*every).copied().collect();
            assert_eq!(computed.len(), wanted.len());
            for (computed, wanted) in computed.iter().zip(wanted) {
                assert!((computed - wanted).abs() < 1e-4, "{computed} for {wanted}");
            }
        }
    }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/marian-tiny")
}

fn expected() -> Vec<Expected> {
    let json = fs::read(fixture().join("expected.json")).expect("expected.json is committed");
    serde_json::from_slice(&json).expect("expected.json is what the script writes")
}

/// A copy of the fixture without the files that `left_out` names.
fn copy_without(left_out: &[&str]) -> TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for file in fs::read_dir(fixture()).expect("the fixture is committed") {
        let file = file.expect("a readable folder");
        if !left_out.iter().any(|name| file.file_name() == *name) {
            fs::copy(file.path(), copy.path().join(file.file_name())).expect("a copy");
        }
    }
    copy
}

/// The fixture's model from each weight format alone.
fn both_formats() -> [Marian; 2] {
    [1, 0].map(|other| {
        let folder = copy_without(&[WEIGHTS[other]]);
        Marian::load(folder.path(), &CPU).expect("the fixture loads")
    })
}

fn translate(marian: &mut Marian, sentences: &[String]) -> Vec<String> {
    let control = Control { cancel: &Cancel::default(), progress: &|_| {} };
    marian.translate(sentences, &control).expect("a translation")
}

#[test]
fn five_hundred_texts_become_the_tokens_of_the_reference() {
    let [marian, _] = both_formats();
    let texts: Vec<Tokenized> = golden("tokens");
    assert_eq!(texts.len(), 500);
    for Tokenized { text, tokens } in texts {
        assert_eq!(marian.tokens(&text), tokens, "{text:?}");
    }
    for Expected { text, tokens, .. } in expected() {
        assert_eq!(marian.tokens(&text), tokens, "{text:?}");
    }
}

#[test]
fn scores_and_searches_are_those_of_the_reference() {
    let folder = copy_without(&[]);
    let golden: Golden = golden("tiny");
    scores_agree(folder.path(), &golden);
    searches_agree(folder.path(), &golden);
}

#[test]
fn a_model_in_full_size_computes_what_the_reference_computes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    full_size::write(folder.path());
    let golden: Golden = golden("full");
    scores_agree(folder.path(), &golden);
    searches_agree(folder.path(), &golden);
}

#[test]
fn the_encoder_computes_the_numbers_of_the_reference_from_both_formats() {
    for marian in both_formats() {
        let mut compared = 0;
        for Expected { text, tokens, encoder, .. } in expected() {
            let Some(wanted) = encoder else { continue };
            let states = marian.encoder_states(&tokens).expect("states");
            assert_eq!(states.len(), wanted.len(), "{text:?}");
            for (number, wanted) in states.iter().flatten().zip(wanted.iter().flatten()) {
                assert!((number - wanted).abs() < 1e-4, "{number} for {wanted} in {text:?}");
                compared += 1;
            }
        }
        assert!(compared > 300, "only {compared} numbers were compared");
    }
}

#[test]
fn greedy_search_makes_the_texts_of_the_reference_from_both_formats() {
    for other in WEIGHTS {
        let folder = copy_without(&[other]);
        set(folder.path(), &serde_json::Map::from_iter([("num_beams".to_owned(), 1.into())]));
        let marian = Marian::load(folder.path(), &CPU).expect("the fixture loads");
        for Expected { text, tokens, greedy, decoded, .. } in expected() {
            let made = marian.generate(&[&tokens], &Cancel::default()).expect("tokens").remove(0);
            assert_eq!(made, greedy, "{text:?}");
            assert_eq!(marian.text(&made), decoded, "{text:?}");
        }
    }
}

#[test]
fn a_sentence_is_translated_alike_whatever_came_before_it() {
    let [mut marian, _] = both_formats();
    let sentences: Vec<String> =
        expected().into_iter().map(|row| row.text).filter(|text| text.len() < 30).collect();
    let first = translate(&mut marian, &sentences);
    let mut backwards = sentences.clone();
    backwards.reverse();
    let mut second = translate(&mut marian, &backwards);
    second.reverse();
    assert_eq!(first, second);
}

#[test]
fn a_text_beyond_the_window_and_one_without_words_come_back_one_for_one() {
    let [mut marian, _] = both_formats();
    let sentences = ["word ".repeat(60), String::new(), " \n🙂".to_owned(), "x".repeat(300)];
    let translated = translate(&mut marian, &sentences);
    assert_eq!(translated.len(), 4);
    assert_eq!(translated[1..3], sentences[1..3]);
}

#[test]
fn a_canceled_translation_stops() {
    let [marian, _] = both_formats();
    let cancel = Cancel::default();
    cancel.cancel();
    let tokens = marian.tokens("A word.");
    assert!(matches!(marian.generate(&[&tokens], &cancel), Err(EngineError::Canceled)));
}

#[test]
fn a_missing_file_is_named() {
    for left_out in [&["config.json"][..], &["source.spm"], &["vocab.json"], &WEIGHTS] {
        let folder = copy_without(left_out);
        match Marian::load(folder.path(), &CPU).err() {
            Some(EngineError::Missing { path, .. }) => {
                assert_eq!(path, folder.path().join(left_out[0]));
            }
            other => panic!("without {left_out:?}: {other:?}"),
        }
    }
}

#[test]
fn a_damaged_file_is_an_error_and_not_a_crash() {
    for name in ["config.json", "source.spm", "vocab.json", WEIGHTS[0], WEIGHTS[1]] {
        let other_weights = if name == WEIGHTS[1] { WEIGHTS[0] } else { WEIGHTS[1] };
        let folder = copy_without(&[other_weights]);
        let path = folder.path().join(name);
        let bytes = fs::read(&path).expect("a copy");
        for damaged in [&bytes[..bytes.len() / 2], b"", b"\x00\xff\x10 noise"] {
            fs::write(&path, damaged).expect("a damaged copy");
            let error = Marian::load(folder.path(), &CPU).err();
            assert!(
                matches!(error, Some(EngineError::Load { .. })),
                "{name} of {} bytes: {error:?}",
                damaged.len()
            );
        }
    }
}

#[test]
fn a_network_that_would_be_computed_wrongly_is_refused() {
    for (key, value) in [
        ("normalize_before", "true"),
        ("add_final_layer_norm", "true"),
        ("share_encoder_decoder_embeddings", "false"),
        ("decoder_vocab_size", "100"),
        ("encoder_attention_heads", "3"),
        ("decoder_attention_heads", "0"),
        ("vocab_size", "10"),
    ] {
        let folder = copy_without(&[]);
        let path = folder.path().join("config.json");
        let json = fs::read_to_string(&path).expect("a copy");
        let mut config: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        config[key] = serde_json::from_str(value).expect("JSON");
        fs::write(&path, config.to_string()).expect("a changed copy");
        let error = Marian::load(folder.path(), &CPU).err();
        assert!(matches!(error, Some(EngineError::Load { .. })), "{key} = {value}: {error:?}");
    }
}
