//! The real server is killed at every place where it could hurt, and no accepted job is lost.
//!
//! The places are those of `src/jobs/fault.rs`, which debug builds have. Stub stages, real
//! SQLite, real files. `MEGA_SOAK=1` kills a thousand times instead of a hundred.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use mega_pipeline::jobs::{JobState, JobStore};
use mega_pipeline::stage::StageKind;
use support::jobs::{get, open};
use support::process::mega;

const PLACES: [&str; 11] = [
    "before_accept",
    "prompt_stored",
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

/// A server that may die at any moment.
struct Mortal {
    child: Child,
    /// `None` if it died before it listened.
    address: Option<String>,
}

impl Mortal {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .args(["serve", "--stub", "--listen", "127.0.0.1:0"])
            .env("MEGA_MAX_QUEUED", "100000")
            .env("MEGA_LOG", "off")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("standard output is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        Self { child, address: address.map(str::to_owned) }
    }

    fn with_fault(dir: &Path, fault: &str) -> Self {
        let mut command = mega(dir);
        command.env("JOBS_FAULT", fault);
        Self::start(command)
    }

    /// Sends a request; the status and the body, or nothing if the server died over it.
    fn request(&self, method: &str, path: &str, body: &[u8]) -> Option<(u16, String)> {
        let address = self.address.as_ref()?;
        let mut stream = TcpStream::connect(address).ok()?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: audio/wav\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some((status, body.to_owned()))
    }

    /// The id of a job that was accepted, or nothing if the server died over it.
    fn submit(&self) -> Option<String> {
        let (status, body) = self.request("POST", "/api/v1/jobs", &recording())?;
        assert_eq!(status, 202, "{body}");
        let answer: serde_json::Value = serde_json::from_str(&body).ok()?;
        answer["id"].as_str().map(str::to_owned)
    }

    /// Follows a job to its end; false if the server died over it.
    fn follow(&self, id: &str) -> bool {
        let events = self.request("GET", &format!("/api/v1/jobs/{id}/events"), b"");
        events.is_some_and(|(_, events)| {
            ["succeeded", "failed"].iter().any(|end| events.contains(&format!("\"{end}\"")))
        })
    }

    fn died(mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    /// Kills it as `kill -9` does, if it is still there.
    fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop, as a supervisor would, and returns its exit code.
    fn terminate(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
        self.child.wait().expect("it ends").code()
    }
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
    let server = Mortal::start(mega(dir));
    for id in accepted {
        assert!(server.follow(id), "{id} does not end");
    }
    // Jobs whose sender was not told any more are there too; the youngest ends last.
    let last = server.submit().expect("a job is accepted");
    assert!(server.follow(&last));
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
            let server = Mortal::with_fault(dir.path(), &format!("kill:{place}:{count}"));
            // Enough for every place to be passed three times; it dies before they are through.
            for _ in 0..4 {
                accepted.extend(server.submit());
            }
            for id in &accepted {
                server.follow(id);
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
        let server = Mortal::with_fault(dir.path(), &format!("kill:any:{after}"));
        let jobs = 1 + numbers.below(4);
        let sent: Vec<String> = std::thread::scope(|scope| {
            let server = &server;
            let senders: Vec<_> = (0..2)
                .map(|_| scope.spawn(move || (0..jobs).filter_map(|_| server.submit()).collect()))
                .collect();
            let sent: Vec<Vec<String>> =
                senders.into_iter().map(|it| it.join().expect("a sender ends")).collect();
            sent.concat()
        });
        accepted.extend(sent);
        // It dies at its place, or from outside while it works on what it was sent.
        server.kill();
    }
    println!("{kills} kills, {} jobs accepted", accepted.len());
    assert!(accepted.len() > kills, "there was hardly any load");
    assert_all_done(dir.path(), &accepted);
}

#[test]
fn a_stop_in_the_middle_of_many_jobs_exits_with_zero_and_the_next_start_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Mortal::start(mega(dir.path()));
    let accepted: Vec<String> = (0..20).map(|_| server.submit().expect("accepted")).collect();
    assert_eq!(server.terminate(), Some(0));
    assert_all_done(dir.path(), &accepted);
}

/// Submits one job to a server with `fault` and gives the job's JSON once it has ended.
fn job_with_fault(dir: &Path, fault: &str) -> serde_json::Value {
    let server = Mortal::with_fault(dir, fault);
    let id = server.submit().expect("accepted");
    assert!(server.follow(&id), "{fault}");
    let (_, job) = server.request("GET", &format!("/api/v1/jobs/{id}"), b"").expect("answered");
    assert_eq!(server.terminate(), Some(0));
    serde_json::from_str(&job).expect("JSON")
}

#[test]
fn a_failing_write_fails_its_job_with_a_code_and_the_next_job_works() {
    let dir = tempfile::tempdir().expect("a folder");
    let job = job_with_fault(dir.path(), "error:artifact_written:1");
    assert_eq!(job["state"], "failed");
    assert_eq!(job["error"]["code"], "internal");
    let server = Mortal::start(mega(dir.path()));
    let id = job["id"].as_str().expect("an id");
    let (status, _) = server.request("POST", &format!("/api/v1/jobs/{id}/retry"), b"").unwrap();
    assert_eq!(status, 202);
    server.follow(id);
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
    // The first commit accepts the job, the second begins its first stage, the third ends it.
    let job = job_with_fault(dir.path(), "error:before_commit:3");
    assert_eq!(job["state"], "succeeded");
    assert_all_done(dir.path(), &[]);
}

#[test]
fn a_job_whose_commit_fails_is_refused_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Mortal::with_fault(dir.path(), "error:before_commit:2");
    // At start an idle worker looks for work once; that commit comes first.
    let (status, body) = server.request("POST", "/api/v1/jobs", &recording()).expect("answered");
    assert_eq!(status, 500, "{body}");
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

#[test]
fn on_a_disk_that_really_runs_full_nothing_is_corrupted_and_room_helps() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = on_a_small_disk(dir.path(), "3m");
    // No floor: the disk itself has to say no.
    command.env("MEGA_MIN_FREE_BYTES", "0");
    let server = Mortal::start(command);
    let mut ids = Vec::new();
    // Few large ones: what their stages have yet to write is less than the ballast.
    let large = silence(100_000);
    let refused = (0..1000).find_map(|_| {
        let (status, body) = server.request("POST", "/api/v1/jobs", &large)?;
        let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        if status == 202 {
            ids.push(answer["id"].as_str().expect("an id").to_owned());
            None
        } else {
            Some((status, answer))
        }
    });
    let (status, answer) = refused.expect("the disk runs full");
    assert_eq!(status, 507, "{answer}");
    assert_eq!(answer["error"]["code"], "disk_full");
    // The disk as the server sees it.
    let root = format!("/proc/{}/root", server.child.id());
    let ballast = dir.path().join("data/ballast");
    std::fs::remove_file(format!("{root}{}", ballast.display())).expect("the ballast is there");
    for id in &ids {
        let (status, body) = server.request("DELETE", &format!("/api/v1/jobs/{id}"), b"").unwrap();
        assert_eq!(status, 204, "{body}");
    }
    let id = server.submit().expect("there is room again");
    assert!(server.follow(&id));
    let (_, job) = server.request("GET", &format!("/api/v1/jobs/{id}"), b"").expect("answered");
    assert!(job.contains("\"state\":\"succeeded\""), "{job}");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn below_the_floor_of_free_disk_recordings_are_refused_and_taken_again_after_a_deletion() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = on_a_small_disk(dir.path(), "16m");
    command.env("MEGA_MIN_FREE_BYTES", "8000000");
    let server = Mortal::start(command);
    let mut ids = Vec::new();
    let large = silence(100_000);
    let status = loop {
        let (status, body) = server.request("POST", "/api/v1/jobs", &large).expect("answered");
        if status != 202 {
            assert!(body.contains("disk_full"), "{body}");
            break status;
        }
        let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        ids.push(answer["id"].as_str().expect("an id").to_owned());
    };
    assert_eq!(status, 507);
    for id in &ids {
        server.request("DELETE", &format!("/api/v1/jobs/{id}"), b"").expect("answered");
    }
    let id = server.submit().expect("there is room again");
    assert!(server.follow(&id));
    assert_eq!(server.terminate(), Some(0));
}
