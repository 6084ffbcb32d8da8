//! The real server is killed at every place where it could hurt, and no accepted job is lost.
//!
//! The places are those of `src/jobs/fault.rs`, which debug builds have. Stub stages, real
//! SQLite, real files. `MEGA_SOAK=1` kills a thousand times instead of a hundred.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use mega_pipeline::jobs::{JobState, JobStore};
use mega_pipeline::stage::StageKind;
use serde_json::Value;
use support::jobs::{get, open};
use support::process::{Server, mega};

const PLACES: [&str; 12] = [
    "before_accept",
    "prompt_stored",
    "job_inserted",
    "accepted",
    "before_claim",
    "stage_started",
    "stage_done",
    "artifact_written",
    "artifact_renamed",
    "before_commit",
    "committed",
    "job_finished",
];

const SIGKILL: i32 = 9;

/// A server with stub stages that may die at any moment.
fn start(mut program: Command) -> Server {
    program.env("MEGA_MAX_QUEUED", "100000").env("MEGA_LOG", "off");
    Server::try_start(program, &["--stub"])
}

fn start_with_fault(dir: &Path, fault: &str) -> Server {
    let mut program = mega(dir);
    program.env("JOBS_FAULT", fault);
    start(program)
}

/// Sends a recording; the status and the answer, or nothing if the server died over it.
fn send(server: &Server, recording: &[u8]) -> Option<(u16, Value)> {
    let (status, body) = server.try_request("POST", "/api/v1/jobs", "audio/wav", recording)?;
    Some((status, serde_json::from_slice(&body).ok()?))
}

fn id_of(answer: &Value) -> String {
    answer["id"].as_str().expect("an id").to_owned()
}

/// The id of a job that was accepted, or nothing if the server died over it.
fn submit(server: &Server) -> Option<String> {
    let (status, answer) = send(server, &recording())?;
    assert_eq!(status, 202, "{answer}");
    Some(id_of(&answer))
}

/// Follows a job to its end; false if the server died over it.
fn follow(server: &Server, id: &str) -> bool {
    let events = server.try_request("GET", &format!("/api/v1/jobs/{id}/events"), "", b"");
    events.is_some_and(|(_, events)| {
        let events = String::from_utf8_lossy(&events);
        ["succeeded", "failed"].iter().any(|end| events.contains(&format!("\"{end}\"")))
    })
}

/// A tenth of a second of silence, as WAV.
fn recording() -> Vec<u8> {
    silence(1600)
}

fn silence(samples: usize) -> Vec<u8> {
    let audio = mega_pipeline::audio::Audio { sample_rate: 16_000, samples: vec![0.0; samples] };
    mega_pipeline::audio::wav_bytes(&audio)
}

/// Lets a server without faults finish everything, then looks at every job and every file.
fn assert_all_done(dir: &Path, accepted: &[String]) {
    let server = start(mega(dir));
    for id in accepted {
        assert!(follow(&server, id), "{id} does not end");
    }
    // Jobs whose sender was not told any more are there too; the youngest ends last.
    let last = submit(&server).expect("a job is accepted");
    assert!(follow(&server, &last));
    assert_eq!(server.terminate(), Some(0));

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = open(&dir.join("data")).await;
        for id in accepted {
            get(&store, id.parse().expect("an id")).await;
        }
        assert_table_and_files_agree(&store).await;
        assert_eq!(store.verify_history().await.expect("readable"), 0, "a hash is wrong");
    });
}

