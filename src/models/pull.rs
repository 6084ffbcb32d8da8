//! Provides for roles and models: decides what is needed, fetches what is missing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::sync::OnceCell;

use super::fetch::{Fetcher, blocking};
use super::install::clear;
use super::lock::Lock;
use super::manifest::{TEXT_ROLE, platform};
use super::source::registry::FOLDER_PREFIX;
use super::space::FreeSpace;
use super::stamp::{Stamp, Stamps};
use super::store::Examined;
use super::{
    Choice, Commands, FileSpec, HubAccess, LLM, Manifest, Model, ModelStore, ModelsError,
    PullProgress,
};

/// File that keeps two pulls from working on the same folder.
const LOCK_NAME: &str = ".pull.lock";

/// Something to provide for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// The best model that can be had for a role.
    Role(String),
    /// This model.
    Model(String),
}

/// How to pull.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Use nothing but what is on this machine.
    pub offline: bool,
    /// Downloads at once.
    pub parallel: usize,
    /// A folder of models from another machine, looked at before any source.
    pub from: Option<PathBuf>,
    /// Try candidates again that are better than what is installed.
    pub upgrade: bool,
    /// How to reach Hugging Face.
    pub hub: HubAccess,
    /// The package managers.
    pub commands: Commands,
    /// Asks for the free space of a folder's disk, in bytes.
    pub free_space: FreeSpace,
}

/// What came of it, in the order of the wants.
#[derive(Debug, Clone)]
pub struct PullReport {
    /// One for each want.
    pub outcomes: Vec<Outcome>,
}

/// What came of one want.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was wanted.
    pub want: Want,
    /// The model that is there now, or why there is none.
    pub result: Result<Pulled, ModelsError>,
    /// Better candidates that could not be had.
    pub passed_over: Vec<PassedOver>,
}

/// A model that is there and right.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulled {
    /// Model id, or [`LLM`] where the text model does the role too.
    pub model: String,
    /// Hash of its weights, the first of its files.
    pub sha256: String,
    /// Where the weights came from.
    pub source: String,
    /// Bytes fetched now, for what it requires too; 0 if all was there.
    pub fetched_bytes: u64,
    /// How long that took.
    pub seconds: f64,
}

/// A better candidate, and why it was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Model id, or [`LLM`].
    pub model: String,
    /// What makes it better, from the catalogue.
    pub why_better: String,
    /// Why it was not taken.
    pub reason: ModelsError,
}

impl Want {
    /// Reads the name of a role or a model.
    pub fn parse(manifest: &Manifest, name: &str) -> Result<Self, ModelsError> {
        if manifest.role(name).is_ok() {
            return Ok(Self::Role(name.to_owned()));
        }
        manifest.model(name).map(|model| Self::Model(model.id.clone()))
    }

    /// What a pull without names provides for.
    pub fn defaults(manifest: &Manifest) -> Vec<Self> {
        let roles = manifest.roles.iter().filter(|role| role.default);
        roles.map(|role| Self::Role(role.name.clone())).collect()
    }

    /// The name as it was typed.
    pub fn name(&self) -> &str {
        let (Self::Role(name) | Self::Model(name)) = self;
        name
    }
}

impl Default for PullOptions {
    /// From all sources, as the environment says.
    fn default() -> Self {
        Self {
            offline: false,
            parallel: 4,
            from: None,
            upgrade: false,
            hub: HubAccess::from_environment(),
            commands: Commands::default(),
            free_space: |dir| fs4::available_space(dir),
        }
    }
}

impl PullReport {
    /// Whether everything that was wanted is there.
    pub fn is_complete(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.result.is_ok())
    }
}

