//! Promise: a recording of any length that is allowed is written down in order, with the
//! times of the whole recording, and what it costs does not depend on the silence in it.

mod support;

use std::sync::Mutex;
use std::time::Instant;

use mega_pipeline::audio::{Audio, DecodeError, DecodeLimits, SPEECH_RATE, decode, decode_while};
use mega_pipeline::engine::vad::Vad;
use mega_pipeline::engine::whisper::Whisper;
use mega_pipeline::engine::{Cancel, Control, EngineError, Progress};
use mega_pipeline::text::word_errors::word_errors;
use mega_pipeline::text::{Segment, Transcript};
use support::speech::librivox;
use support::{hardware, model_file, start_speech, undisturbed};

const RATE: usize = SPEECH_RATE as usize;

fn whisper() -> Whisper {
    Whisper::load(&model_file("whisper-base.en", "ggml-base.en.bin"), &hardware())
        .expect("the model loads")
}

fn vad() -> Vad {
    start_speech();
    Vad::load(&model_file("silero-vad-onnx", "silero_vad.onnx")).expect("the detector loads")
}

/// A recording with known words at known places.
struct Recording {
    audio: Audio,
    /// Where each clip begins and ends, in milliseconds, and what is said in it.
    clips: Vec<(u64, u64, String)>,
}

/// The clips one after another, each after so many seconds of silence.
fn recording(pauses_s: &[f64]) -> Recording {
    let mut samples = Vec::new();
    let mut clips = Vec::new();
    for (clip, pause_s) in librivox().iter().cycle().zip(pauses_s) {
        samples.resize(samples.len() + (pause_s * RATE as f64) as usize, 0.0);
        let start_ms = (samples.len() * 1000 / RATE) as u64;
        let said = decode(&clip.path, &DecodeLimits::default()).expect("a clip is decoded");
        samples.extend(said.samples);
        clips.push((start_ms, (samples.len() * 1000 / RATE) as u64, clip.text.clone()));
    }
    Recording { audio: Audio { sample_rate: SPEECH_RATE, samples }, clips }
}

fn transcribe(recording: &Recording, control: &Control<'_>) -> Result<Transcript, EngineError> {
    let began = Instant::now();
    let speech = vad().speech(&recording.audio, control.cancel)?;
    println!("{} stretches found in {:.1?}", speech.len(), began.elapsed());
    let transcript = whisper().transcribe_speech(&recording.audio, &speech, Some("en"), control);
    println!("{} ms done after {:.1?}", recording.audio.duration_ms(), began.elapsed());
    transcript
}

fn error_rate(recording: &Recording, transcript: &Transcript) -> f64 {
    let said: Vec<&str> = recording.clips.iter().map(|clip| clip.2.as_str()).collect();
    let (errors, words) = word_errors(&said.join(" "), &transcript.text, "en");
    println!("{errors} of {words}: {}", transcript.text);
    errors as f64 / words as f64
}

#[track_caller]
fn assert_times(recording: &Recording, transcript: &Transcript) {
    let segments = &transcript.segments;
    assert!(segments.iter().all(|it| it.start_ms <= it.end_ms), "{segments:?}");
    assert!(segments.windows(2).all(|two| two[0].end_ms <= two[1].start_ms), "{segments:?}");
    // Every segment lies where somebody speaks, and every clip has one.
    let within = |segment: &Segment, &(start_ms, end_ms, _): &(u64, u64, String)| {
        segment.start_ms + 500 >= start_ms && segment.end_ms <= end_ms + 500
    };
    for clip in &recording.clips {
        assert!(segments.iter().any(|segment| within(segment, clip)), "{clip:?}: {segments:?}");
    }
    for segment in segments {
        let (first, last) = (&recording.clips[0], recording.clips.last().expect("a clip"));
        assert!(segment.start_ms + 500 >= first.0, "{segment:?}");
        assert!(segment.end_ms <= last.1 + 500, "{segment:?}");
    }
}

#[test]
fn minutes_of_speech_are_written_down_with_the_times_of_the_whole() {
    let recording = recording(&[1.0, 4.0, 8.0, 5.0, 3.0, 6.0, 2.5, 4.0]);
    assert!(recording.audio.duration_ms() > 60_000, "not longer than two windows");
    let heard = Mutex::new(Vec::new());
    let progress = |news: Progress| heard.lock().expect("no panic").push(news);
    let control = Control { cancel: &Cancel::default(), progress: &progress };
    let transcript = transcribe(&recording, &control).expect("there is speech");
    let rate = error_rate(&recording, &transcript);
    assert!(rate < 0.08, "{rate}");
    assert_times(&recording, &transcript);
    let joined: Vec<&str> = transcript.segments.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(transcript.text, joined.join(" "));

    let mut last = 0;
    let mut read_along = String::new();
    for news in heard.into_inner().expect("no panic") {
        match news {
            Progress::Fraction { done, total } => {
                assert_eq!(total, recording.audio.duration_ms());
                assert!(done >= last && done <= total, "{done} after {last} of {total}");
                last = done;
            }
            Progress::Text { delta } => read_along.push_str(&delta),
        }
    }
    assert_eq!(last, recording.audio.duration_ms());
    assert_eq!(read_along, transcript.text, "part by part");
}

#[test]
fn an_hour_with_a_few_words_costs_little_more_than_the_words() {
    let recording = recording(&[5.0, 1750.0, 1800.0]);
    assert!(recording.audio.duration_ms() > 3_550_000);
    let transcript = undisturbed(|it| transcribe(&recording, it)).expect("there is speech");
    let rate = error_rate(&recording, &transcript);
    assert!(rate < 0.1, "{rate}");
    assert_times(&recording, &transcript);
}

#[test]
fn a_long_transcription_can_be_stopped_between_two_parts() {
    let recording = recording(&[1.0, 4.0, 8.0, 5.0, 3.0, 6.0, 2.5, 4.0]);
    let cancel = Cancel::default();
    let calls = Mutex::new(0_u64);
    let progress = |news: Progress| {
        let Progress::Fraction { done, .. } = news else { return };
        *calls.lock().expect("no panic") = done;
        if done > 10_000 {
            cancel.cancel();
        }
    };
    let error = transcribe(&recording, &Control { cancel: &cancel, progress: &progress })
        .expect_err("it was stopped");
    assert!(matches!(error, EngineError::Canceled), "{error}");
    let reached = *calls.lock().expect("no panic");
    assert!(reached < 40_000, "it went on to {reached} ms");
}

#[test]
fn looking_for_speech_and_decoding_can_be_stopped() {
    let cancel = Cancel::default();
    cancel.cancel();
    let hour = Audio { sample_rate: SPEECH_RATE, samples: vec![0.0; 3600 * RATE] };
    let mut vad = vad();
    let began = Instant::now();
    let error = vad.speech(&hour, &cancel).expect_err("it was stopped");
    assert!(matches!(error, EngineError::Canceled), "{error}");
    assert!(began.elapsed().as_secs_f32() < 1.0, "it took {:?}", began.elapsed());
    let clip = &librivox()[0].path;
    let error = decode_while(clip, &DecodeLimits::default(), &|| !cancel.is_canceled());
    assert!(matches!(error, Err(DecodeError::Unwanted)), "{error:?}");
}