async fn assert_table_and_files_agree(store: &JobStore) {
    let jobs = store.list(None, 1_000_000).await.expect("the table answers");
    for job in &jobs {
        assert_eq!(job.state, JobState::Succeeded, "{job:?}");
        let stages: Vec<StageKind> = job.artifacts.iter().map(|it| it.stage).collect();
        assert_eq!(stages, StageKind::ALL, "one result a stage");
        let mut known: Vec<&str> = job.artifacts.iter().map(|it| it.file.as_str()).collect();
        known.push(&job.prompt_file);
        known.sort_unstable();
        let folder = store.folder(job.id);
        let mut found: Vec<String> = std::fs::read_dir(folder.dir())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        found.sort_unstable();
        assert_eq!(found, known, "no temporary file, none missing");
    }
    let folders = std::fs::read_dir(store.incoming_dir().with_file_name("jobs")).expect("a folder");
    assert_eq!(folders.count(), jobs.len(), "a folder for each job and no other");
    assert_eq!(std::fs::read_dir(store.incoming_dir()).expect("a folder").count(), 0);
}

#[test]
fn killed_at_each_place_once_and_later_every_accepted_job_ends_as_it_should() {
    for place in PLACES {
        let dir = tempfile::tempdir().expect("a folder");
        let mut accepted = Vec::new();
        for count in [1, 3] {
            let server = start_with_fault(dir.path(), &format!("kill:{place}:{count}"));
            // Enough for every place to be passed three times; it dies before they are through.
            for _ in 0..4 {
                accepted.extend(submit(&server));
            }
            for id in &accepted {
                follow(&server, id);
            }
            assert_eq!(server.died().signal(), Some(SIGKILL), "{place} {count} was not reached");
        }
        assert_all_done(dir.path(), &accepted);
    }
}

/// A small generator of numbers (xorshift), so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn killed_a_hundred_times_at_random_under_load_no_job_is_lost_and_none_is_done_twice() {
    let kills = if std::env::var_os("MEGA_SOAK").is_some() { 1000 } else { 100 };
    let dir = tempfile::tempdir().expect("a folder");
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let mut accepted = Vec::new();
    for _ in 0..kills {
        let after = 1 + numbers.below(200);
        let server = start_with_fault(dir.path(), &format!("kill:any:{after}"));
        let jobs = 1 + numbers.below(4);
        let sent: Vec<String> = std::thread::scope(|scope| {
            let server = &server;
            let senders: Vec<_> = (0..2)
                .map(|_| scope.spawn(move || (0..jobs).filter_map(|_| submit(server)).collect()))
                .collect();
            let sent: Vec<Vec<String>> =
                senders.into_iter().map(|it| it.join().expect("a sender ends")).collect();
            sent.concat()
        });
        accepted.extend(sent);
        // It dies at its place, or from outside while it works on what it was sent.
        drop(server);
    }
    println!("{kills} kills, {} jobs accepted", accepted.len());
    assert!(accepted.len() > kills, "there was hardly any load");
    assert_all_done(dir.path(), &accepted);
}

#[test]
fn a_stop_in_the_middle_of_many_jobs_exits_with_zero_and_the_next_start_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = start(mega(dir.path()));
    let accepted: Vec<String> = (0..20).map(|_| submit(&server).expect("accepted")).collect();
    assert_eq!(server.terminate(), Some(0));
    assert_all_done(dir.path(), &accepted);
}

/// Submits one job to a server with `fault` and gives the job's JSON once it has ended.
fn job_with_fault(dir: &Path, fault: &str) -> Value {
    let server = start_with_fault(dir, fault);
    let job = server.finished(&submit(&server).expect("accepted"));
    assert_eq!(server.terminate(), Some(0));
    job
}

#[test]
fn a_failing_write_fails_its_job_with_a_code_and_the_next_job_works() {
    let dir = tempfile::tempdir().expect("a folder");
    let job = job_with_fault(dir.path(), "error:artifact_written:1");
    assert_eq!(job["state"], "failed");
    assert_eq!(job["error"]["code"], "internal");
    let server = start(mega(dir.path()));
    let id = job["id"].as_str().expect("an id");
    let (status, _) = server.request("POST", &format!("/api/v1/jobs/{id}/retry"), "", b"");
    assert_eq!(status, 202);
    follow(&server, id);
    server.terminate();
    assert_all_done(dir.path(), &[id.to_owned()]);
}

