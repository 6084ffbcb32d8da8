//! The models on disk: what is there, where, and which one does a job.
//!
//! Layout: `<folder>/<model id>/<file>`. Nothing here uses the network.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lock::Lock;
use super::manifest::TEXT_ROLE;
use super::pairs::Pairs;
use super::stamp::{Stamp, Stamps};
use super::{Choice, FileSpec, LLM, Manifest, Model, ModelsError, digest, manifest};

/// What a person adds to the catalogue, in the folder of the models.
const OWN_CATALOGUE: &str = "own.toml";

/// The folder of the models, with the catalogue that says what belongs in it.
#[derive(Debug, Clone)]
pub struct ModelStore {
    dir: PathBuf,
    manifest: Arc<Manifest>,
}

/// The model that does a role.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The model; its kind says which engine drives it. For a translation role
    /// this can be a language model.
    pub model: Model,
    /// The folder of its files.
    pub dir: PathBuf,
    /// Hash of its weights, the first of its files.
    pub sha256: String,
}

/// What `verify` found of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCheck {
    /// Name in the model's folder.
    pub name: String,
    /// What it is like.
    pub state: FileState,
}

/// Whether a file is the one in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// Hashed just now, and right.
    Right,
    /// Not there.
    Missing,
    /// There, but with this hash.
    Wrong {
        /// sha256 of what is there.
        sha256: String,
    },
}

