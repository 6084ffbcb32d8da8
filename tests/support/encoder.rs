//! Recordings in other formats, made by ffmpeg from a sound that is made here, and ffmpeg as
//! another reader to compare with.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mega_pipeline::audio::{Audio, write_wav};
use tempfile::TempDir;

use super::sound::speech_like;

/// A folder with [`speech_like`] in it, for ffmpeg to read.
pub fn workshop() -> TempDir {
    workshop_of(&Audio { sample_rate: 48_000, samples: speech_like(48_000) })
}

/// A folder with `source` in it, for ffmpeg to read.
pub fn workshop_of(source: &Audio) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_wav(&dir.path().join("source.wav"), source).expect("the source is written");
    dir
}

/// Has ffmpeg make `name` of the sound, with `options`.
pub fn make(dir: &Path, name: &str, options: &str) -> PathBuf {
    let result = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-y", "-i", "source.wav"])
        .args(options.split_whitespace())
        .arg(name)
        .current_dir(dir)
        .output()
        .expect("ffmpeg is installed: script/test sees to it");
    assert!(result.status.success(), "{name}: {}", String::from_utf8_lossy(&result.stderr));
    dir.join(name)
}

/// As [`make`], through a pipe, in which the muxer cannot go back to write lengths:
/// what a browser's recorder gives.
pub fn make_live(dir: &Path, name: &str, options: &str) -> PathBuf {
    let path = dir.join(name);
    let file = std::fs::File::create(&path).expect("created");
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-i", "source.wav"])
        .args(options.split_whitespace())
        .arg("pipe:1")
        .current_dir(dir)
        .stdout(Stdio::from(file))
        .status()
        .expect("ffmpeg is installed: script/test sees to it");
    assert!(status.success(), "{name}");
    path
}

/// What ffmpeg, an independent reader, makes of `path`: 16 kHz mono.
pub fn read_by_ffmpeg(path: &Path) -> Vec<f32> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "warning", "-i"])
        .arg(path)
        .args(["-f", "f32le", "-ac", "1", "-ar", "16000", "pipe:1"])
        .output()
        .expect("ffmpeg is installed: script/test sees to it");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{told}");
    let bytes = output.stdout.chunks_exact(4);
    bytes.map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}
