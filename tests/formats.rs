//! Promise: whatever a browser, a telephone or a recorder makes can be decoded, and
//! whatever is no recording is refused with a sentence, soon.
//!
//! The fixtures are made by ffmpeg from a sound that is made here, so that what
//! comes out can be compared with what went in.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use mega_pipeline::audio::{
    Audio, DecodeError, DecodeLimits, SPEECH_RATE, decode, probe, wav_bytes,
};
use support::encoder::{make, make_live, read_by_ffmpeg, workshop};
use support::sound::{SECONDS, correlation, speech_like};

/// Decodes `path` and compares it with the sound that it was made of.
#[track_caller]
fn assert_same_sound(path: &Path) {
    let name = path.display();
    let audio = decode(path, &DecodeLimits::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(audio.sample_rate, SPEECH_RATE);
    let seconds = audio.samples.len() as f64 / f64::from(SPEECH_RATE);
    assert!((seconds / SECONDS - 1.0).abs() < 0.01, "{name}: {seconds} s and not {SECONDS}");
    let alike = correlation(&speech_like(SPEECH_RATE), &audio.samples, 800);
    assert!(alike > 0.95, "{name}: correlation {alike:.3}");
    probe(path).unwrap_or_else(|e| panic!("{name}: {e}"));
}

#[test]
fn wav_of_every_width_rate_and_number_of_channels_is_decoded() {
    let dir = workshop();
    for (name, options) in [
        ("cd.wav", "-ar 44100 -ac 2 -c:a pcm_s16le"),
        ("studio.wav", "-ar 96000 -ac 2 -c:a pcm_s24le"),
        ("float.wav", "-ar 16000 -c:a pcm_f32le"),
        ("double.wav", "-ar 22050 -c:a pcm_f64le"),
        ("wide.wav", "-ar 32000 -c:a pcm_s32le"),
        ("old.wav", "-ar 11025 -c:a pcm_u8"),
        ("telephone.wav", "-ar 8000 -c:a pcm_mulaw"),
        ("european-telephone.wav", "-ar 8000 -c:a pcm_alaw"),
        ("dictaphone.wav", "-ar 16000 -c:a adpcm_ima_wav -block_size 256"),
        ("surround.wav", "-ar 48000 -ac 6 -c:a pcm_s16le"),
    ] {
        assert_same_sound(&make(dir.path(), name, options));
    }
}

#[test]
fn a_wav_stream_whose_header_leaves_the_length_open_is_decoded_to_its_end() {
    let dir = workshop();
    assert_same_sound(&make_live(dir.path(), "piped.wav", "-f wav"));
}

#[test]
fn mp3_is_decoded_with_constant_and_variable_rate_and_with_a_picture() {
    let dir = workshop();
    make(dir.path(), "cover.png", "-f lavfi -i color=red:s=32x32 -map 1:v -frames:v 1");
    for (name, options) in [
        ("music.mp3", "-ar 44100 -ac 2 -b:a 128k"),
        ("voice.mp3", "-ar 22050 -ac 1 -b:a 48k"),
        ("low.mp3", "-ar 16000 -ac 1 -b:a 32k"),
        ("variable.mp3", "-ar 48000 -ac 1 -q:a 4"),
        ("bare.mp3", "-ar 44100 -id3v2_version 0 -write_xing 0"),
        ("cover.mp3", "-i cover.png -map 0:a -map 1:v -c:v copy -disposition:v attached_pic"),
    ] {
        assert_same_sound(&make(dir.path(), name, options));
    }
}

#[test]
fn flac_aiff_and_caf_are_decoded() {
    let dir = workshop();
    for (name, options) in [
        ("cd.flac", "-ar 44100 -ac 2"),
        ("studio.flac", "-ar 96000 -ac 1 -sample_fmt s32"),
        ("mac.aiff", "-ar 44100 -ac 2"),
        ("mac.caf", "-ar 48000 -ac 1 -c:a pcm_s16le"),
        ("lossless.caf", "-ar 44100 -ac 2 -c:a alac"),
    ] {
        assert_same_sound(&make(dir.path(), name, options));
    }
    assert_same_sound(&make_live(dir.path(), "piped.flac", "-f flac"));
}

#[test]
fn ogg_with_vorbis_opus_and_flac_is_decoded() {
    let dir = workshop();
    for (name, options) in [
        ("vorbis.ogg", "-ar 44100 -ac 2 -c:a libvorbis"),
        ("low.ogg", "-ar 16000 -ac 1 -c:a libvorbis"),
        ("firefox.ogg", "-ar 48000 -ac 1 -c:a libopus -b:a 64k"),
        ("message.ogg", "-ar 16000 -ac 1 -c:a libopus -b:a 32k"),
        ("long-frames.opus", "-ac 2 -c:a libopus -frame_duration 60"),
        ("flac.oga", "-ar 44100 -c:a flac"),
    ] {
        assert_same_sound(&make(dir.path(), name, options));
    }
}

#[test]
fn webm_as_chromium_records_it_is_decoded() {
    let dir = workshop();
    let options = "-ac 1 -c:a libopus -b:a 64k -f webm -live 1";
    let path = make_live(dir.path(), "chromium.webm", options);
    assert_same_sound(&path);
    let info = probe(&path).expect("it is a recording");
    assert_eq!((info.container, info.codec, info.duration_ms), ("matroska", "opus", None));

    assert_same_sound(&make(dir.path(), "vorbis.webm", "-ac 2 -c:a libvorbis"));
    assert_same_sound(&make(dir.path(), "sound.mka", "-ac 2 -c:a flac"));
}

#[test]
fn what_chromium_recorded_is_decoded() {
    // Made by tests/browser/record_fixtures.js from the same sound.
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("fixtures");
    for (name, container) in [("chromium-opus.webm", "matroska"), ("chromium-opus.mp4", "isomp4")] {
        let path = fixtures.join(name);
        let audio = decode(&path, &DecodeLimits::default()).expect("it is decoded");
        // A recorder runs a little longer than the sound, so another reader says how long. Of
        // the 80 ms that MP4 says are the encoder's, only the first packet's 60 are left out.
        let samples_off = audio.samples.len().abs_diff(read_by_ffmpeg(&path).len());
        assert!(samples_off < 480, "{name}: {samples_off} samples more or less");
        let alike = correlation(&speech_like(SPEECH_RATE), &audio.samples, 1600);
        assert!(alike > 0.95, "{name}: correlation {alike:.3}");
        let info = probe(&path).expect("it is a recording");
        assert_eq!((info.container, info.codec), (container, "opus"));
    }
}

#[test]
fn mp4_as_safari_and_telephones_record_it_is_decoded() {
    let dir = workshop();
    let fragmented = "-ac 1 -c:a aac -f mp4 -movflags frag_keyframe+empty_moov+default_base_moof";
    assert_same_sound(&make_live(dir.path(), "safari.mp4", fragmented));
    for (name, options) in [
        ("memo.m4a", "-ar 44100 -ac 1 -c:a aac -b:a 64k"),
        ("fast.m4a", "-ar 48000 -ac 2 -c:a aac -movflags +faststart"),
        ("lossless.m4a", "-ar 44100 -ac 2 -c:a alac"),
        ("stream.aac", "-ar 44100 -ac 2 -c:a aac -f adts"),
        ("film.mp4", "-f lavfi -i testsrc=d=6:s=64x48:r=5 -map 0:a -map 1:v -c:a aac -c:v mpeg4"),
    ] {
        assert_same_sound(&make(dir.path(), name, options));
    }
}

#[test]
fn the_name_of_a_file_does_not_matter() {
    let dir = workshop();
    let flac = make(dir.path(), "sound.flac", "-ar 44100");
    for name in ["upload", "sound.mp3", "sound.webm.txt"] {
        let renamed = dir.path().join(name);
        std::fs::copy(&flac, &renamed).expect("copied");
        assert_same_sound(&renamed);
        assert_eq!(probe(&renamed).expect("a recording").container, "flac");
    }
}

#[test]
fn the_channels_are_averaged() {
    let dir = workshop();
    let left = make(dir.path(), "left.wav", "-af pan=stereo|c0=c0");
    assert_same_sound(&left);
    let audio = decode(&left, &DecodeLimits::default()).expect("decoded");
    let loudest = |samples: &[f32]| samples.iter().copied().map(f32::abs).fold(0.0, f32::max);
    let ratio = loudest(&audio.samples) / loudest(&speech_like(SPEECH_RATE));
    assert!((ratio - 0.5).abs() < 0.05, "one channel of two came out {ratio} as loud");
}

#[test]
fn a_recording_longer_than_allowed_is_stopped() {
    let dir = workshop();
    let path = dir.path().join("source.wav");
    let result = decode(&path, &DecodeLimits { max_audio_s: 5 });
    let Err(error @ DecodeError::TooLong { max_audio_s: 5 }) = result else { panic!("{result:?}") };
    assert!(error.to_string().contains("5 seconds"), "{error}");
    assert!(decode(&path, &DecodeLimits { max_audio_s: 6 }).is_ok());
}

#[test]
fn a_live_recording_that_was_cut_off_is_decoded_as_far_as_it_goes() {
    let dir = workshop();
    for path in [
        make(dir.path(), "cut.ogg", "-c:a libopus -page_duration 100000"),
        make_live(dir.path(), "cut.webm", "-c:a libopus -f webm -live 1"),
        make(dir.path(), "cut.mp3", "-b:a 128k"),
    ] {
        cut(&path, 0.5);
        let audio = decode(&path, &DecodeLimits::default())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let ms = audio.duration_ms();
        assert!((1500..4500).contains(&ms), "{}: {ms} ms", path.display());
    }
}

/// Shortens a file to a `share` of its length.
fn cut(path: &Path, share: f64) {
    let bytes = std::fs::read(path).expect("read");
    std::fs::write(path, &bytes[..(bytes.len() as f64 * share) as usize]).expect("written");
}

/// A second of sound as a WAV file whose header was changed: `(offset, bytes)`.
fn forged_wav(changes: &[(usize, &[u8])]) -> Vec<u8> {
    let samples = speech_like(SPEECH_RATE)[..16_000].to_vec();
    let mut bytes = wav_bytes(&Audio { sample_rate: SPEECH_RATE, samples });
    for (offset, change) in changes {
        bytes[*offset..offset + change.len()].copy_from_slice(change);
    }
    bytes
}

/// Bytes without any order, from a linear congruential generator.
fn random(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// Writes `bytes` as a file and checks that both doors refuse it with a sentence.
#[track_caller]
fn assert_refused(dir: &Path, name: &str, bytes: &[u8]) -> DecodeError {
    let path = dir.join(name);
    std::fs::write(&path, bytes).expect("written");
    let began = Instant::now();
    let error = match decode(&path, &DecodeLimits::default()) {
        Ok(audio) => panic!("{name} was decoded to {} ms of sound", audio.duration_ms()),
        Err(error) => error,
    };
    let _ = probe(&path);
    assert!(began.elapsed() < Duration::from_secs(10), "{name} took {:?}", began.elapsed());
    let sentence = error.to_string();
    assert!(sentence.ends_with('.') && sentence.contains(' '), "{name}: {sentence}");
    println!("{name}: {sentence}");
    error
}

#[test]
fn what_is_no_recording_is_called_by_its_name() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let html = b"<!DOCTYPE html><html><body>404</body></html>".repeat(50);
    let zip = [&b"PK\x03\x04\x14\0\0\0\x08\0"[..], &random(20_000, 1)].concat();
    let png = [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &random(20_000, 2)].concat();
    let cases: [(&str, &[u8], &str); 7] = [
        ("empty.wav", b"", "an empty file"),
        ("page.mp3", &html, "a web page"),
        ("archive.ogg", &zip, "a ZIP archive"),
        ("picture.webm", &png, "a PNG picture"),
        ("notes.m4a", &b"Remember the milk.\n".repeat(200), "a text"),
        ("zeros.flac", &[0; 10_000], "a file of zeros"),
        ("one-byte.wav", b"\x01", "data of no known kind"),
    ];
    for (name, bytes, found) in cases {
        let error = assert_refused(dir.path(), name, bytes);
        assert!(matches!(error, DecodeError::NotAudio { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains(found), "{name}: {error}");
        assert!(probe(&dir.path().join(name)).is_err(), "{name} passed the probe");
    }
}

#[test]
fn random_bytes_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for seed in 0..12 {
        let name = format!("random-{seed}.mp3");
        assert_refused(dir.path(), &name, &random(10_000 << (seed % 5), seed));
        assert!(probe(&dir.path().join(&name)).is_err(), "{name} passed the probe");
    }
}

#[test]
fn a_wav_file_that_lies_is_stopped() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let gigabytes = 0x7fff_ff00_u32.to_le_bytes();
    let cases: [(&str, Vec<u8>); 9] = [
        ("header-only.wav", forged_wav(&[])[..44].to_vec()),
        ("open-and-empty.wav", forged_wav(&[(4, &[0xff; 4]), (40, &[0xff; 4])])[..44].to_vec()),
        ("claims-2-gb.wav", forged_wav(&[(4, &gigabytes), (40, &gigabytes)])),
        ("cut.wav", forged_wav(&[])[..10_000].to_vec()),
        ("0-hz.wav", forged_wav(&[(24, &[0; 4])])),
        ("1-hz.wav", forged_wav(&[(24, &[1, 0, 0, 0])])),
        ("4-ghz.wav", forged_wav(&[(24, &[0xff; 4])])),
        ("0-channels.wav", forged_wav(&[(22, &[0, 0])])),
        ("65535-channels.wav", forged_wav(&[(22, &[0xff, 0xff])])),
    ];
    for (name, bytes) in cases {
        assert_refused(dir.path(), name, &bytes);
    }
    let error = assert_refused(dir.path(), "0-bits.wav", &forged_wav(&[(34, &[0, 0])]));
    assert!(!matches!(error, DecodeError::NotAudio { .. }), "{error}");
}

#[test]
fn a_header_without_sound_is_refused_in_every_container() {
    let dir = workshop();
    for (name, options) in [
        ("head.ogg", "-c:a libopus"),
        ("head-vorbis.ogg", "-c:a libvorbis"),
        ("head.webm", "-c:a libopus"),
        ("head.mp4", "-c:a aac -movflags +faststart"),
        ("head.flac", ""),
        ("head.mp3", "-b:a 128k"),
        ("head.aiff", ""),
        ("head.caf", ""),
    ] {
        let path = make(dir.path(), name, options);
        let bytes = std::fs::read(&path).expect("read");
        for length in [5, 16, 40, 64] {
            assert_refused(dir.path(), name, &bytes[..length]);
        }
    }
}

#[test]
fn a_file_that_ends_before_the_length_in_its_header_is_damaged() {
    let dir = workshop();
    for (name, options) in [
        ("cut.wav", ""),
        ("cut.flac", ""),
        ("cut.m4a", "-c:a aac -movflags +faststart"),
        ("cut-index-last.m4a", "-c:a aac"),
        ("cut.aiff", ""),
    ] {
        let path = make(dir.path(), name, options);
        cut(&path, 0.6);
        let error = assert_refused(dir.path(), name, &std::fs::read(&path).expect("read"));
        assert!(matches!(error, DecodeError::Damaged { .. }), "{name}: {error:?}");
    }
}

#[test]
fn a_video_without_sound_is_told_from_a_recording() {
    let dir = workshop();
    for name in ["silent.mp4", "silent.mkv"] {
        let options = "-f lavfi -i testsrc=d=1:s=64x48:r=5 -map 1:v -c:v mpeg4";
        let path = make(dir.path(), name, options);
        for result in [probe(&path).err(), decode(&path, &DecodeLimits::default()).err()] {
            let Some(DecodeError::NoSound { .. }) = result else { panic!("{name}: {result:?}") };
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error_with_its_path() {
    let error = probe(Path::new("nowhere/prompt.wav")).expect_err("there is no such file");
    assert!(error.to_string().contains("nowhere/prompt.wav"), "{error}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(matches!(probe(folder.path()), Err(DecodeError::Io { .. })));
}
