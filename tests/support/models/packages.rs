//! Package managers that fetch from a folder, and packages to put there.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use mega_pipeline::models::Commands;

/// A folder of packages, with an npm and a pip that know no others.
pub struct Registry {
    dir: PathBuf,
}

impl Registry {
    /// An empty one below `root`.
    pub fn new(root: &Path) -> Self {
        let dir = root.join("registry");
        std::fs::create_dir(&dir).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/models/manager.sh");
        // Links, because a script that was just written may still be open elsewhere.
        for name in ["npm", "python3"] {
            std::os::unix::fs::symlink(&script, dir.join(name)).unwrap();
        }
        Self { dir }
    }

    /// The commands to pull with.
    pub fn commands(&self) -> Commands {
        Commands { npm: self.dir.join("npm"), python: self.dir.join("python3") }
    }

    /// What the commands were asked, one line each.
    pub fn asked(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// How many packages were fetched.
    pub fn fetched(&self) -> usize {
        self.asked()
            .iter()
            .filter(|line| line.contains("pack ") || line.contains("download "))
            .count()
    }

    /// Adds an npm package.
    pub fn add_npm(&self, name: &str, members: &[(&str, &[u8])]) {
        let file = std::fs::File::create(self.dir.join(format!("{name}.tgz"))).unwrap();
        let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
        for (path, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("package/{path}"), *bytes).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
    }

    /// Adds a wheel; returns its bytes.
    pub fn add_wheel(&self, name: &str, members: &[(&str, &[u8])]) -> Vec<u8> {
        let path = self.dir.join(format!("{name}.whl"));
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        for (path, bytes) in members {
            zip.start_file(*path, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
        std::fs::read(path).unwrap()
    }
}
