//! `doctor` finds each thing that can be broken, and says how to mend it.

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::process::{mega, run};
use support::{model_file, models_dir};

/// The checks by name, and the exit code.
fn doctor(command: &mut Command) -> (Vec<Value>, Option<i32>) {
    let output = run(command.args(["doctor", "--json"]));
    let checks: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (checks.as_array().expect("a list of checks").clone(), output.status.code())
}

fn check<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no check {name}"))
}

/// A models folder of its own that links to the real files, so that one can be broken.
fn linked_models(dir: &Path) -> std::path::PathBuf {
    let copy = dir.join("models");
    std::fs::create_dir(&copy).expect("a new folder");
    for entry in std::fs::read_dir(models_dir()).expect("the tests' models").flatten() {
        std::os::unix::fs::symlink(entry.path(), copy.join(entry.file_name())).expect("a link");
    }
    copy
}

/// Replaces the link to a model's folder by a folder with copies of its files.
fn unlink(models: &Path, model: &str) -> std::path::PathBuf {
    let folder = models.join(model);
    std::fs::remove_file(&folder).expect("a link");
    let copied = Command::new("cp").arg("-a").arg(models_dir().join(model)).arg(&folder).status();
    assert!(copied.expect("cp starts").success());
    folder
}

#[test]
fn a_machine_with_everything_passes() {
    let dir = tempfile::tempdir().unwrap();
    let (checks, code) = doctor(&mut mega(dir.path()));
    let failed: Vec<_> = checks.iter().filter(|check| check["state"] == "failed").collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(code, Some(0));
    assert_eq!(check(&checks, "onnx runtime")["state"], "ok");
    assert_eq!(check(&checks, "espeak-ng")["state"], "ok");
}

#[test]
fn a_damaged_model_is_found_by_its_hash() {
    let dir = tempfile::tempdir().unwrap();
    let models = linked_models(dir.path());
    let folder = unlink(&models, "silero-vad-onnx");
    let path = folder.join("silero_vad.onnx");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (checks, code) = doctor(mega(dir.path()).env("MEGA_MODELS_DIR", &models));
    assert_eq!(code, Some(1));
    let found = check(&checks, "voice-activity");
    assert_eq!(found["state"], "failed", "{found}");
    assert!(found["mend"].as_str().unwrap().contains("models pull"), "{found}");
}

#[test]
fn a_library_that_is_not_onnx_runtime_is_found_and_nothing_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let models = linked_models(dir.path());
    model_file("onnxruntime", "libonnxruntime.so");
    let folder = unlink(&models, "onnxruntime");
    std::fs::write(folder.join("libonnxruntime.so"), "this is no library").unwrap();
    let (checks, code) = doctor(mega(dir.path()).env("MEGA_MODELS_DIR", &models));
    assert_eq!(code, Some(1));
    assert_eq!(check(&checks, "onnx runtime")["state"], "failed");
}

#[test]
fn an_empty_models_folder_fails_every_role_with_the_command_that_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    let (checks, code) = doctor(mega(dir.path()).env("MEGA_MODELS_DIR", dir.path().join("none")));
    assert_eq!(code, Some(1));
    for role in ["speech-to-text", "text-generation", "voice-en", "onnx-runtime", "phonemes"] {
        let found = check(&checks, role);
        assert_eq!(found["state"], "failed", "{found}");
        let mend = found["mend"].as_str().unwrap();
        assert!(mend.contains(&format!("models pull {role}")), "{mend}");
    }
}

#[test]
fn a_port_that_is_taken_is_a_note() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (checks, _) = doctor(mega(dir.path()).env("MEGA_LISTEN", &address));
    let found = check(&checks, "address");
    assert_eq!(found["state"], "warning");
    assert!(found["mend"].as_str().unwrap().contains("--listen"), "{found}");
}

#[test]
fn a_data_folder_that_cannot_be_made_is_found() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let (checks, code) =
        doctor(mega(dir.path()).env("MEGA_DATA_DIR", dir.path().join("file").join("data")));
    assert_eq!(code, Some(1));
    let found = check(&checks, "data folder");
    assert!(found["mend"].as_str().unwrap().contains("MEGA_DATA_DIR"), "{found}");
}
