//! For the tests of `models pull`: a source on this machine that can misbehave,
//! package managers that fetch from a folder, and small catalogues.
#![allow(dead_code, reason = "every test crate uses its own part of this module")]
#![allow(clippy::unwrap_used, reason = "a fixture that cannot be set up should stop the test")]

pub mod packages;
pub mod server;

use std::path::PathBuf;
use std::sync::Arc;

use mega_pipeline::models::{
    Commands, HubAccess, Manifest, ModelStore, PullOptions, PullReport, Silent, Want, pull,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Lower-case hexadecimal sha256.
pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Bytes that do not repeat soon, so that a piece in the wrong place is noticed.
pub fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// A `[[model]]` of the catalogue with one file, `weights.bin`.
pub fn model(id: &str, content: &[u8], sources: &str) -> String {
    let (size, hash) = (content.len(), sha256(content));
    let file = format!("size_bytes = {size}\nsha256 = '{hash}'\nsources = [{sources}]");
    model_of(id, "weights.bin", &file)
}

/// A `[[model]]` of the catalogue with one file.
pub fn model_of(id: &str, name: &str, file: &str) -> String {
    format!(
        "[[model]]\nid = '{id}'\ntitle = ''\nkind = 'gguf'\nlanguages = []\nlicence = ''\n\
         note = ''\n[[model.file]]\nname = '{name}'\n{file}\n"
    )
}

/// A `[[role]]` of the catalogue.
pub fn role(name: &str, candidates: &[&str]) -> String {
    let candidates: Vec<_> = candidates
        .iter()
        .map(|id| format!("{{ model = '{id}', why = 'reason of {id}' }}"))
        .collect();
    format!(
        "[[role]]\nname = '{name}'\ntitle = ''\ndefault = true\ncandidates = [{}]\n",
        candidates.join(", ")
    )
}

/// An empty store with a catalogue, and options that reach nothing but this test's servers.
pub struct Bench {
    /// The folder of the store, and of the other things of this test.
    pub root: TempDir,
    /// The store.
    pub store: ModelStore,
    /// How to pull.
    pub options: PullOptions,
}

impl Bench {
    /// A store for this catalogue.
    pub fn new(catalogue: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = ModelStore::with_manifest(
            root.path().join("store"),
            Manifest::parse(catalogue).unwrap(),
        );
        let options = PullOptions {
            hub: HubAccess {
                endpoint: Some("http://127.0.0.1:9".to_owned()),
                cache_dir: root.path().join("hub"),
                token: None,
                offline: false,
            },
            commands: Commands { npm: "/nowhere/npm".into(), python: "/nowhere/python3".into() },
            ..PullOptions::default()
        };
        Self { root, store, options }
    }

    /// Pulls roles and models by name.
    pub async fn pull(&self, names: &[&str]) -> PullReport {
        let wants: Vec<_> =
            names.iter().map(|name| Want::parse(self.store.manifest(), name).unwrap()).collect();
        pull(&self.store, &wants, &self.options, Arc::new(Silent)).await.unwrap()
    }

    /// `weights.bin` of a model, whether or not it is there.
    pub fn weights(&self, id: &str) -> PathBuf {
        self.store.model_dir(id).join("weights.bin")
    }

    /// Names of all that lies in a model's folder, without the stamps.
    pub fn files(&self, id: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.store.model_dir(id)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != ".installed.toml").collect()
    }
}

/// The error of the only want.
pub fn failure(report: &PullReport) -> String {
    assert_eq!(report.outcomes.len(), 1);
    report.outcomes[0].result.as_ref().unwrap_err().to_string()
}
