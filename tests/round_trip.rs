//! What the voices say is understood: whisper writes it down and the words match.

mod support;

use mega_pipeline::audio::Audio;
use mega_pipeline::engine::{Cancel, Voice};
use mega_pipeline::text::word_errors::word_errors;
use support::voices::{Listener, kokoro, piper};

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
/// by `listener`.
fn error_rate(
    voice: &mut dyn Voice,
    sentences: &[&str],
    listener: &Listener,
    language: &str,
) -> f64 {
    let (mut errors, mut total) = (0, 0);
    for sentence in sentences {
        let samples = voice.say(sentence, 1.0, &Cancel::default()).expect("it speaks");
        let audio = Audio { sample_rate: voice.sample_rate(), samples };
        let heard = listener.hear(&audio, language);
        let (wrong, words) = word_errors(sentence, &heard, language);
        println!("{wrong} of {words} wrong: {heard}");
        errors += wrong;
        total += words;
    }
    errors as f64 / total as f64
}

#[test]
fn pipers_english_is_understood() {
    let rate = error_rate(&mut piper(), &ENGLISH, &Listener::english(), "en");
    // The voice draws its noise anew each time: 4 to 12 % in 25 runs.
    assert!(rate < 0.25, "{:.1} % of the words are wrong", rate * 100.0);
}

#[test]
fn kokoros_english_is_understood() {
    let rate = error_rate(&mut kokoro("af_heart", "en"), &ENGLISH, &Listener::english(), "en");
    assert!(rate < 0.15, "{:.1} % of the words are wrong", rate * 100.0);
}

#[test]
fn kokoros_french_is_understood_by_the_smallest_whisper() {
    let rate = error_rate(&mut kokoro("ff_siwis", "fr"), &FRENCH, &Listener::multilingual(), "fr");
    assert!(rate < 0.35, "{:.1} % of the words are wrong", rate * 100.0);
}

#[test]
fn kokoros_portuguese_is_understood_by_the_smallest_whisper() {
    let rate =
        error_rate(&mut kokoro("pf_dora", "pt-BR"), &PORTUGUESE, &Listener::multilingual(), "pt");
    assert!(rate < 0.35, "{:.1} % of the words are wrong", rate * 100.0);
}
