//! The program as a script meets it: names, exit codes and messages, without models.

mod support;

use std::net::TcpListener;
use std::process::{Output, Stdio};

use support::process::{Server, mega, run};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/prompt.flac");

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_stub_run_writes_the_files_that_scripts_rely_on() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(mega(dir.path()).args(["run", SAMPLE, "--stub", "--out", "out"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let mut names: Vec<String> = std::fs::read_dir(dir.path().join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "job.json",
            "prompt.flac",
            "speech.en.wav",
            "speech.fr.wav",
            "text.txt",
            "transcript.txt",
            "translation.fr.txt"
        ]
    );
    // Standard error is no terminal here: plain lines, no bars.
    let told = stderr(&output);
    assert!(told.contains("transcribe_audio: started") && !told.contains('\u{1b}'), "{told}");
}

#[test]
fn one_stage_runs_alone_on_its_kind_of_input() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.txt"), "Hello there.").unwrap();
    let output = run(mega(dir.path()).args([
        "run",
        "notes.txt",
        "--stub",
        "--only",
        "translate_text",
        "--target",
        "pt",
        "--out",
        "out",
    ]));
    assert!(output.status.success(), "{}", stderr(&output));
    let translation = std::fs::read_to_string(dir.path().join("out/translation.pt.txt")).unwrap();
    assert!(translation.contains("Hello there."), "{translation}");
    assert!(!dir.path().join("out/job.json").exists());
}

#[test]
fn a_missing_recording_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(mega(dir.path()).args(["run", "gone.wav", "--stub"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("gone.wav"), "{}", stderr(&output));
}

#[test]
fn an_unknown_setting_ends_with_code_2_and_names_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(mega(dir.path()).arg("config").env("MEGA_LISTN", "x"));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean `MEGA_LISTEN`?"), "{}", stderr(&output));
}

#[test]
fn config_prints_every_value_with_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mega-pipeline.toml"), "threads = 1\n").unwrap();
    let output = run(mega(dir.path()).args(["config", "--json", "--listen", "127.0.0.1:9"]));
    let config: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(config["threads"]["value"], "1");
    assert_eq!(config["threads"]["origin"], "mega-pipeline.toml");
    assert_eq!(config["listen"]["origin"], "flag --listen");
    assert_eq!(config["offline"]["origin"], "environment MEGA_OFFLINE");
    assert_eq!(config["seed"]["origin"], "default");
    let plain = run(mega(dir.path()).arg("config"));
    assert!(stdout(&plain).contains("threads = 1  # mega-pipeline.toml"), "{}", stdout(&plain));
}

#[test]
fn a_port_that_is_taken_is_told_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(mega(dir.path()).args(["serve", "--stub", "--listen", &address]));
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(told.contains(&address) && told.contains("--listen"), "{told}");
}

#[test]
fn the_first_start_runs_the_bundled_sample_and_the_second_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = |server: &Server| -> Vec<serde_json::Value> {
        let (status, body) = server.request("GET", "/api/v1/jobs", "", b"");
        assert_eq!(status, 200);
        let list: serde_json::Value = serde_json::from_slice(&body).unwrap();
        list["jobs"].as_array().unwrap().clone()
    };
    for _ in 0..2 {
        let server = Server::start(dir.path(), &["--stub", "--sample"]);
        let list = jobs(&server);
        assert_eq!(list.len(), 1);
        let job = server.finished(list[0]["id"].as_str().unwrap());
        assert_eq!(job["state"], "succeeded");
        assert_eq!(server.terminate(), Some(0));
    }
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Server::start(dir.path(), &["--stub"]);
    let output = run(mega(dir.path()).args(["serve", "--stub", "--listen", "127.0.0.1:0"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("in use by another"), "{}", stderr(&output));
}

#[test]
fn missing_models_end_with_code_3_and_the_command_that_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    let output =
        run(mega(dir.path()).args(["run", SAMPLE]).env("MEGA_MODELS_DIR", dir.path().join("none")));
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("models pull"), "{}", stderr(&output));
}

#[test]
fn completions_are_printed_for_the_shell_that_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(mega(dir.path()).args(["completions", "bash"]));
    assert!(stdout(&output).contains("mega-pipeline"), "{}", stderr(&output));
}

#[test]
fn the_stub_benchmark_has_a_row_for_each_stage() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["bench", "stages", SAMPLE, "--stub", "--runs", "1", "--json", "--svg", "it.svg"];
    let output = run(mega(dir.path()).args(args));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 5);
    let picture = std::fs::read_to_string(dir.path().join("it.svg")).unwrap();
    assert!(picture.contains(">first<") && picture.contains(">translate_text<"), "{picture}");
}

