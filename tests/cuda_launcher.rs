//! Promise: where a program built for NVIDIA GPUs cannot start, a sentence says why.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the launcher for a program that repeats its arguments, where `ldd` prints `libraries`.
fn launch(libraries: &str) -> Output {
    let dir = tempfile::tempdir().expect("a folder");
    let script = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("executable");
        path
    };
    script("ldd", &format!("cat <<'END'\n{libraries}END"));
    let program = script("program", "echo \"$@\"");
    let path = std::env::var("PATH").expect("a path");
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/cuda-launcher"))
        .args(["serve", "--offline"])
        .env("PATH", format!("{}:{path}", dir.path().display()))
        .env("MEGA_PIPELINE_PROGRAM", program)
        .output()
        .expect("it starts")
}

#[test]
fn with_a_driver_the_program_gets_its_arguments() {
    let output = launch("\tlibcuda.so.1 => /lib/libcuda.so.1 (0x1)\n\tlibc.so.6 => /lib/l (0x2)\n");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "serve --offline\n");
}

#[test]
fn without_a_driver_a_sentence_says_so() {
    let output = launch("\tlibcublas.so.13 => not found\n\tlibcuda.so.1 => not found\n");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.starts_with("There is no NVIDIA driver here."), "{told}");
    assert_eq!(told.lines().count(), 1);
}

#[test]
fn other_libraries_that_are_missing_are_named() {
    let output = launch("\tlibcublas.so.13 => not found\n\tlibcurand.so.10 => not found\n");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("libcublas.so.13 libcurand.so.10"), "{told}");
}
