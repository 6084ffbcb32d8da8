//! The job table: one writer, a pool of readers, and the files beside it.
//!
//! One file a subject: `schema` (migrations), `writer` (the task that commits),
//! `submit`, `claim`, `finish` (a worker's report), `change` (cancel, delete,
//! retry, run again), `retention`, `read` and `rows`.

mod change;
mod claim;
mod finish;
mod read;
mod retention;
mod rows;
mod schema;
mod submit;
mod writer;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, query};
use tokio::sync::Notify;

pub use claim::Claim;
pub use retention::Retention;

use super::clock::{SharedClock, SystemClock};
use super::{EventHub, JobError, JobFolder, JobId};
use crate::metrics::Metrics;
use crate::stage::StageKind;
use writer::Writer;

/// Bytes that are free on the disk of a folder.
pub type FreeSpace = fn(&Path) -> io::Result<u64>;

/// What a job table takes on, and what it measures that with.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Most jobs that wait; beyond it a submission is refused.
    pub max_queued: u32,
    /// Below this much free disk, submissions are refused and the workers pause.
    pub min_free_bytes: u64,
    /// How often a stage is started before a failure that could pass counts as final.
    pub max_attempts: u32,
    /// Whether what was said and written is logged.
    pub log_content: bool,
    /// What time it is.
    pub clock: SharedClock,
    /// How much disk is free.
    pub free_space: FreeSpace,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            max_queued: 100,
            min_free_bytes: 500_000_000,
            max_attempts: 3,
            log_content: false,
            clock: Arc::new(SystemClock),
            free_space: |folder| fs4::available_space(folder),
        }
    }
}

/// The job table and the files beside it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct JobStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    writer: Writer,
    readers: SqlitePool,
    jobs_dir: PathBuf,
    incoming_dir: PathBuf,
    events: EventHub,
    metrics: Metrics,
    options: StoreOptions,
    /// Told whenever a stage may have become due or room was made.
    due: Notify,
    /// Held for as long as the store lives: one process for one data directory.
    _lock: File,
}

impl JobStore {
    /// Opens the job table in `data_dir`, makes it where there is none, and takes the
    /// folder for this process alone.
    ///
    /// # Errors
    /// When the folder is not writable or another process uses it.
    pub async fn open(
        data_dir: &Path,
        events: EventHub,
        options: StoreOptions,
    ) -> Result<Self, JobError> {
        let jobs_dir = data_dir.join("jobs");
        let incoming_dir = data_dir.join("incoming");
        for dir in [data_dir, &jobs_dir, &incoming_dir] {
            make_private_dir(dir).map_err(JobError::io(format!("making {}", dir.display())))?;
        }
        let lock = lock(data_dir)?;

        let connect = SqliteConnectOptions::new()
            .filename(data_dir.join("jobs.sqlite3"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let mut connection = connect.connect().await?;
        schema::migrator().run_direct(None, &mut connection, false).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            // A file does not go away as a server does.
            .test_before_acquire(false)
            .connect_with(connect.read_only(true))
            .await?;
        Ok(Self(Arc::new(Inner {
            writer: Writer::start(connection),
            readers,
            jobs_dir,
            incoming_dir,
            events,
            metrics: Metrics::default(),
            options,
            due: Notify::new(),
            _lock: lock,
        })))
    }

    /// What happens to jobs, as it happens.
    #[must_use]
    pub fn events(&self) -> &EventHub {
        &self.0.events
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Whether what was said and written is logged.
    #[must_use]
    pub fn logs_content(&self) -> bool {
        self.0.options.log_content
    }

    /// What time it is.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.0.options.clock
    }

    /// How often a stage is started before a failure that could pass counts as final.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.0.options.max_attempts
    }

    /// Where an upload may be written before it is submitted; on the same disk as the jobs.
    #[must_use]
    pub fn incoming_dir(&self) -> &Path {
        &self.0.incoming_dir
    }

    /// The folder of a job.
    #[must_use]
    pub fn folder(&self, id: JobId) -> JobFolder {
        JobFolder::new(self.0.jobs_dir.join(id.to_string()))
    }

    /// The folder that holds one folder a job.
    pub(super) fn jobs_dir(&self) -> &Path {
        &self.0.jobs_dir
    }

    /// Waits until a stage may have become due, or until `at_ms` if that comes first.
    pub(super) async fn wait_due(&self, at_ms: Option<i64>) {
        let told = self.0.due.notified();
        match at_ms {
            Some(at_ms) => tokio::select! {
                () = told => {}
                () = self.clock().reached(at_ms) => {}
            },
            None => told.await,
        }
    }

    /// Wakes whoever waits in [`JobStore::wait_due`].
    pub(super) fn wake(&self) {
        self.0.due.notify_one();
    }

    fn now_ms(&self) -> i64 {
        self.0.options.clock.now_ms()
    }

    /// Bytes that are free on the disk, and below how many nothing is taken.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn disk(&self) -> Result<(u64, u64), JobError> {
        let free_bytes = (self.0.options.free_space)(&self.0.jobs_dir)
            .map_err(JobError::io("asking how much disk is free"))?;
        Ok((free_bytes, self.0.options.min_free_bytes))
    }

