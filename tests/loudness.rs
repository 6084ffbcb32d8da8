//! Promise: whatever voice speaks, it is as loud as any other, and nothing is clipped.

mod support;

use mega_pipeline::audio::loudness;
use mega_pipeline::stage::StageKind;
use support::stages::Stages;

const ENGLISH: &str =
    "Containers are light. They start in a second!\n\nWhat would you do with a thousand of them?";
const FRENCH: &str = "Les conteneurs sont légers.\n\nQue feriez-vous de mille d’entre eux ?";
const PORTUGUESE: &str = "Os contêineres são leves. O que você faria com mil deles?";

#[test]
fn every_language_comes_out_at_minus_16_lufs_with_peaks_below_minus_1_decibel() {
    for (kind, target, text) in [
        (StageKind::SynthesisAudioEn, "fr", ENGLISH),
        (StageKind::SynthesisAudio, "fr", FRENCH),
        (StageKind::SynthesisAudio, "pt", PORTUGUESE),
        (StageKind::SynthesisAudioEn, "fr", "No."),
    ] {
        let audio = Stages::new(target).speak(kind, text);
        let found = loudness::measure(&audio).expect("a usual rate");
        println!("{kind} {target}: {} ms, {found:?}", audio.duration_ms());
        assert!((found.lufs - loudness::TARGET_LUFS).abs() < 0.5, "{text}: {found:?}");
        assert!(found.peak_dbtp <= loudness::PEAK_DBTP + 0.01, "{text}: {found:?}");
    }
}

#[test]
fn a_text_without_words_is_an_empty_recording() {
    let audio = Stages::new("fr").speak(StageKind::SynthesisAudioEn, "…");
    assert_eq!(audio.samples, Vec::<f32>::new());
}
