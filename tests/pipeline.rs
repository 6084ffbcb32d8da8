//! A spoken prompt goes through all five stages on real models, by command line and by HTTP.

mod support;

use mega_pipeline::audio::{Audio, SPEECH_RATE, read_wav};
use mega_pipeline::text::word_errors::word_errors;
use support::process::{Server, mega, run};
use support::voices::Listener;

/// What the sample says.
const PROMPT: &str = include_str!("../samples/prompt.txt");
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/prompt.flac");

/// Small models, so that the chain is quick.
const SMALL: [(&str, &str); 2] = [
    ("MEGA_MODEL_SPEECH_TO_TEXT", "whisper-tiny"),
    ("MEGA_MODEL_TEXT_GENERATION", "smollm2-135m-instruct"),
];

fn word_error_rate(reference: &str, hypothesis: &str) -> f64 {
    let (errors, words) = word_errors(reference, hypothesis, "en");
    errors as f64 / words as f64
}

#[test]
fn the_command_line_writes_every_result_and_the_speech_can_be_understood() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(mega(dir.path())
        .args(["run", SAMPLE, "--out", "out", "--target", "pt", "--json"])
        .args(["--set", "max_tokens=60"])
        .envs(SMALL));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");

    let out = dir.path().join("out");
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(
        std::fs::read(out.join("prompt.flac")).unwrap(),
        std::fs::read(SAMPLE).unwrap(),
        "the recording is kept as it is"
    );
    let transcript = read("transcript.txt");
    assert!(word_error_rate(PROMPT, &transcript) < 0.15, "{transcript}");
    let text = read("text.txt");
    assert!(text.split_whitespace().count() >= 5, "{text}");
    let translation = read("translation.pt.txt");
    assert!(!translation.trim().is_empty() && translation != text, "{translation}");

    let listener = Listener::multilingual();
    let hear =
        |name: &str, language: &str| listener.hear(&read_wav(&out.join(name)).unwrap(), language);
    let english = hear("speech.en.wav", "en");
    assert!(word_error_rate(&text, &english) < 0.3, "{text}\n{english}");
    let portuguese = hear("speech.pt.wav", "pt");
    assert!(word_error_rate(&translation, &portuguese) < 0.5, "{translation}\n{portuguese}");

    let job: serde_json::Value = serde_json::from_str(&read("job.json")).unwrap();
    let stages = job["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 5);
    assert!(stages.iter().all(|stage| stage["model"].is_string() && stage["run_ms"].is_u64()));
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, job, "--json prints job.json");
}

#[test]
fn a_recording_sent_by_http_comes_back_as_two_texts_and_two_voices() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(
        dir.path(),
        &[
            "--set=max_tokens=40",
            "--set=target=pt",
            "--set=model.speech-to-text=whisper-tiny",
            "--set=model.text-generation=smollm2-135m-instruct",
        ],
    );
    let sample = std::fs::read(SAMPLE).unwrap();
    let (status, body) = server.request("POST", "/api/v1/jobs", "audio/flac", &sample);
    assert_eq!(status, 202, "{}", String::from_utf8_lossy(&body));
    let accepted: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let id = accepted["id"].as_str().unwrap();

    let job = server.finished(id);
    assert_eq!(job["state"], "succeeded", "{job:#}");
    let artifact = |stage: &str| {
        server.request("GET", &format!("/api/v1/jobs/{id}/artifacts/{stage}"), "", b"")
    };
    let (status, transcript) = artifact("transcribe_audio");
    assert_eq!(status, 200);
    let transcript = String::from_utf8_lossy(&transcript).into_owned();
    assert!(word_error_rate(PROMPT, &transcript) < 0.15, "{transcript}");
    for stage in ["synthesis_audio_en", "synthesis_audio"] {
        let (status, sound) = artifact(stage);
        assert_eq!(status, 200);
        assert!(sound.starts_with(b"RIFF") && sound.len() > 20_000, "{stage}");
    }
    assert_eq!(server.request("GET", "/readyz", "", b"").0, 200);

    // Once more, with another English voice than the configured one.
    let again =
        br#"{"from": "synthesis_audio_en", "options": {"voice_en": "kokoro-voice-af_heart"}}"#;
    let path = format!("/api/v1/jobs/{id}/rerun");
    let (status, body) = server.request("POST", &path, "application/json", again);
    assert_eq!(status, 202, "{}", String::from_utf8_lossy(&body));
    let job = server.finished(id);
    let voices: Vec<_> = [0, 2].map(|stage| &job["stages"][stage]["timing"]["model"]).into();
    assert_eq!(voices, ["whisper-tiny", "kokoro-voice-af_heart"], "{job:#}");
    assert_eq!(job["stages"][2]["version"], 2);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn silence_ends_as_no_speech_and_no_text_is_invented() {
    let dir = tempfile::tempdir().unwrap();
    let silence = Audio { sample_rate: SPEECH_RATE, samples: vec![0.0; 3 * 16_000] };
    let path = dir.path().join("silence.wav");
    mega_pipeline::audio::write_wav(&path, &silence).unwrap();
    let output = run(mega(dir.path())
        .args(["run", "silence.wav", "--only", "transcribe_audio"])
        .envs(SMALL));
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("No speech was found"), "{told}");
}
