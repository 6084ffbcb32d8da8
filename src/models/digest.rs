//! sha256 of files and folders.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::ModelsError;

/// Lower-case hexadecimal, as the catalogue writes hashes.
pub(super) fn hex(digest: Sha256) -> String {
    use std::fmt::Write;
    digest.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Feeds a whole file to `digest`; returns its length in bytes.
pub(super) fn feed(digest: &mut Sha256, path: &Path) -> Result<u64, ModelsError> {
    let mut file = File::open(path).map_err(ModelsError::io(path))?;
    let mut buffer = vec![0; 1 << 18];
    let mut size_bytes = 0;
    loop {
        let count = file.read(&mut buffer).map_err(ModelsError::io(path))?;
        if count == 0 {
            return Ok(size_bytes);
        }
        digest.update(&buffer[..count]);
        size_bytes += count as u64;
    }
}

/// Length in bytes and sha256 of a file, or of a folder.
///
/// A folder's length is the sum of its files', and its hash is the sha256 of
/// the lines `<sha256 of the file>  <path in the folder>`, sorted by path byte
/// by byte: what `sha256sum` prints for the sorted files, hashed again.
pub(super) fn measure(path: &Path) -> Result<(u64, String), ModelsError> {
    let mut digest = Sha256::new();
    if !path.is_dir() {
        let size_bytes = feed(&mut digest, path)?;
        return Ok((size_bytes, hex(digest)));
    }
    let mut total_bytes = 0;
    for (name, _) in files_below(path)? {
        let mut one = Sha256::new();
        total_bytes += feed(&mut one, &path.join(&name))?;
        digest.update(format!("{}  {name}\n", hex(one)));
    }
    Ok((total_bytes, hex(digest)))
}

/// Length in bytes of a file, or of all files in a folder; `None` if it is not there.
pub(super) fn size_bytes(path: &Path) -> Option<u64> {
    if path.is_dir() {
        return Some(files_below(path).ok()?.iter().map(|(_, size)| size).sum());
    }
    Some(path.metadata().ok()?.len())
}

/// Path relative to `root` with `/`, and length, of every file below it; sorted.
fn files_below(root: &Path) -> Result<Vec<(String, u64)>, ModelsError> {
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for entry in std::fs::read_dir(&path).map_err(ModelsError::io(&path))? {
            let entry = entry.map_err(ModelsError::io(&path))?;
            let name = format!("{folder}{}", entry.file_name().to_string_lossy());
            let metadata = entry.metadata().map_err(ModelsError::io(entry.path()))?;
            if metadata.is_dir() {
                folders.push(format!("{name}/"));
            } else {
                files.push((name, metadata.len()));
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_folder_does_not_depend_on_the_order_of_its_entries() {
        let [one, two] = [["b", "a/x"], ["a/x", "b"]].map(|names| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("a")).unwrap();
            for name in names {
                std::fs::write(dir.path().join(name), name).unwrap();
            }
            dir
        });
        // find . -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum
        let expected = "2b6f64c016485309cc703b94807dce160374784ed57a6e142e60e39619633cd6";
        assert_eq!(measure(one.path()).unwrap(), (4, expected.to_owned()));
        assert_eq!(measure(one.path()).unwrap(), measure(two.path()).unwrap());
    }
}
