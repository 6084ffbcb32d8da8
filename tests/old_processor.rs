//! A processor that is too old is told in a sentence; one of the x86-64-v3 level will do.
//!
//! The processors are emulated by qemu-user.
#![cfg(target_arch = "x86_64")]

use std::process::{Command, Output};

fn on_processor(model: &str) -> Output {
    Command::new("qemu-x86_64")
        .args(["-cpu", model, env!("CARGO_BIN_EXE_mega-pipeline"), "--version"])
        .output()
        .expect("qemu-user is installed: script/test does that")
}

#[test]
fn a_processor_of_2008_gets_a_sentence_and_no_illegal_instruction() {
    let output = on_processor("Nehalem");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("lacks AVX2") && told.contains("x86-64-v3"), "{told}");
}

#[test]
fn a_processor_of_2013_is_enough_to_start() {
    let output = on_processor("Haswell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("mega-pipeline "));
}
