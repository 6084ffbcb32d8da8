//! Hugging Face: its cache, its token, its addresses; the bytes come through `http`.

use std::path::PathBuf;

use hf_hub::api::tokio::ApiBuilder;
use hf_hub::{Cache, Repo, RepoType};

use crate::models::ModelsError;

/// How to reach Hugging Face, from the variables its own tools use.
#[derive(Debug, Clone)]
pub struct HubAccess {
    /// Another host than the public one (`HF_ENDPOINT`).
    pub endpoint: Option<String>,
    /// Folder of the cache (`HF_HOME`, plus `hub`).
    pub cache_dir: PathBuf,
    /// Secret for gated files (`HF_TOKEN`, or what a login left in the cache).
    pub token: Option<String>,
    /// Use the cache only (`HF_HUB_OFFLINE`).
    pub offline: bool,
}

impl HubAccess {
    /// As the environment says.
    pub fn from_environment() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let cache = Cache::from_env();
        let offline = set("HF_HUB_OFFLINE").map(|value| value.to_lowercase());
        Self {
            endpoint: set("HF_ENDPOINT"),
            token: set("HF_TOKEN").or_else(|| cache.token()),
            cache_dir: cache.path().clone(),
            offline: offline.is_some_and(|value| ["1", "true", "yes", "on"].contains(&&*value)),
        }
    }

    /// A file that is in the cache already, put there by any tool.
    pub(in crate::models) fn cached(
        &self,
        repo: &str,
        revision: &str,
        path: &str,
    ) -> Option<PathBuf> {
        let cache = Cache::new(self.cache_dir.clone());
        let repo = cache.repo(repo_at(repo, revision));
        // A pinned commit has no entry among the refs; its snapshot has its name.
        let pinned = repo.pointer_path(revision).join(path);
        repo.get(path).or_else(|| pinned.exists().then_some(pinned))
    }

    /// The address of a file.
    pub(in crate::models) fn url(
        &self,
        repo: &str,
        revision: &str,
        path: &str,
    ) -> Result<String, ModelsError> {
        let mut builder =
            ApiBuilder::from_cache(Cache::new(self.cache_dir.clone())).with_progress(false);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        let api = builder.build().map_err(|error| ModelsError::Source {
            origin: format!("hub {repo}"),
            detail: error.to_string(),
        })?;
        Ok(api.repo(repo_at(repo, revision)).url(path))
    }
}

fn repo_at(repo: &str, revision: &str) -> Repo {
    Repo::with_revision(repo.to_owned(), RepoType::Model, revision.to_owned())
}
