//! Promise: compressed speech has the length of the original to the sample, sounds like it,
//! and is read by other programs as well as by this one.

mod support;

use std::path::Path;

use mega_pipeline::audio::{Audio, Compression, DecodeLimits, decode, probe};
use support::encoder::read_by_ffmpeg;
use support::sound::{SECONDS, correlation, speech_like};

/// Rates at which voices speak, and one that only a recording has.
const RATES: [u32; 5] = [16_000, 22_050, 24_000, 44_100, 48_000];

fn compressed(compression: Compression, audio: &Audio, path: &Path) {
    let file = std::fs::File::create(path).expect("a file");
    compression.write(audio, file).expect("it is compressed");
}

#[track_caller]
fn assert_same(what: &str, samples: &[f32]) {
    let off_ms = (samples.len() as f64 / 16_000.0 - SECONDS).abs() * 1000.0;
    assert!(off_ms < 2.0, "{what}: {off_ms} ms longer or shorter");
    // No lag: a player that seeks would be off by it.
    let alike = correlation(&speech_like(16_000), samples, 16);
    assert!(alike > 0.95, "{what}: correlation {alike:.3}");
}

#[test]
fn every_rate_comes_back_with_its_length_and_in_its_place() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for compression in [Compression::Mp3, Compression::Opus] {
        for rate in RATES {
            let what = format!("{compression:?} from {rate} Hz");
            let path = dir.path().join("speech").with_extension(compression.extension());
            let audio = Audio { sample_rate: rate, samples: speech_like(rate) };
            compressed(compression, &audio, &path);
            let own = decode(&path, &DecodeLimits::default()).expect("it is decoded");
            assert_same(&what, &own.samples);
            assert_same(&format!("{what}, by ffmpeg"), &read_by_ffmpeg(&path));
            let told = probe(&path).expect("a recording").duration_ms.expect("a length");
            assert!(told.abs_diff(6000) <= 60, "{what}: its header says {told} ms");
        }
    }
}

#[test]
fn an_hour_is_compressed_to_less_than_thirty_megabytes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("speech.mp3");
    let minute: Vec<f32> = speech_like(16_000).repeat(10);
    compressed(Compression::Mp3, &Audio { sample_rate: 16_000, samples: minute }, &path);
    let bytes = std::fs::metadata(&path).expect("a file").len();
    assert!(bytes * 60 < 30_000_000, "{bytes} bytes a minute");
}

#[test]
fn no_sound_and_very_little_sound_make_a_file() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for compression in [Compression::Mp3, Compression::Opus] {
        for count in [0, 1, 100, 1000] {
            let path = dir.path().join(format!("{count}.{}", compression.extension()));
            let audio = Audio { sample_rate: 22_050, samples: vec![0.1; count] };
            compressed(compression, &audio, &path);
            if count >= 1000 {
                let back = decode(&path, &DecodeLimits::default()).expect("it is decoded");
                assert!(back.duration_ms().abs_diff(45) < 30, "{} ms", back.duration_ms());
            }
        }
    }
}

#[test]
fn an_impossible_rate_is_an_error() {
    for compression in [Compression::Mp3, Compression::Opus] {
        for rate in [0, 1] {
            let audio = Audio { sample_rate: rate, samples: vec![0.0; 10] };
            assert!(compression.write(&audio, Vec::new()).is_err(), "{compression:?}, {rate} Hz");
        }
    }
}
