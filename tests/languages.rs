//! Promise: a prompt need not be English where the model knows more, and is refused in a
//! sentence where it does not.

mod support;

use std::path::Path;
use std::process::Output;

use support::process::{mega, run};

const FRENCH: &str = "Les petits modèles sont rapides et les grands modèles sont meilleurs.";

/// French, spoken into `said.wav` in `dir`.
fn speak(dir: &Path) {
    let said = run(mega(dir).args(["voices", "fr", "--say", FRENCH, "--out", "said.wav"]));
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

fn transcribe(dir: &Path, model: &str, language: &str) -> Output {
    run(mega(dir)
        .env("MEGA_MODEL_SPEECH_TO_TEXT", model)
        .args(["run", "said.wav", "--only", "transcribe_audio", "--out", "out"])
        .args(["--language", language]))
}

#[test]
fn french_is_written_down_as_french_when_it_is_named_and_when_it_is_found_out() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    speak(dir.path());
    for language in ["fr", "auto"] {
        let heard = transcribe(dir.path(), "whisper-tiny", language);
        assert!(heard.status.success(), "{}", String::from_utf8_lossy(&heard.stderr));
        let text = std::fs::read_to_string(dir.path().join("out/transcript.txt")).expect("a text");
        let text = text.to_lowercase();
        assert!(text.contains("petits modèles") && text.contains("rapides"), "{language}: {text}");
    }
}

#[test]
fn a_model_that_knows_only_english_says_so() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    speak(dir.path());
    let refused = transcribe(dir.path(), "whisper-base.en", "fr");
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("whisper-base.en understands English only"), "{said}");
    // Whoever leaves it to the model gets what the model can do.
    assert!(transcribe(dir.path(), "whisper-base.en", "auto").status.success());
}
