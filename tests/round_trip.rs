//! What the voices say is understood: whisper writes it down and the words match.
//!
//! whisper.cpp is driven directly, so that this stays a test of the voices alone.

mod support;

use mega_pipeline::engine::kokoro::Kokoro;
use mega_pipeline::engine::piper::Piper;
use mega_pipeline::engine::{Hardware, Voice};
use support::{model_file, start_speech};
use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters};

const HARDWARE: Hardware = Hardware { threads: 2, gpu: None };

const ENGLISH: [&str; 5] = [
    "A container image holds a program together with everything it needs to run.",
    "Yesterday, Dr. Smith bought three apples, two pears and a loaf of bread.",
    "Why do the leaves turn red in autumn, and why do they fall?",
    "The train leaves at ten; we should be at the station before that.",
    "Small teams often build better software, because everybody knows the whole of it.",
];
const FRENCH: [&str; 3] = [
    "Le train part à dix heures, nous devons être à la gare avant.",
    "Pourquoi les feuilles deviennent-elles rouges en automne ?",
    "Les petites équipes font souvent de meilleurs logiciels.",
];
const PORTUGUESE: [&str; 3] = [
    "O trem sai às dez horas, temos que estar na estação antes disso.",
    "Por que as folhas ficam vermelhas no outono?",
    "As equipes pequenas muitas vezes fazem programas melhores.",
];

/// Word errors per word over all `sentences`, each spoken by `voice` and written down
/// by the whisper model in `file`.
fn error_rate(voice: &mut dyn Voice, sentences: &[&str], file: &str, language: &str) -> f64 {
    let model = file.trim_start_matches("ggml-").trim_end_matches(".bin");
    let path = model_file(&format!("whisper-{model}"), file);
    let listener = WhisperContext::new_with_params(&path, WhisperContextParameters::default())
        .expect("whisper loads");
    let (mut errors, mut total) = (0, 0);
    for sentence in sentences {
        let samples = voice.say(sentence, 1.0).expect("it speaks");
        let heard = write_down(&listener, &to_16_khz(&samples, voice.sample_rate()), language);
        let (said, heard) = (words(sentence, language), words(&heard, language));
        let wrong = distance(&said, &heard);
        println!("{wrong} of {} wrong: {}", said.len(), heard.join(" "));
        errors += wrong;
        total += said.len();
    }
    errors as f64 / total as f64
}

fn write_down(listener: &WhisperContext, samples: &[f32], language: &str) -> String {
    let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
    params.set_language(Some(language));
    params.set_n_threads(2);
    if language == "en" {
        // Listening to 30 seconds, as whisper does by default, is a waste on one sentence;
        // the smallest model, which hears the other languages, needs them to be sure.
        params.set_audio_ctx((samples.len() / 320 + 128) as i32);
    }
    let mut state = listener.create_state().expect("whisper starts");
    state.full(params, samples).expect("whisper listens");
    state.as_iter().map(|segment| segment.to_string()).collect()
}

/// Linear interpolation: coarse, but whisper does not mind.
fn to_16_khz(samples: &[f32], sample_rate: u32) -> Vec<f32> {
    let step = f64::from(sample_rate) / 16_000.0;
    let len = (samples.len() as f64 / step) as usize;
    (0..len)
        .map(|i| {
            let at = i as f64 * step;
            let left = samples[at as usize];
            let right = samples.get(at as usize + 1).copied().unwrap_or(left);
            left + (right - left) * at.fract() as f32
        })
        .collect()
}

/// Lower-case words without punctuation; what whisper shortens is spelled out.
fn words(text: &str, language: &str) -> Vec<String> {
    let ten = match language {
        "fr" => "dix",
        "pt" => "dez",
        _ => "ten",
    };
    text.to_lowercase()
        .replace('’', "'")
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|word| !word.is_empty())
        .map(|word| match word {
            "10" => ten,
            "3" => "three",
            "2" => "two",
            "dr" => "doctor",
            word => word,
        })
        .map(str::to_owned)
        .collect()
}

/// Fewest insertions, deletions and replacements that turn one into the other.
fn distance(said: &[String], heard: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in said.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in heard.iter().enumerate() {
            let replaced = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[heard.len()]
}

fn piper() -> Piper {
    start_speech();
    let model = "piper-en_US-joe-medium";
    let onnx = model_file(model, "en_US-joe-medium.onnx");
    let config = model_file(model, "en_US-joe-medium.onnx.json");
    Piper::load(&onnx, &config, &HARDWARE).expect("the voice loads")
}

fn kokoro(voice: &str, language: &str) -> Kokoro {
    start_speech();
    let onnx = model_file("kokoro-82m-q8", "model_quantized.onnx");
    let config = model_file("kokoro-config", "config.json");
    let style = model_file(&format!("kokoro-voice-{voice}"), &format!("{voice}.bin"));
    Kokoro::load(&onnx, &config, &style, language, &HARDWARE).expect("the voice loads")
}

#[test]
fn pipers_english_is_understood() {
    let rate = error_rate(&mut piper(), &ENGLISH, "ggml-base.en.bin", "en");
    assert!(rate < 0.15, "{:.1} % of the words are wrong", rate * 100.0);
}

#[test]
fn kokoros_english_is_understood() {
    let rate = error_rate(&mut kokoro("af_heart", "en"), &ENGLISH, "ggml-base.en.bin", "en");
    assert!(rate < 0.15, "{:.1} % of the words are wrong", rate * 100.0);
}

#[test]
fn kokoros_french_is_understood_by_the_smallest_whisper() {
    let rate = error_rate(&mut kokoro("ff_siwis", "fr"), &FRENCH, "ggml-tiny.bin", "fr");
    assert!(rate < 0.35, "{:.1} % of the words are wrong", rate * 100.0);
}

#[test]
fn kokoros_portuguese_is_understood_by_the_smallest_whisper() {
    let rate = error_rate(&mut kokoro("pf_dora", "pt-BR"), &PORTUGUESE, "ggml-tiny.bin", "pt");
    assert!(rate < 0.35, "{:.1} % of the words are wrong", rate * 100.0);
}