/// Provides for `wants`: takes what is installed, fetches what is not, writes
/// the choices to the lock file.
///
/// For a role its candidates are tried in order of quality, except that an
/// earlier choice that is still installed stands. Another pull at work on the
/// same folder is waited for.
///
/// # Errors
/// When the folder or the lock file cannot be used. What cannot be had is no
/// error here; the report tells it for each want.
pub async fn pull(
    store: &ModelStore,
    wants: &[Want],
    options: &PullOptions,
    progress: Arc<dyn PullProgress>,
) -> Result<PullReport, ModelsError> {
    let dir = store.dir();
    std::fs::create_dir_all(dir).map_err(ModelsError::io(dir))?;
    let _held = hold(dir, &progress).await?;
    sweep(dir)?;
    let mut lock = Lock::read(dir)?;
    let session = Session {
        store,
        upgrade: options.upgrade,
        earlier: lock.clone(),
        fetcher: Fetcher::new(dir, options, &progress),
        models: Mutex::default(),
    };
    let outcomes = join_all(wants.iter().map(|want| session.provide(want))).await;
    for outcome in &outcomes {
        if let (Want::Role(role), Ok(pulled)) = (&outcome.want, &outcome.result) {
            let (model, sha256) = (pulled.model.clone(), pulled.sha256.clone());
            lock.role.insert(role.clone(), Choice { model, sha256, source: pulled.source.clone() });
        }
    }
    lock.write(dir)?;
    Ok(PullReport { outcomes })
}

/// Waits until no other pull works on the folder.
async fn hold(dir: &Path, progress: &Arc<dyn PullProgress>) -> Result<std::fs::File, ModelsError> {
    let path = dir.join(LOCK_NAME);
    let file = std::fs::File::create(&path).map_err(ModelsError::io(&path))?;
    if file.try_lock().is_ok() {
        return Ok(file);
    }
    progress.note("Another pull is at work in this folder; waiting for it.");
    blocking(move || file.lock().map(|()| file).map_err(ModelsError::io(path))).await
}

/// Removes packages that a killed pull left.
fn sweep(dir: &Path) -> Result<(), ModelsError> {
    for entry in std::fs::read_dir(dir).map_err(ModelsError::io(dir))? {
        let entry = entry.map_err(ModelsError::io(dir))?;
        if entry.file_name().to_string_lossy().starts_with(FOLDER_PREFIX) {
            clear(&entry.path())?;
        }
    }
    Ok(())
}

type Shared = Arc<OnceCell<Result<Pulled, ModelsError>>>;

/// One pull.
struct Session<'a> {
    store: &'a ModelStore,
    upgrade: bool,
    /// The choices before this pull.
    earlier: Lock,
    fetcher: Fetcher,
    /// Models that were provided for, or are just now: two roles may want the same.
    models: Mutex<HashMap<String, Shared>>,
}

