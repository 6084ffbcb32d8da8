//! A missing or wrong ONNX Runtime is an error at once, never a hang.
//!
//! None of these tests opens a good library: which one is in use is state of the
//! whole process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mega_pipeline::engine::{EngineError, Hardware, onnx};

/// The error of `init` and of `version`, which must agree and come within two seconds.
fn refused(library: &Path) -> EngineError {
    let (sender, receiver) = mpsc::channel();
    let path = library.to_owned();
    thread::spawn(move || sender.send((onnx::init(&path), onnx::version(&path))));
    let (init, version) =
        receiver.recv_timeout(Duration::from_secs(2)).expect("an answer within two seconds");
    let error = init.expect_err("the library is refused");
    assert_eq!(error.to_string(), version.expect_err("it has no version").to_string());
    error
}

#[test]
fn a_library_that_is_not_there_is_named_as_missing() {
    let error = refused(Path::new("/nowhere/libonnxruntime.so"));
    assert!(matches!(error, EngineError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("/nowhere/libonnxruntime.so"), "{error}");
}

#[test]
fn a_text_file_is_no_library() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("libonnxruntime.so");
    fs::write(&path, "This is not a library. ".repeat(1000)).expect("a file");
    let error = refused(&path);
    assert!(matches!(error, EngineError::Load { .. }), "{error}");
    fs::write(&path, "").expect("an empty file");
    refused(&path);
}

#[test]
fn another_library_is_not_onnx_runtime() {
    let error = refused(&math_library());
    assert!(error.to_string().contains("not ONNX Runtime"), "{error}");
}

#[test]
fn a_model_loaded_before_the_library_is_an_error() {
    let hardware = Hardware { threads: 1, gpu: None };
    let error = onnx::session(Path::new("model.onnx"), &hardware).expect_err("nothing is open");
    assert!(error.to_string().contains("has not been opened"), "{error}");
}

/// The C library's mathematics, which every Linux machine has and every test uses.
fn math_library() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").expect("a list of loaded libraries");
    let path = maps
        .split_whitespace()
        .find(|word| word.starts_with('/') && word.contains("/libm.so"))
        .expect("the tests use the C mathematics library");
    path.into()
}
