//! Promise: a Piper voice reads the numbers that piper-tts gives it, and sounds the same; of
//! several speakers the one that is asked for speaks.
//!
//! tests/golden/piper.json and piper.wav are made by make_piper_golden.py,
//! tests/fixtures/piper-speakers by make_piper_speakers.py.

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

#[test]
fn of_several_speakers_the_one_that_is_named_speaks() {
    support::start_speech();
    let voice = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/piper-speakers");
    let (network, config) = (voice.join("voice.onnx"), voice.join("voice.onnx.json"));
    // Half a wave lies between two changes of sign.
    let pitch = |speaker: Option<&str>, speed: f32| {
        let mut piper = Piper::load(&network, &config, speaker, &hardware()).expect("a voice");
        assert_eq!(piper.sample_rate(), 16_000);
        let said = piper.say("Who is speaking?", speed, &Cancel::default()).expect("speech");
        let changes = said.windows(2).filter(|pair| (pair[0] < 0.0) != (pair[1] < 0.0)).count();
        (changes as f64 * 16_000.0 / (2.0 * said.len() as f64), said.len())
    };
    let (first, length) = pitch(None, 1.0);
    assert!((first - 200.0).abs() < 5.0, "{first} Hz");
    assert!((pitch(Some("low"), 1.0).0 - 200.0).abs() < 5.0);
    let (high, _) = pitch(Some("high"), 1.0);
    assert!((high - 400.0).abs() < 10.0, "{high} Hz");
    let (_, short) = pitch(None, 2.0);
    assert!(short.abs_diff(length / 2) < length / 20, "{short} and {length} samples");
    let Err(error) = Piper::load(&network, &config, Some("nobody"), &hardware()) else {
        panic!("there is no such speaker")
    };
    assert!(error.to_string().contains("high, low"), "{error}");
}
