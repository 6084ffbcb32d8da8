//! Recorded speech is written down, and nothing is invented where nobody speaks.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use mega_pipeline::audio::decode::{DecodeLimits, decode};
use mega_pipeline::audio::{Audio, SPEECH_RATE};
use mega_pipeline::engine::whisper::{Encoder, Whisper, create_state};
use mega_pipeline::engine::{Cancel, Control, EngineError, Progress};
use mega_pipeline::text::word_errors::word_errors;
use support::speech::librivox;
use support::{hardware, model_file, undisturbed};
use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters};

/// Word error rate on the LibriVox clips.
fn word_error_rate(model: &str, file: &str) -> f64 {
    let whisper = Whisper::load(&model_file(model, file), &hardware()).expect("the model loads");
    let (mut errors, mut words, started) = (0, 0, Instant::now());
    for clip in librivox() {
        let audio = decode(&clip.path, &DecodeLimits::default()).expect("a clip is decoded");
        let transcript = undisturbed(|it| whisper.transcribe(&audio, Some("en"), it))
            .expect("the clip is transcribed");
        let (wrong, all) = word_errors(&clip.text, &transcript.text, "en");
        println!("{wrong:2} of {all:2}: {}", transcript.text);
        assert!(transcript.segments.iter().all(|it| it.end_ms <= audio.duration_ms()));
        errors += wrong;
        words += all;
    }
    let rate = errors as f64 / words as f64;
    println!("{model}: {:.1} % of {words} words, {:.1?}", rate * 100.0, started.elapsed());
    rate
}

#[test]
fn whisper_tiny_gets_at_most_fifteen_words_in_a_hundred_wrong() {
    let rate = word_error_rate("whisper-tiny", "ggml-tiny.bin");
    assert!(rate < 0.15, "{rate}");
}

#[test]
fn whisper_base_en_gets_at_most_eight_words_in_a_hundred_wrong() {
    let rate = word_error_rate("whisper-base.en", "ggml-base.en.bin");
    assert!(rate < 0.08, "{rate}");
}

fn tiny() -> Whisper {
    Whisper::load(&model_file("whisper-tiny", "ggml-tiny.bin"), &hardware())
        .expect("the model loads")
}

#[test]
fn a_recording_shorter_than_a_second_is_read_all_the_same() {
    let audio = Audio { sample_rate: SPEECH_RATE, samples: vec![0.0; 1600] };
    match undisturbed(|it| tiny().transcribe(&audio, Some("en"), it)) {
        Err(EngineError::NoSpeech) => {}
        Ok(transcript) => assert!(transcript.segments.iter().all(|it| it.end_ms <= 100)),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_language_goes_by_any_of_its_tags_and_one_that_is_none_is_refused() {
    let clip = &librivox()[0];
    let audio = decode(&clip.path, &DecodeLimits::default()).unwrap();
    let whisper = tiny();
    let hear = |tag| undisturbed(|it| whisper.transcribe(&audio, Some(tag), it));
    // Whisper itself says `no`.
    for tag in ["nb", "no", "nb-NO"] {
        assert_eq!(hear(tag).unwrap().language, "nb", "{tag}");
    }
    // Cantonese came with large-v3.
    assert_eq!(hear("yue").unwrap().language, "zh");
    for tag in ["xx", ""] {
        let error = hear(tag).unwrap_err();
        assert!(matches!(error, EngineError::UnsupportedLanguage(_)), "{tag}: {error}");
    }
}

#[test]
fn a_canceled_transcription_stops_without_an_error_in_the_log_and_the_engine_can_go_on() {
    let clip = &librivox()[0];
    let audio = decode(&clip.path, &DecodeLimits::default()).unwrap();
    let whisper = tiny();
    let cancel = Cancel::default();
    // As it begins, so that whisper.cpp itself has to stop.
    let progress = |_| cancel.cancel();
    let control = Control { cancel: &cancel, progress: &progress };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::ERROR)
        .with_writer(std::fs::File::create(&log).unwrap())
        .finish();
    let error = tracing::subscriber::with_default(subscriber, || {
        whisper.transcribe(&audio, Some("en"), &control).unwrap_err()
    });
    assert!(matches!(error, EngineError::Canceled), "{error}");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "", "to be stopped is no failure");
    let transcript = undisturbed(|it| whisper.transcribe(&audio, Some("en"), it)).unwrap();
    assert!(transcript.text.to_lowercase().contains("dashwood"), "{}", transcript.text);
}

