//! Shared by the integration tests.
#![allow(dead_code, reason = "every test crate uses its own part of this module")]

pub mod drive;
pub mod encoder;
pub mod jobs;
pub mod process;
pub mod snapshot;
pub mod sound;
pub mod speech;
pub mod stages;
pub mod voices;
pub mod web;

use std::path::PathBuf;

use mega_pipeline::engine::{Cancel, Control, Hardware};

/// A file of a model that `script/test` has pulled.
///
/// # Panics
/// When it is not there: tests that need weights fail, they do not skip.
pub fn model_file(model: &str, file: &str) -> PathBuf {
    let path = models_dir().join(model).join(file);
    assert!(path.is_file(), "{} is missing: run script/test, which pulls it", path.display());
    path
}

/// Where the tests keep weights: `MEGA_MODELS_DIR`, or the user's cache.
pub fn models_dir() -> PathBuf {
    std::env::var_os("MEGA_MODELS_DIR").map_or_else(|| cache_dir().join("models"), PathBuf::from)
}

/// What the scripts keep outside the clone.
pub fn cache_dir() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache"),
        PathBuf::from,
    );
    cache.join("mega-pipeline")
}

/// Two threads of the CPU.
pub fn hardware() -> Hardware {
    Hardware { threads: 2, gpu: None }
}

/// Calls `work` with a control that nobody cancels and whose progress nobody hears.
pub fn undisturbed<T>(work: impl FnOnce(&Control<'_>) -> T) -> T {
    work(&Control { cancel: &Cancel::default(), progress: &|_| {} })
}

/// Opens ONNX Runtime and espeak-ng, which every voice needs.
pub fn start_speech() {
    use mega_pipeline::engine::{onnx, phonemes};
    onnx::init(&model_file("onnxruntime", "libonnxruntime.so")).expect("ONNX Runtime opens");
    phonemes::init(&models_dir().join("espeak-ng-data")).expect("espeak-ng starts");
}