impl ModelStore {
    /// The store in `dir`, which need not exist yet, with the built-in catalogue, a person's own
    /// (`own.toml` in `dir`) and the translation models that were pulled by name.
    ///
    /// # Errors
    /// When a catalogue cannot be read or makes no sense.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, ModelsError> {
        let dir = dir.into();
        let mut manifest = Manifest::built_in()?;
        manifest.extend(Pairs::read(&dir)?.entries())?;
        let own = dir.join(OWN_CATALOGUE);
        match std::fs::read_to_string(&own) {
            Ok(text) => manifest
                .add(&text)
                .map_err(|error| ModelsError::Manifest(format!("{}: {error}", own.display())))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(ModelsError::io(&own)(error)),
        }
        Ok(Self::with_manifest(dir, manifest))
    }

    /// The store in `dir` with another catalogue.
    pub fn with_manifest(dir: impl Into<PathBuf>, manifest: Manifest) -> Self {
        Self { dir: dir.into(), manifest: Arc::new(manifest) }
    }

    /// The catalogue.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The folder of all models.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of one model.
    pub fn model_dir(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    /// Whether all files of a model, and of the models it requires, are there
    /// with the lengths they had when their hashes were right.
    pub fn is_installed(&self, id: &str) -> bool {
        self.manifest.model(id).is_ok_and(|model| self.has_all(model))
    }

    fn has_all(&self, model: &Model) -> bool {
        let dir = self.model_dir(&model.id);
        let stamps = Stamps::read(&dir);
        let mut files = model.files_here().peekable();
        files.peek().is_some()
            && files.all(|file| stamps.valid(&dir, file).is_some())
            && model.requires.iter().all(|id| self.is_installed(id))
    }

    /// The hash of the weights, the first of its files, of an installed model.
    pub fn weights_sha256(&self, id: &str) -> Option<String> {
        self.installed(self.manifest.model(id).ok()?).ok().map(|resolved| resolved.sha256)
    }

    /// The path of a file of an installed model.
    ///
    /// # Errors
    /// An unknown model or file, or one that is not installed; the sentence
    /// names the command that mends it.
    pub fn path(&self, id: &str, file: &str) -> Result<PathBuf, ModelsError> {
        let model = self.manifest.model(id)?;
        let dir = self.model_dir(id);
        Stamps::read(&dir)
            .valid(&dir, model.file(file)?)
            .map(|_| dir.join(file))
            .ok_or_else(|| ModelsError::NotInstalled(id.to_owned()))
    }

    /// The model that does `role`: the one picked by name, else the one that
    /// `models pull` chose, else the best one that is installed.
    ///
    /// # Errors
    /// An unknown name, a pick that cannot do the role, or nothing installed.
    pub fn resolve(&self, role: &str, pick: Option<&str>) -> Result<Resolved, ModelsError> {
        let spec = self.manifest.role(role)?;
        if let Some(id) = pick {
            if id == LLM && spec.candidates.iter().any(|candidate| candidate.model == LLM) {
                return self.resolve(TEXT_ROLE, None);
            }
            let picked = self.manifest.model(id)?;
            self.check_kind(spec, picked)?;
            return self.installed(picked);
        }
        let chosen = self.choice(role)?.map(|choice| choice.model);
        let candidates = spec.candidates.iter().map(|candidate| candidate.model.as_str());
        for id in chosen.as_deref().into_iter().chain(candidates) {
            if id == LLM {
                if let Ok(resolved) = self.resolve(TEXT_ROLE, None) {
                    return Ok(resolved);
                }
            } else if self.is_installed(id) {
                return self.installed(self.manifest.model(id)?);
            }
        }
        Err(ModelsError::RoleEmpty(role.to_owned()))
    }

    /// The model that `models pull` chose for a role, if it did.
    pub fn choice(&self, role: &str) -> Result<Option<Choice>, ModelsError> {
        Ok(Lock::read(&self.dir)?.role.remove(role))
    }

    /// A model may be picked for a role if it is of the kind of one of the
    /// role's candidates: `whisper-small` is no candidate, but it can transcribe.
    fn check_kind(&self, role: &manifest::Role, model: &Model) -> Result<(), ModelsError> {
        let fits = role.candidates.iter().any(|candidate| {
            let id = &candidate.model;
            self.manifest.model(id).is_ok_and(|known| known.kind == model.kind)
        });
        if fits {
            return Ok(());
        }
        let candidates: Vec<_> =
            role.candidates.iter().map(|candidate| candidate.model.as_str()).collect();
        Err(ModelsError::NotACandidate {
            model: model.id.clone(),
            role: role.name.clone(),
            candidates: candidates.join(", "),
        })
    }

    fn installed(&self, model: &Model) -> Result<Resolved, ModelsError> {
        let weights = self.weights_stamp(model);
        match weights {
            Some(stamp) if self.has_all(model) => Ok(Resolved {
                model: model.clone(),
                dir: self.model_dir(&model.id),
                sha256: stamp.sha256,
            }),
            _ => Err(ModelsError::NotInstalled(model.id.clone())),
        }
    }

    /// The stamp of a model's first file.
    pub(super) fn weights_stamp(&self, model: &Model) -> Option<Stamp> {
        let dir = self.model_dir(&model.id);
        Stamps::read(&dir).valid(&dir, model.files_here().next()?).cloned()
    }

    /// Hashes a model's files again. A file that is right is stamped as
    /// installed, one that is not loses its stamp and is no longer used.
    pub fn verify(&self, id: &str) -> Result<Vec<FileCheck>, ModelsError> {
        let model = self.manifest.model(id)?;
        let dir = self.model_dir(id);
        let mut stamps = Stamps::read(&dir);
        let mut checks = Vec::new();
        for file in model.files_here() {
            let name = file.name.clone();
            let state = match Examined::of(&dir, file, &stamps)? {
                Examined::Missing => FileState::Missing,
                Examined::Wrong(sha256) => FileState::Wrong { sha256 },
                Examined::Right(stamp) => {
                    stamps.set(stamp);
                    checks.push(FileCheck { name, state: FileState::Right });
                    continue;
                }
            };
            stamps.remove(&name);
            checks.push(FileCheck { name, state });
        }
        if dir.is_dir() {
            stamps.write(&dir)?;
        }
        Ok(checks)
    }

    /// Deletes a model's folder, and the choices that name the model.
    ///
    /// # Errors
    /// An unknown model, or one that is not there.
    pub fn remove(&self, id: &str) -> Result<(), ModelsError> {
        let model = self.manifest.model(id)?;
        let dir = self.model_dir(&model.id);
        if !dir.is_dir() {
            return Err(ModelsError::NotInstalled(id.to_owned()));
        }
        std::fs::remove_dir_all(&dir).map_err(ModelsError::io(dir))?;
        let mut lock = Lock::read(&self.dir)?;
        lock.role.retain(|_, choice| choice.model != id);
        lock.write(&self.dir)
    }
}

/// What a file in a model's folder turned out to be.
pub(super) enum Examined {
    Missing,
    Wrong(String),
    Right(Stamp),
}

impl Examined {
    /// Hashes a file that lies in a model's folder.
    ///
    /// Where the catalogue knows only the hash of the packed form, the hash
    /// stamped at unpacking is what the file is compared with.
    pub(super) fn of(dir: &Path, file: &FileSpec, stamps: &Stamps) -> Result<Self, ModelsError> {
        let path = dir.join(&file.name);
        if !path.exists() {
            return Ok(Self::Missing);
        }
        let (size_bytes, sha256) = digest::measure(&path)?;
        let stamp = stamps.files.iter().find(|stamp| stamp.name == file.name);
        let packed_sha256 = stamp.and_then(|stamp| stamp.packed_sha256.clone());
        let expected = match (&file.sha256, stamp) {
            (Some(expected), _) => Some(expected),
            (None, Some(stamp)) => Some(&stamp.sha256),
            (None, None) => None,
        };
        if expected != Some(&sha256) {
            return Ok(Self::Wrong(sha256));
        }
        let source = stamp.map_or_else(|| "already there".to_owned(), |stamp| stamp.source.clone());
        let name = file.name.clone();
        Ok(Self::Right(Stamp { name, size_bytes, sha256, packed_sha256, source }))
    }
}
