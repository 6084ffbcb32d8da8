//! The last steps of a download: check the hash, unpack, give the final name.
//!
//! Blocking, and without the network. Called by `fetch`.

use std::path::{Path, PathBuf};

use super::progress::Meter;
use super::sink::Sink;
use super::source::file;
use super::stamp::Stamp;
use super::{FileSpec, Format, ModelsError, Packed, digest, unpack};

/// How much larger than its packed form something may be whose size is not known.
const LARGEST_RATIO: u64 = 50;

/// One file on its way into a model's folder.
pub(super) struct Journey {
    /// What the catalogue says of it.
    pub(super) spec: FileSpec,
    /// Where it will lie.
    pub(super) target: PathBuf,
    /// Who hears how far it is.
    pub(super) meter: Meter,
}

/// Bytes that are here, as they travelled.
pub(super) struct Arrived {
    pub(super) size_bytes: u64,
    pub(super) sha256: String,
}

impl Journey {
    /// The temporary name under which bytes arrive. It stays the same from one
    /// pull to the next, so that an interrupted download can go on.
    pub(super) fn arriving(&self) -> PathBuf {
        self.beside(if self.spec.packed.is_some() { "packed.part" } else { "part" })
    }

    /// Removes what is left where no byte has arrived; there is nothing in it to go on from.
    pub(super) fn remove_empty(&self) {
        let arriving = self.arriving();
        if arriving.metadata().is_ok_and(|it| it.is_file() && it.len() == 0) {
            // One that cannot be removed does no harm.
            let _ = std::fs::remove_file(arriving);
        }
    }

    /// Length of what arrives.
    pub(super) fn expected_bytes(&self) -> u64 {
        self.spec.download_bytes().unwrap_or_default()
    }

    /// Whether what arrived is what the catalogue names.
    pub(super) fn is_right(&self, arrived: &Arrived) -> bool {
        self.spec.download_sha256() == Some(&arrived.sha256)
    }

    /// Disk space it takes from now on, without what is there already.
    pub(super) fn needed_bytes(&self) -> u64 {
        let there = self.arriving().metadata().map_or(0, |metadata| metadata.len());
        let unpacked = self.spec.packed.as_ref().map_or(0, |packed| {
            // Int8 weights hardly shrink in gzip; twice is ample.
            self.spec.size_bytes.unwrap_or(packed.size_bytes * 2)
        });
        (self.expected_bytes() + unpacked).saturating_sub(there)
    }

    /// Copies a file as it travels to where bytes arrive.
    pub(super) fn copy(&self, from: &Path) -> Result<Arrived, ModelsError> {
        let mut sink = Sink::create(&self.arriving(), self.expected_bytes(), self.meter.clone())?;
        sink.began();
        file::copy(from, &mut sink)?;
        sink.finish()
    }

    /// Takes over what lies ready in another folder of models, and checks it.
    pub(super) fn adopt(&self, from: &Path) -> Result<Stamp, ModelsError> {
        let origin = from.display().to_string();
        let Some(expected) = self.spec.sha256.clone() else {
            let detail = "the catalogue has no hash of its unpacked form".to_owned();
            return Err(ModelsError::Source { origin, detail });
        };
        let part = self.beside("part");
        clear(&part)?;
        self.meter.began(0);
        file::copy_tree(from, &part)?;
        let (size_bytes, sha256) = digest::measure(&part)?;
        self.meter.advanced(size_bytes);
        if sha256 != expected {
            clear(&part)?;
            return Err(self.wrong_hash(&origin, &expected, sha256));
        }
        self.settle(&part, Arrived { size_bytes, sha256 }, None, &format!("file {origin}"))
    }

    /// Checks what arrived, unpacks it if it was packed, and gives it its final name.
    ///
    /// # Errors
    /// Wrong bytes, which are removed.
    pub(super) fn install(&self, arrived: Arrived, source: &str) -> Result<Stamp, ModelsError> {
        if !self.is_right(&arrived) {
            clear(&self.arriving())?;
            let expected = self.spec.download_sha256().unwrap_or_default();
            return Err(self.wrong_hash(source, expected, arrived.sha256));
        }
        let Some(packed) = &self.spec.packed else {
            return self.settle(&self.arriving(), arrived, None, source);
        };
        let part = self.beside("part");
        clear(&part)?;
        let unpacked = self.unpack(packed, &part);
        clear(&self.arriving())?;
        if unpacked.is_err() {
            clear(&part)?;
        }
        let unpacked = unpacked?;
        if let Some(expected) = &self.spec.sha256
            && *expected != unpacked.sha256
        {
            clear(&part)?;
            return Err(self.wrong_hash(source, expected, unpacked.sha256));
        }
        self.settle(&part, unpacked, Some(packed.sha256.clone()), source)
    }

    fn unpack(&self, packed: &Packed, part: &Path) -> Result<Arrived, ModelsError> {
        let limit_bytes = self.spec.size_bytes.unwrap_or(packed.size_bytes * LARGEST_RATIO);
        if let (Format::Zip, Some(folder)) = (packed.format, &packed.folder) {
            unpack::unzip_folder(&self.arriving(), folder, part, limit_bytes)?;
            let (size_bytes, sha256) = digest::measure(part)?;
            return Ok(Arrived { size_bytes, sha256 });
        }
        let mut sink = Sink::create(part, limit_bytes, self.meter.silent())?;
        match packed.format {
            Format::Zstd => unpack::unzstd(&self.arriving(), &mut sink)?,
            Format::Gzip | Format::Zip => unpack::gunzip(&self.arriving(), &mut sink)?,
        }
        sink.finish()
    }

    /// Gives something complete and checked its final name.
    fn settle(
        &self,
        part: &Path,
        arrived: Arrived,
        packed_sha256: Option<String>,
        source: &str,
    ) -> Result<Stamp, ModelsError> {
        // A folder cannot be renamed over another one.
        clear(&self.target)?;
        std::fs::rename(part, &self.target).map_err(ModelsError::io(&self.target))?;
        Ok(Stamp {
            name: self.spec.name.clone(),
            size_bytes: arrived.size_bytes,
            sha256: arrived.sha256,
            packed_sha256,
            source: source.to_owned(),
        })
    }

    fn wrong_hash(&self, origin: &str, expected: &str, found: String) -> ModelsError {
        ModelsError::WrongHash {
            file: self.spec.name.clone(),
            origin: origin.to_owned(),
            expected: expected.to_owned(),
            found,
        }
    }

    /// `weights.bin` and `part` make `weights.bin.part` in the same folder.
    fn beside(&self, extension: &str) -> PathBuf {
        self.target.with_file_name(format!("{}.{extension}", self.spec.name))
    }
}

/// Removes a file or a folder, if it is there.
pub(super) fn clear(path: &Path) -> Result<(), ModelsError> {
    let removed =
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ModelsError::io(path)(error))
        }
        _ => Ok(()),
    }
}
