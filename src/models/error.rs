//! Why a model could not be found, fetched or trusted.

use std::path::PathBuf;

use super::progress::human_bytes;

/// Why a model could not be found, fetched or trusted.
///
/// It can be cloned, because two roles may wait for the same download.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelsError {
    /// The catalogue itself is wrong.
    #[error("the model catalogue is wrong: {0}")]
    Manifest(String),
    /// The lock file cannot be read.
    #[error("{} cannot be read: {detail}. Delete it and run `mega-pipeline models pull`.", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// No model or role has this name.
    #[error("no model or role is called '{name}'; did you mean '{nearest}'?")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The most similar name that exists.
        nearest: String,
    },
    /// There is no such pair of languages.
    #[error("{0}")]
    Pair(String),
    /// The model cannot do what the role needs.
    #[error("'{model}' cannot be used for {role}; it can be one of: {candidates}")]
    NotACandidate {
        /// The model that was picked.
        model: String,
        /// The role it was picked for.
        role: String,
        /// The models that can do it.
        candidates: String,
    },
    /// The model has no such file.
    #[error("the model '{model}' has no file called '{file}'")]
    NoSuchFile {
        /// The model.
        model: String,
        /// The name asked for.
        file: String,
    },
    /// The model is not on disk, or not as it was when its hash was checked.
    #[error("the model '{0}' is not installed. Run `mega-pipeline models pull {0}`.")]
    NotInstalled(String),
    /// None of a role's candidates is on disk.
    #[error("no model for {0} is installed. Run `mega-pipeline models pull {0}`.")]
    RoleEmpty(String),
    /// The model has no file for this kind of machine.
    #[error("'{model}' is not offered for this machine ({platform})")]
    WrongPlatform {
        /// The model.
        model: String,
        /// Such as `linux-x86_64`.
        platform: String,
    },
    /// The bytes are not the ones the catalogue names.
    #[error(
        "{file} from {origin} has sha256 {found} where {expected} is expected: it was removed and is not used"
    )]
    WrongHash {
        /// The file.
        file: String,
        /// Where it came from.
        origin: String,
        /// The hash in the catalogue.
        expected: String,
        /// The hash of the bytes.
        found: String,
    },
    /// The file ended early or went on too long.
    #[error("{file} has {found} bytes where {expected} are expected")]
    WrongSize {
        /// The file.
        file: String,
        /// Bytes in the catalogue.
        expected: u64,
        /// Bytes found, or so far.
        found: u64,
    },
    /// A host or a registry does not answer.
    #[error("{host} cannot be reached ({detail})")]
    Unreachable {
        /// The host, or the name of the registry.
        host: String,
        /// What happened.
        detail: String,
    },
    /// A source answered, but not with the file.
    #[error("{origin}: {detail}")]
    Source {
        /// The source.
        origin: String,
        /// What went wrong.
        detail: String,
    },
    /// No source has the file; the sentence has the reason of each.
    #[error("{0}")]
    NoSource(String),
    /// None of a role's candidates could be had; the report has the reasons.
    #[error("no model for {0} could be had")]
    NoCandidate(String),
    /// Fetching was not allowed.
    #[error("it is not here and nothing is fetched offline")]
    Offline,
    /// The disk has too little room.
    #[error(
        "{file} needs {} of disk space and {} are free in {}. Make room, or choose another folder with MEGA_MODELS_DIR.",
        human_bytes(*needed_bytes), human_bytes(*free_bytes), dir.display()
    )]
    DiskFull {
        /// The file that was about to be fetched.
        file: String,
        /// Bytes it needs, other downloads under way included.
        needed_bytes: u64,
        /// Bytes that are free.
        free_bytes: u64,
        /// The folder of the models.
        dir: PathBuf,
    },
    /// An archive holds something that must not be unpacked.
    #[error("{archive} is refused: {detail}")]
    BadArchive {
        /// The archive.
        archive: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The file system refused.
    #[error("{}: {detail}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
}

impl ModelsError {
    /// An error about a file, for `map_err`.
    pub(super) fn io<E: std::fmt::Display>(path: impl Into<PathBuf>) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |error| Self::Io { path, detail: error.to_string() }
    }

    /// The one error that stands for the failures of all sources of a file:
    /// wrong bytes before anything else, then all reasons in one sentence.
    pub(super) fn worst(failures: &[Self]) -> Self {
        if let Some(wrong) = failures.iter().find(|error| error.stops_the_role()) {
            return wrong.clone();
        }
        let mut reasons: Vec<_> = failures.iter().map(Self::to_string).collect();
        reasons.dedup();
        match failures {
            [only] => only.clone(),
            [first, rest @ ..] if rest.iter().all(|error| error == first) => first.clone(),
            _ => Self::NoSource(reasons.join("; ")),
        }
    }

    /// Whether a lesser model must not be taken silently because of it: the
    /// person has to know that bytes were wrong or that the disk is full.
    pub(super) const fn stops_the_role(&self) -> bool {
        matches!(
            self,
            Self::WrongHash { .. }
                | Self::WrongSize { .. }
                | Self::DiskFull { .. }
                | Self::BadArchive { .. }
                | Self::Io { .. }
        )
    }
}
