//! The real `mega-pipeline` program, started as a user would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

/// The program with its data in `dir`, no configuration of the user's, and the tests' weights.
pub fn mega(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mega-pipeline"));
    command
        .current_dir(dir)
        .env("MEGA_DATA_DIR", dir.join("data"))
        .env("MEGA_MODELS_DIR", super::models_dir())
        .env("MEGA_OFFLINE", "true")
        // It tells the tests how long to go on, and is no setting.
        .env_remove("MEGA_SOAK");
    command
}

/// What the program printed and its exit code.
pub fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the program starts")
}

/// Presses Ctrl-C.
pub fn interrupt(child: &Child) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().expect("kill starts");
    assert!(sent.success());
}

/// A running server, killed when it goes out of scope.
pub struct Server {
    child: Child,
    /// Such as `127.0.0.1:34567`; empty if it died before it listened.
    pub address: String,
}

impl Server {
    /// Starts `serve` with `arguments` on a free port and waits until it listens.
    pub fn start(dir: &Path, arguments: &[&str]) -> Self {
        let server = Self::try_start(mega(dir), arguments);
        assert!(!server.address.is_empty(), "the server does not say where it is");
        server
    }

    /// Starts `program`, which may die before it listens.
    pub fn try_start(mut program: Command, arguments: &[&str]) -> Self {
        program.stderr(Stdio::inherit());
        Self::logged(program, arguments)
    }

    /// Starts `program`, whose log goes where it was told.
    pub fn logged(mut program: Command, arguments: &[&str]) -> Self {
        let mut child = program
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("standard output is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("standard output is text");
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        Self { child, address: address.unwrap_or_default().to_owned() }
    }

    /// Sends a request and returns status and body.
    pub fn request(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.try_request(method, path, kind, body).expect("the server answers")
    }

    /// Sends a request and returns status and body, or nothing if the server died over it.
    pub fn try_request(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> Option<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let body = answer.split_off(end);
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        Some((status, if chunked { join_chunks(&body)? } else { body }))
    }

    /// Sends a request without a body, with lines of its head beside the usual ones, and returns
    /// the whole answer.
    pub fn answer(&self, method: &str, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer is text");
        answer
    }

    /// Follows a job's events to their end and returns the job.
    pub fn finished(&self, id: &str) -> serde_json::Value {
        // The event stream ends with the job.
        let (status, _) = self.request("GET", &format!("/api/v1/jobs/{id}/events"), "", b"");
        assert_eq!(status, 200);
        let (status, body) = self.request("GET", &format!("/api/v1/jobs/{id}"), "", b"");
        assert_eq!(status, 200);
        serde_json::from_slice(&body).expect("JSON")
    }

    /// Asks the server to stop, as a supervisor would, and returns its exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().expect("kill starts");
        assert!(sent.success());
        self.child.wait().expect("the server ends").code()
    }

    /// Waits until the server ends by itself.
    pub fn died(mut self) -> ExitStatus {
        self.child.wait().expect("the server ends")
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body that the chunks make up; nothing if it breaks off.
fn join_chunks(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut joined = Vec::new();
    loop {
        let end = body.windows(2).position(|bytes| bytes == b"\r\n")?;
        let size = String::from_utf8_lossy(&body[..end]);
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        joined.extend_from_slice(body.get(end + 2..end + 2 + size)?);
        body = body.get(end + 2 + size + 2..)?;
        if size == 0 {
            return Some(joined);
        }
    }
}
