//! `models pull --pair`: translation models that the catalogue does not name.

#[path = "support/models/mod.rs"]
mod fixture;

use std::sync::Arc;

use fixture::server::{Served, Server};
use fixture::{bytes, failure, sha256};
use mega_pipeline::config::Config;
use mega_pipeline::models::{ModelStore, PullOptions, Silent, Want, find_pair, pull};
use mega_pipeline::settings::Settings;
use mega_pipeline::stage;

/// A service like Mozilla's Remote Settings with one model from English to Czech, whose network
/// is told to have the hash `network_hash`, and one from Czech to English.
async fn remote_settings(network_hash: &str) -> (Server, Vec<(&'static str, Vec<u8>)>) {
    let files = vec![("model", bytes(5_000)), ("lex", bytes(700)), ("vocab", bytes(90))];
    let packed: Vec<(String, Vec<u8>)> = files
        .iter()
        .map(|(kind, content)| {
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            (format!("/files/{kind}.zst"), ruzstd::encoding::compress_to_vec(&content[..], level))
        })
        .collect();
    let record = |kind: &str,
                  content: &[u8],
                  packed: &[u8],
                  languages: [&str; 2],
                  version: &str| {
        let hash = if kind == "model" { network_hash.to_owned() } else { sha256(content) };
        serde_json::json!({
            "name": format!("{kind}.encs.bin"), "fileType": kind, "version": version,
            "architecture": "base", "sourceLanguage": languages[0], "targetLanguage": languages[1],
            "decompressedHash": hash, "decompressedSize": content.len(),
            "attachment": {
                "hash": sha256(packed), "size": packed.len(), "location": format!("{kind}.zst"),
            },
        })
    };
    let mut records = vec![
        serde_json::json!({ "name": "of another shape" }),
        // Older, newer than the engine knows, and without its other files.
        record("model", &[0; 9], &packed[0].1, ["en", "cs"], "2.0"),
        record("model", &[0; 9], &packed[0].1, ["en", "cs"], "4.0"),
        record("model", &[0; 9], &packed[0].1, ["en", "cs"], "3.1"),
    ];
    for ((kind, content), (_, packed)) in files.iter().zip(&packed) {
        records.push(record(kind, content, packed, ["cs", "en"], "3.0"));
        records.push(record(kind, content, packed, ["en", "cs"], "3.0"));
    }
    let list = serde_json::json!({ "data": records }).to_string();
    let mut served = vec![(
        "/v1/buckets/main/collections/translations-models-v2/records",
        Served::well(list.as_bytes()),
    )];
    served.extend(packed.iter().map(|(path, packed)| (path.as_str(), Served::well(packed))));
    let server = Server::start(&served).await;
    let base = server.url("/files/");
    let root = serde_json::json!({ "capabilities": { "attachments": { "base_url": base } } });
    server.serve("/v1/", Served::well(root.to_string().as_bytes()));
    (server, files)
}

#[tokio::test]
async fn a_pair_of_languages_is_found_pulled_and_remembered() {
    let (server, files) = remote_settings(&sha256(&bytes(5_000))).await;
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("models");
    let role = find_pair(&dir, &server.url("/v1"), "en-cs").await.unwrap();
    assert_eq!(role, "translation-en-cs");
    let store = ModelStore::open(&dir).unwrap();
    let wants = [Want::parse(store.manifest(), &role).unwrap()];
    let report = pull(&store, &wants, &PullOptions::default(), Arc::new(Silent)).await.unwrap();
    assert_eq!(report.outcomes[0].result.as_ref().unwrap().model, "firefox-en-cs");
    for (kind, content) in files {
        let file = dir.join("firefox-en-cs").join(format!("{kind}.encs.bin"));
        assert_eq!(std::fs::read(file).unwrap(), content, "{kind}");
    }
    // Whoever opens the folder later finds the model like any other.
    let later = ModelStore::open(&dir).unwrap();
    let found = later.resolve(&role, None).unwrap();
    assert_eq!(found.model.id, "firefox-en-cs");
    assert_eq!(found.model.languages, ["en", "cs"]);
    assert!(later.manifest().model("firefox-en-fr").is_ok());
}

#[tokio::test]
async fn a_pair_to_english_is_a_model_beside_the_one_from_english() {
    let (server, _) = remote_settings(&sha256(&bytes(5_000))).await;
    let root = tempfile::tempdir().unwrap();
    for (pair, role) in [("en-cs", "translation-en-cs"), ("cs-en", "translation-cs-en")] {
        assert_eq!(find_pair(root.path(), &server.url("/v1"), pair).await.unwrap(), role);
        let store = ModelStore::open(root.path()).unwrap();
        let wants = [Want::parse(store.manifest(), role).unwrap()];
        pull(&store, &wants, &PullOptions::default(), Arc::new(Silent)).await.unwrap();
    }
    let store = ModelStore::open(root.path()).unwrap();
    let settings = Settings::new(&Config::defaults()).unwrap();
    let offered = stage::translations(&store, &settings);
    assert_eq!(offered, [("cs", "en"), ("en", "cs")]);
}

#[tokio::test]
async fn a_network_that_is_not_the_one_announced_is_not_used() {
    let (server, _) = remote_settings(&"0".repeat(64)).await;
    let root = tempfile::tempdir().unwrap();
    let role = find_pair(root.path(), &server.url("/v1"), "en-cs").await.unwrap();
    let store = ModelStore::open(root.path()).unwrap();
    let wants = [Want::Model("firefox-en-cs".to_owned())];
    let report = pull(&store, &wants, &PullOptions::default(), Arc::new(Silent)).await.unwrap();
    assert!(failure(&report).contains("has sha256"), "{}", failure(&report));
    assert!(!store.is_installed("firefox-en-cs") && store.manifest().role(&role).is_ok());
}

#[tokio::test]
async fn a_pair_that_cannot_be_had_is_told_with_those_that_can() {
    let (server, _) = remote_settings("").await;
    let root = tempfile::tempdir().unwrap();
    for (pair, reason) in [
        ("en-xx", "there are cs-en, en-cs"),
        ("de-fr", "not a pair from or to English"),
        ("en-en", "not a pair from or to English"),
        ("nonsense", "not a pair from or to English"),
    ] {
        let error = find_pair(root.path(), &server.url("/v1"), pair).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    let error = find_pair(root.path(), &server.url("/nothing"), "en-cs").await.unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}