#[test]
fn progress_counts_milliseconds_and_never_exceeds_the_recording() {
    let clip = &librivox()[0];
    let audio = decode(&clip.path, &DecodeLimits::default()).unwrap();
    let heard = Mutex::new(Vec::new());
    let progress = |news: Progress| heard.lock().unwrap().push(news);
    let control = Control { cancel: &Cancel::default(), progress: &progress };
    tiny().transcribe(&audio, Some("en"), &control).unwrap();
    let heard = heard.into_inner().unwrap();
    assert!(!heard.is_empty());
    for news in heard {
        let Progress::Fraction { done, total } = news else { panic!("{news:?}") };
        assert!(done <= total && total == audio.duration_ms(), "{done} of {total}");
    }
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ggml-nothing.bin");
    std::fs::write(&path, b"this is no model").unwrap();
    assert!(matches!(Whisper::load(&path, &hardware()), Err(EngineError::Load { .. })));
    let gone = dir.path().join("gone.bin");
    assert!(matches!(Whisper::load(&gone, &hardware()), Err(EngineError::Missing { .. })));
}

/// What whisper.cpp, with its own encoder or another, thinks of every token after it has heard
/// `samples` through a window of so many positions and written the word "The".
fn logits(
    context: &WhisperContext,
    encoder: Option<&Arc<Encoder>>,
    window: i32,
    samples: &[f32],
) -> Vec<f32> {
    let mut state = create_state(context, encoder, 2).expect("memory for a run");
    if let Some(encoder) = encoder {
        assert_eq!(Arc::strong_count(encoder), 2, "whisper.cpp is built without the other encoder");
    }
    let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
    params.set_audio_ctx(window);
    params.set_max_tokens(1);
    params.set_print_progress(false);
    params.set_print_timestamps(false);
    // The window of this run is that of the next.
    state.full(params, samples).expect("a transcript");
    state.encode(0, 2).expect("the sound is encoded");
    let start = [context.token_sot(), context.token_not()];
    let words = context.tokenize(" The", 4).expect("one token");
    state.decode(&[&start[..], &words].concat(), 0, 2).expect("tokens are decoded");
    state.get_logits().expect("logits").to_vec()
}

#[test]
fn whisper_cpp_hears_the_same_with_the_encoder_of_our_own() {
    let path = model_file("whisper-base.en", "ggml-base.en.bin");
    let mut params = WhisperContextParameters::new();
    // Flash attention adds up in 16 bits, and is a tenth off.
    params.use_gpu(false).flash_attn(false);
    let context = WhisperContext::new_with_params(&path, params).expect("the model loads");
    let encoder = Encoder::read(&path).expect("the file is read").expect("16-bit floats");
    let encoder = Arc::new(encoder);
    for clip in librivox().iter().take(3) {
        let audio = decode(&clip.path, &DecodeLimits::default()).expect("a clip is decoded");
        // Without flash attention, whisper.cpp adds no keys to make up a multiple of 256.
        for window in [1280, 768] {
            let theirs = logits(&context, None, window, &audio.samples);
            let ours = logits(&context, Some(&encoder), window, &audio.samples);
            assert_eq!(theirs.len(), ours.len());
            let differences = theirs.iter().zip(&ours).map(|(theirs, ours)| (theirs - ours).abs());
            let largest = differences.fold(0.0, f32::max);
            let highest = theirs.iter().copied().fold(f32::MIN, f32::max);
            let lowest = theirs.iter().copied().fold(f32::MAX, f32::min);
            println!("{window}: {largest} of {lowest} to {highest}");
            assert!(largest < 0.002 * (highest - lowest), "{largest} of {lowest} to {highest}");
        }
    }
}

#[test]
fn an_encoder_of_another_model_is_not_used() {
    let path = model_file("whisper-tiny", "ggml-tiny.bin");
    let mut params = WhisperContextParameters::new();
    params.use_gpu(false);
    let context = WhisperContext::new_with_params(&path, params).expect("the model loads");
    let base = model_file("whisper-base.en", "ggml-base.en.bin");
    let encoder = Encoder::read(&base).expect("the file is read").expect("16-bit floats");
    let encoder = Arc::new(encoder);
    let state = create_state(&context, Some(&encoder), 2).expect("memory for a run");
    assert_eq!(Arc::strong_count(&encoder), 1);
    drop(state);
}

#[test]
fn only_whole_files_of_16_bit_floats_have_an_encoder() {
    let mut file = std::fs::read(model_file("whisper-tiny", "ggml-tiny.bin")).expect("the weights");
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("model.bin");
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("room on the disk");
        Encoder::read(&path)
    };
    assert!(read(&file[..file.len() / 2]).is_err());
    assert!(read(b"RIFF, and more of it").is_err());
    assert!(matches!(read(&file), Ok(Some(_))));
    // The last number of the head is the kind of its matrices.
    file[44] = 8;
    assert!(matches!(read(&file), Ok(None)));
}