    /// Whether the disk has room for more.
    ///
    /// # Errors
    /// [`JobError::LowDisk`] when it has not.
    pub fn check_disk(&self) -> Result<(), JobError> {
        let (free_bytes, floor_bytes) = self.disk()?;
        if free_bytes < floor_bytes {
            return Err(JobError::LowDisk { free_bytes, floor_bytes });
        }
        Ok(())
    }
}

/// Makes `run` due at `now`, behind everything that waits: two jobs queued within one
/// millisecond, or around a clock that was set back, keep the order they came in.
async fn make_due(table: &mut SqliteConnection, run: Run, now: i64) -> Result<(), JobError> {
    query(
        "INSERT INTO stage_runs (job_id, version, stage, state, turn_ms, due_ms) \
         VALUES (?1, ?2, ?3, 'queued', max(?4, (SELECT coalesce(max(turn_ms) + 1, ?4) \
         FROM stage_runs WHERE state = 'queued')), ?4)",
    )
    .bind(run.id.to_string())
    .bind(run.version)
    .bind(run.stage.as_str())
    .bind(now)
    .execute(table)
    .await?;
    Ok(())
}

/// Which stage run of all is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The job.
    pub id: JobId,
    /// The job's version.
    pub version: u32,
    /// The stage.
    pub stage: StageKind,
}

/// What is added to the name of a job's folder before it is emptied.
pub(super) const GOING: &str = ".deleted";

/// Removes a job's files; that there are none is fine.
///
/// The folder first gets another name: a worker or a download that is about to put a file
/// into it fails then, and does not keep it from being removed.
pub(super) fn remove_folder(folder: &JobFolder) -> Result<(), JobError> {
    let mut going = folder.dir().as_os_str().to_owned();
    going.push(GOING);
    let remove = || {
        fs::rename(folder.dir(), &going)?;
        fs::remove_dir_all(&going)
    };
    match remove() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(JobError::io(format!("removing {}", folder.dir().display()))(error))
        }
        _ => Ok(()),
    }
}

/// Does work that waits for the disk on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JobError> + Send + 'static,
) -> Result<T, JobError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| JobError::Closed)?
}

/// Recordings are private: folders are readable by their owner alone.
fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn lock(data_dir: &Path) -> Result<File, JobError> {
    let path = data_dir.join("lock");
    let file = File::create(&path).map_err(JobError::io(format!("making {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(JobError::InUse(data_dir.display().to_string())),
        Err(fs::TryLockError::Error(error)) => {
            Err(JobError::io(format!("locking {}", path.display()))(error))
        }
    }
}