#[test]
fn the_stub_chain_is_measured_the_first_time_and_warm() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["bench", "chain", SAMPLE, "--stub", "--runs", "2", "--json", "it", "--svg", "s"];
    let output = run(mega(dir.path()).args(args));
    let table = stdout(&output);
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).collect();
    assert_eq!(rows.len(), 7, "{table}{}", stderr(&output));
    assert!(rows[1].starts_with("| transcribe_audio |") && rows[6].starts_with("| all |"));
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let figures: serde_json::Value = serde_json::from_str(&read("it")).unwrap();
    assert_eq!(figures["warm"].as_array().unwrap().len(), 2);
    assert_eq!(figures["first"]["stages_s"].as_array().unwrap().len(), 5);
    let picture = read("s");
    assert!(picture.contains(">warm<") && picture.contains(">synthesis_audio<"), "{picture}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_program_quietly() {
    use std::os::unix::process::ExitStatusExt;
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = mega(dir.path()).arg("config").stdout(writer).stderr(Stdio::piped()).spawn();
    let output = child.unwrap().wait_with_output().unwrap();
    assert_eq!(stderr(&output), "");
    // SIGPIPE, as every other program ends there.
    assert_eq!(output.status.signal(), Some(13));
}

#[test]
fn the_voices_are_listed_with_all_that_a_choice_needs() {
    let dir = tempfile::tempdir().unwrap();
    let plain = stdout(&run(mega(dir.path()).arg("voices")));
    let line = |id: &str| plain.lines().find(|line| line.contains(id)).map(ToOwned::to_owned);
    let siwis = line("kokoro-voice-ff_siwis").expect("it is in the catalogue");
    for part in ["fr", "Kokoro", "24000 Hz", "Apache-2.0", "French"] {
        assert!(siwis.contains(part), "{siwis}");
    }
    let only = run(mega(dir.path()).args(["voices", "pt", "--json"]));
    let voices: serde_json::Value = serde_json::from_slice(&only.stdout).unwrap();
    let voices = voices.as_array().expect("a list");
    assert!(
        voices.len() >= 2 && voices.iter().all(|voice| voice["language"] == "pt"),
        "{voices:?}"
    );
    let unknown = run(mega(dir.path()).args(["voices", "xx"]));
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("en, es, fr"), "{}", stderr(&unknown));
}

#[test]
fn voices_and_instruction_of_a_run_are_what_was_typed() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(mega(dir.path())
        .args(["run", SAMPLE, "--stub", "--json", "--voice-en", "a"])
        .args(["--voice", "b", "--instruction", "Answer as a pirate would."]));
    assert!(output.status.success(), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["options"]["voice_en"], "a");
    assert_eq!(report["options"]["voice"], "b");
    assert_eq!(report["options"]["instruction"], "Answer as a pirate would.");
    let both = ["run", SAMPLE, "--stub", "--template", "free", "--instruction", "x"];
    assert_eq!(run(mega(dir.path()).args(both)).status.code(), Some(2));
}

#[test]
fn health_tells_whether_the_server_answers() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--stub"]);
    let health = |address: &str, more: &[&str]| {
        run(mega(dir.path()).args(["health", "--listen", address]).args(more))
    };
    let well = health(&server.address, &[]);
    assert!(well.status.success(), "{}", stderr(&well));
    assert_eq!(stdout(&well), "ok\n");
    // As in a container, where the server listens on every address.
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    assert!(health(&format!("0.0.0.0:{port}"), &["--ready"]).status.success());
    drop(server);
    let gone = health(&format!("127.0.0.1:{port}"), &[]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(stderr(&gone).contains("does not answer"), "{}", stderr(&gone));
}

#[test]
fn the_licences_of_program_crates_libraries_and_models_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    let plain = run(mega(dir.path()).arg("licenses"));
    assert!(plain.status.success(), "{}", stderr(&plain));
    let text = stdout(&plain);
    // A line is what was found in it, with one space between two columns.
    let lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        lines[0].starts_with(&format!("mega-pipeline {version} is under GPL-3.0-or-later:")),
        "{text}"
    );
    for line in [
        "espeak-ng GPL-3.0-or-later part of the binary espeak-rs-sys",
        "ONNX Runtime MIT loaded at run time ort",
        "whisper-base.en MIT",
        "kokoro-voice-ff_siwis Apache-2.0",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}: {text}");
    }
    let serde = |line: &&String| line.starts_with("serde 1.") && line.ends_with("Apache-2.0");
    assert_eq!(lines.iter().filter(serde).count(), 1, "{text}");

    let json = run(mega(dir.path()).args(["licenses", "--json"]));
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["program"]["licence"], "GPL-3.0-or-later");
    let row = |list: &str, key: &str, name: &str| {
        let rows = report[list].as_array().expect("a list");
        rows.iter().find(|row| row[key] == name).cloned().expect("it is in the list")
    };
    assert_eq!(row("libraries", "name", "LAME")["licence"], "LGPL-2.0-or-later");
    assert_eq!(row("libraries", "name", "ONNX Runtime")["how"], "loaded");
    assert_eq!(row("models", "id", "whisper-base.en")["licence"], "MIT");
    assert_eq!(row("crates", "name", "symphonia")["licence"], "MPL-2.0");
    assert_eq!(row("crates", "name", "symphonia")["linked"], true);
    assert_eq!(row("crates", "name", "bindgen")["linked"], false);
}

#[test]
fn a_pair_of_the_catalogue_is_pulled_without_asking_which_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let pull =
        |pair: &str| run(mega(dir.path()).args(["--offline", "models", "pull", "--pair", pair]));
    let output = pull("en-de");
    assert!(stdout(&output).contains("translation-en-de: failed"), "{}", stdout(&output));
    let output = pull("en-cs");
    assert!(stderr(&output).contains("asked online"), "{}", stderr(&output));
}
