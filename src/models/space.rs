//! Room on the disk, promised to downloads before they begin.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::ModelsError;

/// How the free space of a folder's disk is asked for, in bytes.
pub type FreeSpace = fn(&Path) -> io::Result<u64>;

/// What several downloads at once may still take.
///
/// A file under way counts in full until it is complete, so a nearly full disk
/// is called full a little too early rather than too late.
pub(super) struct Space {
    dir: PathBuf,
    free: FreeSpace,
    promised_bytes: Mutex<u64>,
}

/// Room for one file; given back when dropped.
pub(super) struct Room<'a> {
    space: &'a Space,
    bytes: u64,
}

impl Space {
    pub(super) fn new(dir: &Path, free: FreeSpace) -> Self {
        Self { dir: dir.to_owned(), free, promised_bytes: Mutex::new(0) }
    }

    /// Promises `bytes` to `file`, or says what is missing.
    pub(super) fn promise(&self, file: &str, bytes: u64) -> Result<Room<'_>, ModelsError> {
        let mut promised = self.promised_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let free_bytes = (self.free)(&self.dir).map_err(ModelsError::io(&self.dir))?;
        let needed_bytes = *promised + bytes;
        if needed_bytes > free_bytes {
            let (file, dir) = (file.to_owned(), self.dir.clone());
            return Err(ModelsError::DiskFull { file, needed_bytes, free_bytes, dir });
        }
        *promised = needed_bytes;
        Ok(Room { space: self, bytes })
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        *self.space.promised_bytes.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_promised_to_one_file_is_not_promised_to_another_until_it_is_given_back() {
        let space = Space::new(Path::new("/"), |_| Ok(100));
        let first = space.promise("a", 60).unwrap();
        assert!(matches!(space.promise("b", 60), Err(ModelsError::DiskFull { .. })));
        drop(first);
        assert!(space.promise("b", 60).is_ok());
    }
}
