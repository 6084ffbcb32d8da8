//! Nothing is kept or sent that nobody asked for.

mod support;

use support::process::{mega, run};

#[test]
fn no_library_keeps_figures_of_its_use_in_the_home_folder() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(dir.path().join("text.txt"), "Hello.").unwrap();
    let mut program = mega(dir.path());
    // What builds and tests set, users do not.
    for name in ["ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI", "XDG_CACHE_HOME"] {
        program.env_remove(name);
    }
    program.env("HOME", &home);
    let said = run(program.args(["run", "text.txt", "--only", "synthesis_audio_en"]));
    assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stderr));
    let kept: Vec<_> = std::fs::read_dir(&home).unwrap().collect();
    assert!(kept.is_empty(), "{kept:?}");
}
