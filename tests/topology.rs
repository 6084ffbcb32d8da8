//! `bench topology` on stubs: three arrangements of the same stages, each a set of real processes.

mod support;

use support::process::{mega, run};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/prompt.flac");

#[test]
fn the_arrangements_do_the_same_work_and_are_measured_alike() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(mega(dir.path()).args([
        "bench",
        "topology",
        SAMPLE,
        "--stub",
        "--rounds",
        "1",
        "--jobs",
        "2",
        "--poll-ms",
        "20",
        "--concurrency",
        "1,2",
        "--json",
        "figures.json",
        "--svg",
        "picture.svg",
    ]));
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows.iter().all(|row| row.matches('|').count() == 5), "{table}");
    assert!(table.contains("| commands to start it; settings to write | 1; 0 | 6; 31 | 5; 20 |"));

    let figures = std::fs::read_to_string(dir.path().join("figures.json")).unwrap();
    let figures: serde_json::Value = serde_json::from_str(&figures).unwrap();
    let names: Vec<_> = figures.as_array().unwrap().iter().map(|it| &it["topology"]).collect();
    assert_eq!(names, ["monolith", "http", "bucket"]);
    for round in figures.as_array().unwrap() {
        assert_eq!(round["stages_s"].as_array().unwrap().len(), 5);
        assert_eq!(round["jobs_per_minute"].as_array().unwrap().len(), 2);
        for figure in ["ready_s", "first_result_s", "job_s", "idle_bytes", "peak_bytes"] {
            assert!(round[figure].as_f64().unwrap() > 0.0, "{figure}: {round}");
        }
    }
    // The monolith hands nothing on: what moves is the recording on its way in.
    let moved = |at: usize| figures[at]["moved_bytes_per_job"].as_u64().unwrap();
    assert!(moved(1) > moved(0), "{figures}");

    let picture = std::fs::read_to_string(dir.path().join("picture.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains(">monolith<"), "{picture}");
}

#[test]
fn a_recording_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(mega(dir.path()).args(["bench", "topology", "none.flac", "--stub"]));
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("none.flac: no such file"), "{told}");
}
