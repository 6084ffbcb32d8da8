//! What can go wrong with the job table and its files.

/// What can go wrong with the job table and its files.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The id is not one that this program makes.
    #[error("`{0}` is not a job id")]
    BadId(String),
    /// SQLite refused or failed.
    #[error("the job table failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The table's version is newer than this program, or a migration failed.
    #[error("the job table could not be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A file could not be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A row holds something this program never writes.
    #[error("the job table holds an unknown {what}: `{value}`")]
    Corrupt {
        /// Which column.
        what: &'static str,
        /// What it holds.
        value: String,
    },
    /// Another process uses the same data directory.
    #[error(
        "{0} is in use by another mega-pipeline; stop it, or choose another folder with MEGA_DATA_DIR"
    )]
    InUse(String),
    /// Too many jobs wait already.
    #[error("{max_queued} jobs are waiting already, and no more are taken")]
    QueueFull {
        /// How many may wait.
        max_queued: u32,
    },
    /// The disk is nearly full.
    #[error("{free_bytes} bytes of disk are free, and {floor_bytes} are kept free")]
    LowDisk {
        /// How much is free.
        free_bytes: u64,
        /// How much has to stay free.
        floor_bytes: u64,
    },
    /// The key was used before for something else.
    #[error("this key was used before for another recording or other options")]
    KeyReused,
    /// The job is not in a state in which that can be done; the sentence says why.
    #[error("{0}")]
    NotNow(String),
    /// The job table was closed while something was still to be done.
    #[error("the job table is closed")]
    Closed,
}

impl JobError {
    /// Wraps a system error with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Whether the disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::StorageFull,
            Self::LowDisk { .. } => true,
            Self::Database(sqlx::Error::Database(error)) => error.code().as_deref() == Some("13"),
            _ => false,
        }
    }
}
