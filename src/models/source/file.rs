//! Copies from folders: `file:` addresses, `--from DIR`, and Hugging Face's cache.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::models::ModelsError;
use crate::models::sink::Sink;

/// Copies a file, hashing on the way.
pub(in crate::models) fn copy(from: &Path, out: &mut Sink) -> Result<(), ModelsError> {
    let mut file = File::open(from).map_err(cannot(from))?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = file.read(&mut buffer).map_err(cannot(from))?;
        if count == 0 {
            return Ok(());
        }
        out.put(&buffer[..count])?;
    }
}

/// Copies a file, or a folder with all that is in it.
pub(in crate::models) fn copy_tree(from: &Path, to: &Path) -> Result<(), ModelsError> {
    if !from.is_dir() {
        std::fs::copy(from, to).map_err(cannot(from))?;
        return Ok(());
    }
    std::fs::create_dir(to).map_err(ModelsError::io(to))?;
    for entry in std::fs::read_dir(from).map_err(cannot(from))? {
        let entry = entry.map_err(cannot(from))?;
        copy_tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// A source that cannot be read is no fault of the models' own folder.
fn cannot(from: &Path) -> impl FnOnce(std::io::Error) -> ModelsError {
    move |error| ModelsError::Source {
        origin: from.display().to_string(),
        detail: error.to_string(),
    }
}

/// Where a copy from another machine may lie: `<dir>/<model>/<file>`, as in a
/// store, or `<dir>/<file>`.
pub(in crate::models) fn find(dir: &Path, model: &str, file: &str) -> Option<PathBuf> {
    [dir.join(model).join(file), dir.join(file)].into_iter().find(|path| path.exists())
}

/// The path in a `file:` address.
pub(in crate::models) fn path_of(url: &str) -> Option<PathBuf> {
    reqwest::Url::parse(url).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()
}