impl Session<'_> {
    async fn provide(&self, want: &Want) -> Outcome {
        let (result, passed_over) = match want {
            Want::Model(id) => (self.model(id).await, Vec::new()),
            Want::Role(name) => self.role(name).await,
        };
        Outcome { want: want.clone(), result, passed_over }
    }

    /// Provides for a role: the earlier choice, or the first candidate that can be had.
    fn role<'b>(
        &'b self,
        name: &'b str,
    ) -> BoxFuture<'b, (Result<Pulled, ModelsError>, Vec<PassedOver>)> {
        async move {
            let role = match self.store.manifest().role(name) {
                Ok(role) => role,
                Err(error) => return (Err(error), Vec::new()),
            };
            let earlier = self.earlier.role.get(name).map(|choice| choice.model.as_str());
            if let Some(id) = earlier.filter(|id| !self.upgrade && self.is_there(id)) {
                return (self.candidate(id).await, Vec::new());
            }
            let mut passed_over = Vec::new();
            for candidate in &role.candidates {
                match self.candidate(&candidate.model).await {
                    Err(reason) if reason.stops_the_role() => return (Err(reason), passed_over),
                    Err(reason) => passed_over.push(PassedOver {
                        model: candidate.model.clone(),
                        why_better: candidate.why.clone(),
                        reason,
                    }),
                    pulled => return (pulled, passed_over),
                }
            }
            (Err(ModelsError::NoCandidate(name.to_owned())), passed_over)
        }
        .boxed()
    }

    fn is_there(&self, candidate: &str) -> bool {
        if candidate == LLM {
            self.store.resolve(TEXT_ROLE, None).is_ok()
        } else {
            self.store.is_installed(candidate)
        }
    }

    async fn candidate(&self, id: &str) -> Result<Pulled, ModelsError> {
        if id != LLM {
            return self.model(id).await;
        }
        let (pulled, _) = self.role(TEXT_ROLE).await;
        pulled.map(|pulled| Pulled { model: LLM.to_owned(), ..pulled })
    }

    /// Provides for a model, once, however many want it.
    fn model<'b>(&'b self, id: &'b str) -> BoxFuture<'b, Result<Pulled, ModelsError>> {
        let cell = {
            let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(models.entry(id.to_owned()).or_default())
        };
        async move { cell.get_or_init(async || self.provide_model(id).await).await.clone() }.boxed()
    }

    async fn provide_model(&self, id: &str) -> Result<Pulled, ModelsError> {
        let began = Instant::now();
        let model = self.store.manifest().model(id)?;
        let required = model.requires.iter().map(|id| self.model(id));
        // What it requires first: weights are of no use without it, and it may be missing.
        let mut fetched_bytes = 0;
        for required in join_all(required).await {
            fetched_bytes += required?.fetched_bytes;
        }
        fetched_bytes += self.fetch_missing(model).await?;
        let weights = self.store.weights_stamp(model);
        let weights = weights.ok_or_else(|| ModelsError::WrongPlatform {
            model: id.to_owned(),
            platform: platform(),
        })?;
        let (model, seconds) = (id.to_owned(), began.elapsed().as_secs_f64());
        let (sha256, source) = (weights.sha256, weights.source);
        Ok(Pulled { model, sha256, source, fetched_bytes, seconds })
    }

    /// Fetches the files of a model that are not there; returns how many bytes that were.
    async fn fetch_missing(&self, model: &Model) -> Result<u64, ModelsError> {
        let dir = self.store.model_dir(&model.id);
        let mut stamps = Stamps::read(&dir);
        let missing: Vec<_> =
            model.files_here().filter(|file| stamps.valid(&dir, file).is_none()).collect();
        if missing.is_empty() {
            return Ok(0);
        }
        std::fs::create_dir_all(&dir).map_err(ModelsError::io(&dir))?;
        let arriving =
            missing.into_iter().map(|file| self.provide_file(model, file, &dir, &stamps));
        let arrived = join_all(arriving).await;
        let mut failures = Vec::new();
        let mut fetched_bytes = 0;
        for result in arrived {
            match result {
                Ok((stamp, bytes)) => {
                    stamps.set(stamp);
                    fetched_bytes += bytes;
                }
                Err(error) => failures.push(error),
            }
        }
        // What did arrive is kept, also when another file did not.
        stamps.write(&dir)?;
        if failures.is_empty() { Ok(fetched_bytes) } else { Err(ModelsError::worst(&failures)) }
    }

    /// Provides for one file; also returns how many bytes were fetched.
    async fn provide_file(
        &self,
        model: &Model,
        file: &FileSpec,
        dir: &Path,
        stamps: &Stamps,
    ) -> Result<(Stamp, u64), ModelsError> {
        // A file without a stamp may have been put there by hand: hashed once, not fetched.
        let (at, spec, known) = (dir.to_owned(), file.clone(), stamps.clone());
        if let Examined::Right(stamp) = blocking(move || Examined::of(&at, &spec, &known)).await? {
            return Ok((stamp, 0));
        }
        let stamp = self.fetcher.fetch(model, file).await?;
        Ok((stamp, file.download_bytes().unwrap_or_default()))
    }
}
