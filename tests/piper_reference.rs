//! Promise: a Piper voice reads the numbers that piper-tts gives it, and sounds the same.
//!
//! tests/golden/piper.json and piper.wav are made by make_piper_golden.py.

mod support;

use std::path::Path;

use mega_pipeline::audio;
use mega_pipeline::engine::piper::Piper;
use mega_pipeline::engine::{Cancel, Voice};
use serde::Deserialize;
use support::{hardware, model_file};

const MODEL: &str = "piper-en_US-joe-medium";

#[derive(Deserialize)]
struct Golden {
    spoken: String,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    text: String,
    tokens: Vec<i64>,
}

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/piper.json");
    let json = std::fs::read(path).expect("piper.json is committed");
    serde_json::from_slice(&json).expect("piper.json is what the script writes")
}

#[test]
fn sentences_become_the_tokens_of_the_reference() {
    let piper = support::voices::piper();
    let sentences = golden().sentences;
    assert!(sentences.len() > 90);
    let mut other = Vec::new();
    for Sentence { text, tokens } in sentences {
        let made = piper.tokens(&text).expect("tokens");
        if made != tokens {
            other.push(format!("{text}\n{made:?}\n{tokens:?}"));
        }
    }
    assert_eq!(other, [""; 0]);
}

#[test]
fn without_noise_the_voice_sounds_as_in_the_reference() {
    support::start_speech();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let published = model_file(MODEL, "en_US-joe-medium.onnx.json");
    let json = std::fs::read(published).expect("a configuration");
    let mut config: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    config["inference"]["noise_scale"] = 0.0.into();
    config["inference"]["noise_w"] = 0.0.into();
    let quiet = dir.path().join("quiet.json");
    std::fs::write(&quiet, config.to_string()).expect("a file");
    let network = model_file(MODEL, "en_US-joe-medium.onnx");
    let mut piper = Piper::load(&network, &quiet, None, &hardware()).expect("the voice loads");
    let said = piper.say(&golden().spoken, 1.0, &Cancel::default()).expect("speech");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/piper.wav");
    let reference = audio::read_wav(&path).expect("a recording");
    assert_eq!(reference.sample_rate, piper.sample_rate());
    let alike = support::sound::correlation(&said, &reference.samples, 14_000);
    assert!(alike > 0.99, "{alike}");
}
