//! A folder laid out as the course's bucket, taken through the stages.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use mega_pipeline::stage::StageKind;
use support::process::{interrupt, mega, run};
use support::web::wav;

/// The folders of a group, in the order of the stages.
const RESULTS: [(&str, &str); 5] = [
    ("text_prompts", "txt"),
    ("text_paragraphs", "txt"),
    ("text_audios", "mp3"),
    ("text_translated", "txt"),
    ("output_audios", "mp3"),
];

fn batch(dir: &Path, arguments: &[&str]) -> Output {
    run(mega(dir).args(["batch", "bucket", "--group", "ours", "--stub"]).args(arguments))
}

fn bucket(dir: &Path) -> std::path::PathBuf {
    let recordings = dir.join("bucket/input_audios");
    std::fs::create_dir_all(&recordings).expect("written");
    for name in ["input-01.wav", "input-02.wav"] {
        std::fs::write(recordings.join(name), wav(300)).expect("written");
    }
    std::fs::write(recordings.join(".DS_Store"), b"not a recording").expect("written");
    dir.join("bucket")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn every_recording_gets_its_five_results_under_the_names_of_the_course() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = bucket(dir.path());
    let output = batch(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said(&output).starts_with("2 recordings: 10 results made, 0 there already, 0 rec"));
    for name in ["input-01", "input-02"] {
        for (folder, extension) in RESULTS {
            let path = bucket.join(folder).join("ours").join(format!("{name}.{extension}"));
            let bytes = std::fs::read(&path).unwrap_or_else(|_| panic!("{}", path.display()));
            match extension {
                "mp3" => assert_eq!(bytes[0], 0xff, "{folder} is no MP3"),
                _ => assert!(String::from_utf8(bytes).unwrap().contains("stub transcript")),
            }
        }
    }
    let translated = bucket.join("text_translated/ours/input-01.txt");
    assert!(std::fs::read_to_string(translated).unwrap().starts_with("[fr]"));
}

#[test]
fn what_is_there_is_not_made_again_unless_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = bucket(dir.path());
    batch(dir.path(), &[]);
    let lost = bucket.join("text_translated/ours/input-02.txt");
    std::fs::remove_file(&lost).unwrap();
    // Somebody's own correction is what the later stages go on from.
    let corrected = bucket.join("text_paragraphs/ours/input-02.txt");
    std::fs::write(corrected, "Corrected by hand.\n").unwrap();
    let again = said(&batch(dir.path(), &[]));
    assert!(again.contains("1 results made, 9 there already"), "{again}");
    assert_eq!(std::fs::read_to_string(&lost).unwrap(), "[fr] Corrected by hand.");
    let forced = said(&batch(dir.path(), &["--force", "--target", "pt"]));
    assert!(forced.contains("10 results made, 0 there already"), "{forced}");
    assert!(std::fs::read_to_string(&lost).unwrap().starts_with("[pt] This is a stub"));
}

#[test]
fn a_folder_without_recordings_or_a_group_that_is_a_path_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(batch(dir.path(), &[]).status.code(), Some(1));
    bucket(dir.path());
    for group in ["", "..", "a/b", "/a"] {
        let arguments = ["batch", "bucket", "--group", group, "--stub"];
        let refused = run(mega(dir.path()).args(arguments));
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(told.contains("name of a folder"), "{group}: {told}");
    }
}

#[test]
fn a_recording_that_fails_does_not_keep_the_others_from_their_results() {
    let dir = tempfile::tempdir().unwrap();
    let recordings = dir.path().join("bucket/input_audios");
    std::fs::create_dir_all(&recordings).unwrap();
    std::fs::write(recordings.join("a-picture.mp3"), b"\x89PNG\r\n\x1a\n").unwrap();
    std::fs::write(recordings.join("b-done.mp3"), b"its results are there").unwrap();
    for (folder, extension) in RESULTS {
        let group = dir.path().join("bucket").join(folder).join("ours");
        std::fs::create_dir_all(&group).unwrap();
        std::fs::write(group.join(format!("b-done.{extension}")), b"made earlier").unwrap();
    }
    let arguments =
        ["batch", "bucket", "--group", "ours", "--set=model.speech-to-text=whisper-tiny"];
    let output = run(mega(dir.path()).args(arguments));
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("0 results made, 5 there already, 1 recordings failed"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("a-picture.mp3") && told.contains("PNG"), "{told}");
}

#[test]
fn a_stage_alone_does_what_the_one_before_it_has_left_and_waits_for_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = bucket(dir.path());
    let output = batch(dir.path(), &["--only", "generate_text"]);
    assert!(said(&output).starts_with("2 recordings: 0 results made, 0 there already, 0 rec"));
    let prompts = bucket.join("text_prompts/ours");
    std::fs::create_dir_all(&prompts).unwrap();
    std::fs::write(prompts.join("input-02.txt"), "Somebody else heard this.\n").unwrap();
    let output = batch(dir.path(), &["--only", "generate_text"]);
    assert!(said(&output).starts_with("2 recordings: 1 results made"), "{output:?}");
    let made = std::fs::read_to_string(bucket.join("text_paragraphs/ours/input-02.txt")).unwrap();
    assert!(made.starts_with("Somebody else heard this. This is where"), "{made}");
    assert!(!bucket.join("text_audios").exists());
}

#[test]
fn five_watchers_hand_a_recording_on_through_the_folder_until_they_are_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = bucket(dir.path());
    let mut watchers: Vec<_> = StageKind::ALL
        .iter()
        .map(|stage| {
            mega(dir.path())
                .args(["batch", "bucket", "--group", "ours", "--stub", "--watch", "0.02"])
                .args(["--only", stage.as_str()])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    // A watcher prints a line for each result, its path first.
    let mut told: Vec<_> = watchers
        .iter_mut()
        .map(|watcher| BufReader::new(watcher.stdout.take().unwrap()).lines())
        .collect();
    for (lines, (folder, _)) in told.iter_mut().zip(RESULTS) {
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        let made = lines.next().unwrap().unwrap();
        assert!(made.starts_with(&format!("bucket/{folder}/ours/input-01.")), "{made}");
        lines.next().unwrap().unwrap();
    }
    let mut last = told.pop().unwrap();
    assert!(bucket.join("output_audios/ours/input-02.mp3").is_file());
    // It comes while they watch.
    std::fs::write(bucket.join("input_audios/input-03.wav"), wav(300)).unwrap();
    let made = last.next().unwrap().unwrap();
    assert!(made.starts_with("bucket/output_audios/ours/input-03.mp3\t"), "{made}");
    for watcher in &mut watchers {
        interrupt(watcher);
        assert_eq!(watcher.wait().unwrap().code(), Some(130));
    }
}

#[test]
fn a_watcher_that_looks_once_an_hour_heeds_an_interrupt_at_once() {
    let dir = tempfile::tempdir().unwrap();
    bucket(dir.path());
    let mut watcher = mega(dir.path())
        .args(["batch", "bucket", "--group", "ours", "--stub", "--watch", "3600"])
        .args(["--only", "transcribe_audio"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Ready, and both recordings.
    let told = BufReader::new(watcher.stdout.take().unwrap()).lines().take(3).count();
    assert_eq!(told, 3);
    interrupt(&watcher);
    let (sender, ended) = channel();
    std::thread::spawn(move || sender.send(watcher.wait().unwrap().code()));
    assert_eq!(ended.recv_timeout(Duration::from_secs(10)).unwrap(), Some(130));
}