#[test]
fn a_write_that_finds_the_disk_full_is_tried_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let job = job_with_fault(dir.path(), "full:artifact_written:1");
    assert_eq!(job["state"], "succeeded");
    assert_eq!(job["stages"][0]["attempt"], 2);
    assert_all_done(dir.path(), &[]);
}

#[test]
fn a_commit_that_fails_leaves_the_stage_to_be_run_again() {
    let dir = tempfile::tempdir().expect("a folder");
    // The third commit begins or ends the first stage: an idle worker may have looked for work
    // before the job was there.
    let job = job_with_fault(dir.path(), "error:before_commit:3");
    assert_eq!(job["state"], "succeeded");
    assert_all_done(dir.path(), &[]);
}

#[test]
fn a_job_whose_transaction_fails_is_refused_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = start_with_fault(dir.path(), "error:job_inserted:1");
    let (status, answer) = send(&server, &recording()).expect("answered");
    assert_eq!(status, 500, "{answer}");
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(std::fs::read_dir(dir.path().join("data/jobs")).expect("a folder").count(), 0);
}

/// A file that takes up room on the small disk until a test removes it.
const BALLAST_BYTES: usize = 500_000;

/// The server with its data on a disk of its own of `size`, which only it sees.
fn on_a_small_disk(dir: &Path, size: &str) -> Command {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|it| {
        use std::os::unix::fs::MetadataExt;
        it.uid() == 0
    });
    let data = dir.join("data");
    std::fs::create_dir_all(&data).expect("a folder");
    let program = mega(dir);
    let script = format!(
        "mount -t tmpfs -o size={size} tmpfs '{data}' && \
         head -c {BALLAST_BYTES} /dev/zero > '{data}/ballast' && exec \"$0\" \"$@\"",
        data = data.display()
    );
    let mut command = Command::new("unshare");
    // A user who is not root may still mount in a namespace of their own.
    command.arg(if is_root { "-m" } else { "-Urm" }).args(["sh", "-c", &script]);
    command.arg(program.get_program()).current_dir(dir);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Sends recordings until one is refused for want of room. The ids of those that were taken.
///
/// Few large ones: what their stages have yet to write is less than the ballast.
fn fill(server: &Server) -> Vec<String> {
    let large = silence(100_000);
    let mut ids = Vec::new();
    for _ in 0..1000 {
        let (status, answer) = send(server, &large).expect("answered");
        if status != 202 {
            assert_eq!(status, 507, "{answer}");
            assert_eq!(answer["error"]["code"], "disk_full");
            return ids;
        }
        ids.push(id_of(&answer));
    }
    panic!("the disk does not run full");
}

/// Deletes the jobs; then another is taken, and done.
fn assert_room_after_deleting(server: Server, ids: &[String]) {
    for id in ids {
        let (status, body) = server.request("DELETE", &format!("/api/v1/jobs/{id}"), "", b"");
        assert_eq!(status, 204, "{}", String::from_utf8_lossy(&body));
    }
    let job = server.finished(&submit(&server).expect("there is room again"));
    assert_eq!(job["state"], "succeeded");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn on_a_disk_that_really_runs_full_nothing_is_corrupted_and_room_helps() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = on_a_small_disk(dir.path(), "3m");
    // No floor: the disk itself has to say no.
    command.env("MEGA_MIN_FREE_BYTES", "0");
    let server = start(command);
    let ids = fill(&server);
    // The disk as the server sees it.
    let root = format!("/proc/{}/root", server.id());
    let ballast = dir.path().join("data/ballast");
    std::fs::remove_file(format!("{root}{}", ballast.display())).expect("the ballast is there");
    assert_room_after_deleting(server, &ids);
}

#[test]
fn below_the_floor_of_free_disk_recordings_are_refused_and_taken_again_after_a_deletion() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = on_a_small_disk(dir.path(), "16m");
    command.env("MEGA_MIN_FREE_BYTES", "8000000");
    let server = start(command);
    let ids = fill(&server);
    assert_room_after_deleting(server, &ids);
}
