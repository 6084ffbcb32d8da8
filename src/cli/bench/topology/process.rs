//! A copy of this program as a process of its own, and what the system tells of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::super::memory_kb;
use crate::error::AppError;

/// What has not come after so long never will: the longest recording that is accepted, an hour, is
/// transcribed in a tenth of that.
pub const GIVE_UP: Duration = Duration::from_hours(1);

/// How a process is started, the first time and again after it was killed.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What it is called in errors.
    pub name: String,
    /// Everything after the program's own name.
    pub arguments: Vec<String>,
    /// Whether it is a server: it gets a free port, and keeps it when it is started again.
    pub listens: bool,
}

/// A running copy, killed when it is dropped.
pub struct Process {
    launch: Launch,
    child: Child,
    /// Lines of its standard output.
    lines: Receiver<String>,
    /// Such as `127.0.0.1:34567`, of a server.
    address: Option<String>,
}

impl Process {
    /// Starts a copy of the running program.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn start(launch: Launch) -> Result<Self, AppError> {
        let mut process = Self::spawn(launch, None)?;
        if process.launch.listens {
            let line = process.line()?;
            let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
            process.address = address.map(str::to_owned);
        }
        Ok(process)
    }

    fn spawn(launch: Launch, address: Option<String>) -> Result<Self, AppError> {
        let program = std::env::current_exe()
            .map_err(|error| AppError::Other(format!("this program is not found: {error}")))?;
        let mut command = Command::new(program);
        if launch.listens {
            command.args(["--listen", address.as_deref().unwrap_or("127.0.0.1:0")]);
        }
        let mut child = command
            .args(&launch.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| AppError::Other(format!("{} does not start: {error}", launch.name)))?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Self { launch, child, lines, address })
    }

    /// Kills the process as a crash would and starts it again under the same address.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn crash(&mut self) -> Result<(), AppError> {
        self.kill();
        let again = Self::spawn(self.launch.clone(), self.address.clone())?;
        // The old one is gone already.
        drop(std::mem::replace(self, again));
        Ok(())
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The next line of its standard output; waits for it.
    ///
    /// # Errors
    /// When the process ends, or says nothing until [`GIVE_UP`].
    pub fn line(&self) -> Result<String, AppError> {
        self.lines.recv_timeout(GIVE_UP).map_err(|error| {
            let name = &self.launch.name;
            AppError::Other(match error {
                RecvTimeoutError::Timeout => format!("{name} says nothing any more"),
                RecvTimeoutError::Disconnected => format!("{name} ended"),
            })
        })
    }

    /// Where a server answers, such as `http://127.0.0.1:34567`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address.as_deref().unwrap_or_default())
    }

    /// Seconds of all cores that it has used.
    pub fn cpu_s(&self) -> f64 {
        // Fields 14 and 15, counted from after the name, which may hold spaces: proc(5).
        let stat =
            fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 =
            fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// Its share of memory in bytes: pages that several processes share count in parts.
    pub fn memory_bytes(&self) -> u64 {
        proportional_bytes(self.child.id())
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Memory of process `id` in bytes, shared pages in parts; 0 where the system does not tell.
pub fn proportional_bytes(id: u32) -> u64 {
    memory_kb(&format!("/proc/{id}/smaps_rollup"), "Pss").unwrap_or_default() * 1024
}

/// Bytes that have passed through this machine's own network so far.
pub fn loopback_bytes() -> u64 {
    let devices = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let line = devices.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Makes the system forget what it has read from disks, so that a start is a cold one. `false`
/// where it does not let us.
pub fn forget_files() -> bool {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}
