//! `models pull` over HTTP: what arrives is right and complete, or it is not used.

#[path = "support/models/mod.rs"]
mod fixture;

use std::io::Write;
use std::time::{Duration, Instant};

use fixture::server::{Served, Server};
use fixture::{Bench, bytes, failure, model, model_of, role, sha256};
use mega_pipeline::models::{FileState, ModelsError, Want};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_the_right_hash_is_installed_and_the_choice_is_written_down() {
    let content = bytes(300_000);
    let server = Server::start(&[("/a", Served::well(&content))]).await;
    let bench = Bench::new(&(model("a", &content, &server.source("/a")) + &role("text", &["a"])));
    let report = bench.pull(&["text"]).await;
    assert!(report.is_complete());
    assert_eq!(std::fs::read(bench.store.path("a", "weights.bin").unwrap()).unwrap(), content);
    assert_eq!(bench.files("a"), ["weights.bin"]);
    let choice = bench.store.choice("text").unwrap().unwrap();
    assert_eq!((choice.model.as_str(), choice.sha256), ("a", sha256(&content)));
    assert_eq!(choice.source, server.url("/a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_pull_asks_for_nothing() {
    let content = bytes(1000);
    let server = Server::start(&[("/a", Served::well(&content))]).await;
    let bench = Bench::new(&(model("a", &content, &server.source("/a")) + &role("text", &["a"])));
    bench.pull(&["text"]).await;
    let again = bench.pull(&["text"]).await;
    assert_eq!(again.outcomes[0].result.as_ref().unwrap().fetched_bytes, 0);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pulls_at_once_fetch_a_file_once() {
    let content = bytes(500_000);
    let server = Server::start(&[("/a", Served::well(&content))]).await;
    let bench = Bench::new(&(model("a", &content, &server.source("/a")) + &role("text", &["a"])));
    let (one, two) = tokio::join!(bench.pull(&["text"]), bench.pull(&["a"]));
    assert!(one.is_complete() && two.is_complete());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_the_wrong_hash_is_refused_and_removed_and_no_lesser_model_is_taken() {
    let content = bytes(1000);
    let server =
        Server::start(&[("/a", Served::well(&vec![0; 1000])), ("/b", Served::well(&content))])
            .await;
    let bench = Bench::new(
        &(model("a", &content, &server.source("/a"))
            + &model("b", &content, &server.source("/b"))
            + &role("text", &["a", "b"])),
    );
    let report = bench.pull(&["text"]).await;
    assert!(failure(&report).contains(&sha256(&content)), "{}", failure(&report));
    assert!(bench.files("a").is_empty(), "{:?}", bench.files("a"));
    assert!(!bench.store.is_installed("a"));
    assert_eq!(bench.store.choice("text").unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_source_has_wrong_bytes_the_next_one_is_asked() {
    let content = bytes(1000);
    let server =
        Server::start(&[("/bad", Served::well(&vec![0; 1000])), ("/good", Served::well(&content))])
            .await;
    let sources = format!("{}, {}", server.source("/bad"), server.source("/good"));
    let bench = Bench::new(&model("a", &content, &sources));
    let report = bench.pull(&["a"]).await;
    assert_eq!(report.outcomes[0].result.as_ref().unwrap().source, server.url("/good"));
    assert_eq!(std::fs::read(bench.weights("a")).unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let content = bytes(10_000);
    let broken = Served { breaks: vec![4000, 3000], ..Served::well(&content) };
    let server = Server::start(&[("/a", broken)]).await;
    let bench = Bench::new(&model("a", &content, &server.source("/a")));
    assert!(bench.pull(&["a"]).await.is_complete());
    let expected = [None, Some("bytes=4000-".to_owned()), Some("bytes=7000-".to_owned())];
    assert_eq!(server.ranges(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_no_ranges_is_asked_for_the_whole_file_again() {
    let content = bytes(10_000);
    let broken = Served { breaks: vec![4000], ranges: false, ..Served::well(&content) };
    let server = Server::start(&[("/a", broken)]).await;
    let bench = Bench::new(&model("a", &content, &server.source("/a")));
    assert!(bench.pull(&["a"]).await.is_complete());
    assert_eq!(std::fs::read(bench.weights("a")).unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_gives_up_leaves_nothing_under_the_final_name_and_the_next_goes_on() {
    let content = bytes(10_000);
    let broken = Served { breaks: vec![4000, 0, 0, 0], ..Served::well(&content) };
    let server = Server::start(&[("/a", broken)]).await;
    let bench = Bench::new(&model("a", &content, &server.source("/a")));
    assert!(!bench.pull(&["a"]).await.is_complete());
    assert_eq!(bench.files("a"), ["weights.bin.part"]);
    assert_eq!(
        bench.store.path("a", "weights.bin").unwrap_err(),
        ModelsError::NotInstalled("a".to_owned())
    );
    assert!(bench.pull(&["a"]).await.is_complete());
    assert_eq!(server.ranges().last().unwrap().as_deref(), Some("bytes=4000-"));
    assert_eq!(bench.files("a"), ["weights.bin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_pull_left_is_thrown_away_if_it_is_wrong() {
    let content = bytes(10_000);
    let server = Server::start(&[("/a", Served::well(&content))]).await;
    let bench = Bench::new(&model("a", &content, &server.source("/a")));
    std::fs::create_dir_all(bench.store.model_dir("a")).unwrap();
    for left_over in [vec![7; 4000], vec![7; 10_000], vec![7; 20_000]] {
        std::fs::write(bench.weights("a").with_extension("bin.part"), left_over).unwrap();
        assert!(bench.pull(&["a"]).await.is_complete());
        assert_eq!(std::fs::read(bench.weights("a")).unwrap(), content);
        bench.store.remove("a").unwrap();
        std::fs::create_dir_all(bench.store.model_dir("a")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_lies_about_its_length_is_stopped() {
    let content = bytes(1000);
    let server = Server::start(&[("/a", Served::well(&bytes(2_000_000)))]).await;
    let bench = Bench::new(&model("a", &content, &server.source("/a")));
    let told = failure(&bench.pull(&["a"]).await);
    assert!(told.ends_with("where 1000 are expected"), "{told}");
    let left = std::fs::metadata(bench.weights("a").with_extension("bin.part"));
    assert!(left.map_or(0, |it| it.len()) <= 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_host_is_given_up_soon_and_the_next_candidate_is_taken_with_the_reason() {
    let content = bytes(1000);
    let server = Server::start(&[("/b", Served::well(&content))]).await;
    // Discard: nobody listens there.
    let dead = "{ url = 'http://127.0.0.1:9/a' }";
    let bench = Bench::new(
        &(model("a", &content, dead)
            + &model("b", &content, &server.source("/b"))
            + &role("text", &["a", "b"])),
    );
    let began = Instant::now();
    let report = bench.pull(&["text"]).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    let outcome = &report.outcomes[0];
    assert_eq!(outcome.result.as_ref().unwrap().model, "b");
    assert_eq!(outcome.passed_over.len(), 1);
    assert_eq!(outcome.passed_over[0].why_better, "reason of a");
    let reason = outcome.passed_over[0].reason.to_string();
    assert!(reason.starts_with("127.0.0.1:9 cannot be reached"), "{reason}");
    assert!(bench.files("a").is_empty(), "{:?}", bench.files("a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_stands_until_an_upgrade_is_asked_for() {
    let content = bytes(1000);
    let server =
        Server::start(&[("/a", Served::well(&content)), ("/b", Served::well(&content))]).await;
    let mut bench = Bench::new(
        &(model("a", &content, &server.source("/a"))
            + &model("b", &content, &server.source("/b"))
            + &role("text", &["a", "b"])),
    );
    bench.pull(&["a"]).await;
    bench.pull(&["b"]).await;
    bench.pull(&["text"]).await;
    bench.store.remove("a").unwrap();
    let chosen = |bench: &Bench| bench.store.choice("text").unwrap().map(|choice| choice.model);
    assert_eq!(chosen(&bench), None, "a removed model is no choice");
    bench.options.offline = true;
    bench.pull(&["text"]).await;
    assert_eq!(chosen(&bench).as_deref(), Some("b"));
    bench.options.offline = false;
    bench.pull(&["text"]).await;
    assert_eq!(chosen(&bench).as_deref(), Some("b"));
    bench.options.upgrade = true;
    bench.pull(&["text"]).await;
    assert_eq!(chosen(&bench).as_deref(), Some("a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_before_anything_is_fetched() {
    let content = bytes(10_000);
    let server = Server::start(&[("/a", Served::well(&content))]).await;
    let mut bench = Bench::new(&model("a", &content, &server.source("/a")));
    bench.options.free_space = |_| Ok(9_999);
    let told = failure(&bench.pull(&["a"]).await);
    assert!(told.contains("needs 10.0 kB of disk space and 10.0 kB are free"), "{told}");
    assert!(told.contains("MEGA_MODELS_DIR"), "{told}");
    assert!(server.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzip_file_is_unpacked_after_its_hash_was_checked() {
    let content = bytes(50_000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&content).unwrap();
    let packed = encoder.finish().unwrap();
    let server = Server::start(&[("/a.gz", Served::well(&packed))]).await;
    let file = |hash: &str| {
        format!(
            "packed = {{ format = 'gzip', size_bytes = {}, sha256 = '{hash}' }}\nsources = [{}]",
            packed.len(),
            server.source("/a.gz")
        )
    };
    let bench = Bench::new(&model_of("a", "weights.bin", &file(&sha256(&packed))));
    assert!(bench.pull(&["a"]).await.is_complete());
    assert_eq!(std::fs::read(bench.weights("a")).unwrap(), content);
    assert_eq!(bench.files("a"), ["weights.bin"]);
    assert_eq!(bench.store.verify("a").unwrap()[0].state, FileState::Right);

    let bench = Bench::new(&model_of("a", "weights.bin", &file(&sha256(b"other"))));
    assert!(failure(&bench.pull(&["a"]).await).contains("is not used"));
    assert!(bench.files("a").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn hugging_face_is_asked_at_its_endpoint_with_the_token() {
    let content = bytes(1000);
    let path = "/owner/name/resolve/abc123/folder/weights.bin";
    let server = Server::start(&[(path, Served::well(&content))]).await;
    let source = "{ hub = 'owner/name@abc123:folder/weights.bin' }";
    let mut bench = Bench::new(&model("a", &content, source));
    bench.options.hub.endpoint = Some(server.url("/"));
    bench.options.hub.token = Some("secret".to_owned());
    assert!(bench.pull(&["a"]).await.is_complete());
    assert_eq!(server.seen()[0].authorization.as_deref(), Some("Bearer secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_in_the_cache_of_hugging_face_is_not_fetched_again() {
    let content = bytes(1000);
    let source = "{ hub = 'owner/name@abc123:weights.bin' }";
    let mut bench = Bench::new(&model("a", &content, source));
    bench.options.offline = true;
    let snapshot = bench.options.hub.cache_dir.join("models--owner--name/snapshots/abc123");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::write(snapshot.join("weights.bin"), vec![0; 1000]).unwrap();
    assert_eq!(failure(&bench.pull(&["a"]).await), ModelsError::Offline.to_string());
    std::fs::write(snapshot.join("weights.bin"), &content).unwrap();
    assert!(bench.pull(&["a"]).await.is_complete());
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_nothing_is_asked_for() {
    let content = bytes(1000);
    let server = Server::start(&[("/a", Served::well(&content))]).await;
    let mut bench =
        Bench::new(&(model("a", &content, &server.source("/a")) + &role("text", &["a"])));
    bench.options.offline = true;
    let report = bench.pull(&["text"]).await;
    assert_eq!(failure(&report), "no model for text could be had");
    assert_eq!(report.outcomes[0].passed_over[0].reason, ModelsError::Offline);
    assert!(server.seen().is_empty());
}

#[test]
fn a_plain_pull_provides_for_every_default_role() {
    let manifest = mega_pipeline::models::Manifest::built_in().unwrap();
    let wants = Want::defaults(&manifest);
    assert!(wants.contains(&Want::Role("speech-to-text".to_owned())));
    assert!(!wants.contains(&Want::Role("voice-pt".to_owned())));
}
