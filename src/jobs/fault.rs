//! Named places where a test stops the program or lets a write fail.
//!
//! Only builds with debug assertions have them. There the variable `JOBS_FAULT`
//! holds `kill:PLACE:N` (the process is killed, as by `kill -9`, when it comes to
//! that place for the Nth time; `any` is every place), `error:PLACE:N` or
//! `full:PLACE:N` (the step fails there once, with an I/O error or a full disk).

use std::io;

/// A place in the life of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    /// An upload is complete; nothing of it is in its final place.
    BeforeAccept,
    /// The prompt is in its job's folder, but no row knows it.
    PromptStored,
    /// The job's rows are inserted, in a transaction that is not committed.
    JobInserted,
    /// The job is in the table; its sender has not been told.
    Accepted,
    /// A worker is about to take on a stage.
    BeforeClaim,
    /// A stage is marked as running.
    StageStarted,
    /// A stage has made its result, which is in memory only.
    StageDone,
    /// The result is written under its temporary name.
    ArtifactWritten,
    /// The result has its final name, but no row knows it.
    ArtifactRenamed,
    /// A transaction is complete but not committed.
    BeforeCommit,
    /// A transaction is committed; whoever asked for it has not been told.
    Committed,
    /// The last stage of a job is recorded.
    JobFinished,
}

/// Does what the test asked for at `point`; nothing otherwise.
///
/// # Errors
/// The injected one.
#[cfg(debug_assertions)]
pub(super) fn reach(point: Point) -> io::Result<()> {
    injected::reach(point)
}

/// Does nothing: this build has no injected faults.
#[cfg(not(debug_assertions))]
#[inline]
#[allow(clippy::unnecessary_wraps, reason = "the debug build can fail here")]
pub(super) const fn reach(_: Point) -> io::Result<()> {
    Ok(())
}

#[cfg(debug_assertions)]
mod injected {
    use std::io;
    use std::process::{self, Command};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Point;

    const VARIABLE: &str = "JOBS_FAULT";

    impl Point {
        const fn name(self) -> &'static str {
            match self {
                Self::BeforeAccept => "before_accept",
                Self::PromptStored => "prompt_stored",
                Self::JobInserted => "job_inserted",
                Self::Accepted => "accepted",
                Self::BeforeClaim => "before_claim",
                Self::StageStarted => "stage_started",
                Self::StageDone => "stage_done",
                Self::ArtifactWritten => "artifact_written",
                Self::ArtifactRenamed => "artifact_renamed",
                Self::BeforeCommit => "before_commit",
                Self::Committed => "committed",
                Self::JobFinished => "job_finished",
            }
        }
    }

    struct Fault {
        action: String,
        place: String,
        /// How often the place has yet to be passed.
        left: AtomicU32,
    }

    static FAULT: LazyLock<Option<Fault>> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let mut parts = text.split(':').map(str::to_owned);
        let (Some(action), Some(place), Some(count)) = (parts.next(), parts.next(), parts.next())
        else {
            panic!("{VARIABLE}={text} is not ACTION:PLACE:N");
        };
        let left = count.parse().unwrap_or_else(|_| panic!("{VARIABLE}={text}: N is no number"));
        Some(Fault { action, place, left: AtomicU32::new(left) })
    });

    pub(super) fn reach(point: Point) -> io::Result<()> {
        let Some(fault) = FAULT.as_ref() else { return Ok(()) };
        if fault.place != point.name() && fault.place != "any" {
            return Ok(());
        }
        let before =
            fault.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if before != Ok(1) {
            return Ok(());
        }
        match fault.action.as_str() {
            "kill" => die(),
            "full" => Err(io::Error::from(io::ErrorKind::StorageFull)),
            "error" => Err(io::Error::other("injected by a test")),
            other => panic!("{VARIABLE}: there is no action {other}"),
        }
    }

    /// Ends the process as `kill -9` does: nothing is flushed, nothing is told.
    fn die() -> ! {
        let _ = Command::new("kill").args(["-KILL", &process::id().to_string()]).status();
        unreachable!("a killed process does not go on")
    }
}
