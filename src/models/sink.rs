//! A file that is being written: counted, hashed and bounded on the way.

use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::install::Arrived;
use super::progress::Meter;
use super::{ModelsError, digest};

/// A file under a temporary name, with the hash of what is in it so far.
///
/// It writes at once, without Tokio: pieces are small and land in the page cache.
pub(super) struct Sink {
    path: PathBuf,
    file: File,
    digest: Sha256,
    size_bytes: u64,
    limit_bytes: u64,
    meter: Meter,
}

impl Sink {
    /// An empty file. More than `limit_bytes` will not go in.
    pub(super) fn create(path: &Path, limit_bytes: u64, meter: Meter) -> Result<Self, ModelsError> {
        let mut sink = Self::resume(path, limit_bytes, meter, Sha256::new(), 0)?;
        sink.restart()?;
        Ok(sink)
    }

    /// Goes on with what an earlier try left, which is read and hashed first;
    /// an empty file if there is nothing, or too much.
    pub(super) fn open(path: &Path, limit_bytes: u64, meter: Meter) -> Result<Self, ModelsError> {
        let mut digest = Sha256::new();
        let had_bytes = if path.is_file() { digest::feed(&mut digest, path)? } else { 0 };
        if had_bytes > limit_bytes {
            return Self::create(path, limit_bytes, meter);
        }
        Self::resume(path, limit_bytes, meter, digest, had_bytes)
    }

    fn resume(
        path: &Path,
        limit_bytes: u64,
        meter: Meter,
        digest: Sha256,
        size_bytes: u64,
    ) -> Result<Self, ModelsError> {
        // Append mode: a write always goes to the end, also after a restart.
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(ModelsError::io(path))?;
        Ok(Self { path: path.to_owned(), file, digest, size_bytes, limit_bytes, meter })
    }

    /// Tells that bytes are on their way.
    pub(super) fn began(&self) {
        self.meter.began(self.size_bytes);
    }

    /// Bytes in the file.
    pub(super) const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether all that may go in is in.
    pub(super) const fn is_full(&self) -> bool {
        self.size_bytes == self.limit_bytes
    }

    /// Forgets what was written.
    pub(super) fn restart(&mut self) -> Result<(), ModelsError> {
        self.file.set_len(0).map_err(ModelsError::io(&self.path))?;
        self.file.rewind().map_err(ModelsError::io(&self.path))?;
        self.digest = Sha256::new();
        self.size_bytes = 0;
        self.meter.advanced(0);
        Ok(())
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// More than the limit, so that a server that lies about a length cannot
    /// fill the disk; or the file system refuses.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), ModelsError> {
        let size_bytes = self.size_bytes + bytes.len() as u64;
        if size_bytes > self.limit_bytes {
            return Err(ModelsError::WrongSize {
                file: self.path.display().to_string(),
                expected: self.limit_bytes,
                found: size_bytes,
            });
        }
        self.file.write_all(bytes).map_err(ModelsError::io(&self.path))?;
        self.digest.update(bytes);
        self.size_bytes = size_bytes;
        self.meter.advanced(size_bytes);
        Ok(())
    }

    /// Waits until the bytes are on disk.
    pub(super) fn finish(self) -> Result<Arrived, ModelsError> {
        self.file.sync_all().map_err(ModelsError::io(&self.path))?;
        Ok(Arrived { size_bytes: self.size_bytes, sha256: digest::hex(self.digest) })
    }
}
