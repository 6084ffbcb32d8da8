//! Promise: Kokoro reads the symbols and tokens that its own front end makes, and sounds as it does in
//! another program.
//!
//! tests/golden/kokoro.json and the recordings beside it are made by make_kokoro_golden.py.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use mega_pipeline::audio;
use mega_pipeline::engine::kokoro::{self, KokoroModel};
use mega_pipeline::engine::{Cancel, Voice};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use support::{hardware, model_file, start_speech};

#[derive(Deserialize)]
struct Golden {
    symbols: BTreeMap<String, Vec<Sentence>>,
    spoken: Vec<Spoken>,
}

#[derive(Deserialize)]
struct Sentence {
    text: String,
    symbols: String,
    /// Beginning of the SHA-256 of the tokens, written as a JSON list.
    tokens: String,
}

#[derive(Deserialize)]
struct Spoken {
    voice: String,
    language: String,
    text: String,
}

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kokoro.json");
    let json = std::fs::read(path).expect("kokoro.json is committed");
    serde_json::from_slice(&json).expect("kokoro.json is what the script writes")
}

#[test]
fn a_hundred_sentences_of_each_language_become_the_symbols_and_tokens_of_the_reference() {
    start_speech();
    let model = KokoroModel::load(
        &model_file("kokoro-82m-q8", "model_quantized.onnx"),
        &model_file("kokoro-config", "config.json"),
        &hardware(),
    )
    .expect("the model loads");
    let model = model.lock().expect("not poisoned");
    let mut wrong = Vec::new();
    let mut compared = 0;
    let golden = golden().symbols;
    assert_eq!(golden.keys().collect::<Vec<_>>(), ["en", "es", "fr", "hi", "it", "pt"]);
    for (language, sentences) in golden {
        assert!(sentences.len() >= 100, "{language}: {}", sentences.len());
        for Sentence { text, symbols, tokens } in sentences {
            let made = kokoro::symbols(&text, &language).expect("symbols");
            let ids = serde_json::to_vec(&model.tokens(&made)).expect("numbers");
            let digest = format!("{:x}", Sha256::digest(&ids));
            compared += 1;
            if made != symbols || !digest.starts_with(&tokens) {
                wrong.push(format!("{language} {text}\n  {made}\n  {symbols}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_voices_sound_as_in_the_reference() {
    for Spoken { voice, language, text } in golden().spoken {
        let said = support::voices::kokoro(&voice, &language)
            .say(&text, 1.0, &Cancel::default())
            .expect("speech");
        let said = audio::Audio { sample_rate: 24_000, samples: said };
        assert!(said.samples.len() > 20_000);
        // The other program does not sound alike on all processors: where it differs with AVX2
        // alone, that was recorded, too.
        let recorded = [format!("kokoro_{voice}.wav"), format!("kokoro_{voice}_avx2.wav")];
        let alike = recorded.iter().filter_map(|name| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
            let reference = path.exists().then(|| audio::read_wav(&path).expect("a recording"))?;
            Some(support::sound::correlation(&said.samples, &reference.samples, 14_000))
        });
        let alike = alike.fold(0.0, f64::max);
        println!("{voice}: {alike:.4}");
        assert!(alike > 0.99, "{voice}: {alike}");
    }
}
