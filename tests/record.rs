//! `record` as a person and a script meet it. ALSA is told of other devices than this
//! machine's, so that the tests find the same everywhere.
#![cfg(all(target_os = "linux", feature = "sound-device"))]

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use mega_pipeline::audio::read_wav;
use support::process::mega;

/// Nothing at all.
const NO_DEVICES: &str = "";
/// A microphone that gives silence, as fast as it is read.
const SILENT_MICROPHONE: &str = "pcm.!default { type null }\n";

/// `record` with the arguments, on a machine with the devices of `alsa`.
fn record(dir: &Path, alsa: &str, arguments: &[&str]) -> Command {
    let config = dir.join("alsa.conf");
    std::fs::write(&config, alsa).expect("written");
    let mut command = mega(dir);
    command.env("ALSA_CONFIG_PATH", config).arg("record").args(arguments);
    command
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn without_a_microphone_the_way_without_one_is_named_with_code_5() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for arguments in [&["--stub"][..], &["--list-devices"], &["--stub", "--device", "Studio"]] {
        let mut command = record(dir.path(), NO_DEVICES, arguments);
        let output = command.stdin(Stdio::null()).output().expect("it starts");
        assert_eq!(output.status.code(), Some(5), "{arguments:?}: {}", told(&output));
        let told = told(&output);
        assert!(told.contains("microphone"), "{arguments:?}: {told}");
        assert!(told.contains("mega-pipeline run FILE"), "{arguments:?}: {told}");
        assert!(!told.contains("ALSA lib"), "ALSA talks: {told}");
    }
    assert!(!dir.path().join("data").exists(), "something was written");
}

#[test]
fn what_is_recorded_goes_through_the_stages_and_ends_at_the_longest_recording() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let arguments = ["--stub", "--out", "out", "--target", "pt", "--set", "max_audio_s=2"];
    // Enter is never pressed: standard input stays open until the program has ended.
    let mut child = record(dir.path(), SILENT_MICROPHONE, &arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let _enter = child.stdin.take().expect("standard input is a pipe");
    let output = child.wait_with_output().expect("it ends");
    let told = told(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("Press Enter to stop") && told.contains("2.0 s recorded"), "{told}");
    assert!(!told.contains('\r'), "a meter was drawn, and standard error is no terminal: {told}");
    let out = dir.path().join("out");
    assert_eq!(read_wav(&out.join("prompt.wav")).expect("a recording").duration_ms(), 2000);
    for name in ["transcript.txt", "speech.en.wav", "speech.pt.wav", "job.json"] {
        assert!(out.join(name).is_file(), "{name} is missing");
    }
}

#[test]
fn a_template_that_does_not_exist_is_told_before_anything_is_recorded() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut command = record(dir.path(), SILENT_MICROPHONE, &["--stub", "--template", "poem"]);
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let told = told(&output);
    assert!(told.contains("no template `poem`") && !told.contains("Recording"), "{told}");
}
