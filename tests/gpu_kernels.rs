//! Promise: the kernels that take a token through the language model on a GPU compute what they
//! should. No GPU is needed: they are compiled for the CPU, each thread of a kernel a thread.
#![cfg(target_arch = "x86_64")]

use std::path::Path;
use std::process::Command;

#[test]
fn kernels_for_a_gpu_compute_what_the_formulas_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().expect("a folder");
    let program = dir.path().join("compare");
    let compiled = Command::new("g++")
        .args(["-std=c++20", "-O1", "-mf16c", "-pthread", "-Wall", "-Wextra", "-Werror"])
        // Kernels count in `int`, blocks in `unsigned`; unrolling is nvcc's.
        .args(["-Wno-sign-compare", "-Wno-unknown-pragmas"])
        .args(["-x", "c++", "tests/gpu_kernels/compare.cpp", "-Itests/gpu_kernels"])
        .args(["-Isrc/engine/llm/transformer", "-o"])
        .arg(&program)
        .current_dir(root)
        .output()
        .expect("g++ is there: script/bootstrap installs it");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let compared = Command::new(program).output().expect("it starts");
    let told = String::from_utf8_lossy(&compared.stdout);
    assert!(compared.status.success(), "{told}{:?}", compared.status);
}
