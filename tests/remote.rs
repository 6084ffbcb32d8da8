//! Stages whose work another server does: a second copy of this program for all five, and servers
//! that are down, slow, or answer nonsense. `clients/` has them on a server of another make.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use mega_pipeline::config::{Config, Origin};
use mega_pipeline::engine::{Cancel, Control, Progress};
use mega_pipeline::models::ModelStore;
use mega_pipeline::settings::Settings;
use mega_pipeline::stage::{
    self, Artifact, Artifacts, ErrorCode, JobOptions, StageContext, StageError, StageKind,
    StageOutput,
};
use mega_pipeline::text::Transcript;
use serde_json::json;
use support::process::Server;
use support::web::wav;
use tokio::sync::mpsc;

/// Settings that point `stages` at `address`.
fn pointed(dir: &Path, address: &str, stages: &[StageKind]) -> Settings {
    let mut config = Config::defaults();
    let mut set = |key: String, text: &str| {
        config.set(&key, text, Origin::Flag("--set".to_owned())).expect("a setting");
    };
    set("data_dir".to_owned(), &dir.join("data").display().to_string());
    set("models_dir".to_owned(), &dir.join("models").display().to_string());
    for stage in stages {
        let (engine, path) = match stage {
            StageKind::TranslateText => ("libretranslate", ""),
            _ => ("openai", "/v1"),
        };
        set(format!("stages.{stage}.engine"), engine);
        set(format!("stages.{stage}.base_url"), &format!("http://me:secret@{address}{path}"));
        set(format!("stages.{stage}.model"), "theirs");
        set(format!("stages.{stage}.timeout_s"), "30");
    }
    Settings::new(&config).expect("good settings")
}

/// Runs one stage and collects the text it tells of.
fn run(
    settings: &Settings,
    kind: StageKind,
    inputs: &Artifacts,
    cancel: &Cancel,
) -> (Result<StageOutput, StageError>, String) {
    let store = ModelStore::open(&settings.models_dir).expect("a catalogue");
    let mut stages = stage::local(settings, &store);
    let stage = stages.iter_mut().find(|stage| stage.kind() == kind).expect("a stage");
    stage.load().expect("there is nothing to load");
    let told = std::sync::Mutex::new(String::new());
    let progress = |news| {
        if let Progress::Text { delta } = news {
            told.lock().expect("no panic").push_str(&delta);
        }
    };
    let options = JobOptions::default();
    let control = Control { cancel, progress: &progress };
    let result = stage.run(inputs, &StageContext { options: &options, control });
    (result, told.into_inner().expect("no panic"))
}

fn inputs(dir: &Path) -> Artifacts {
    let prompt = dir.join("prompt.wav");
    std::fs::write(&prompt, wav(700)).expect("written");
    let text = "One.\n\nTwo. Three.".to_owned();
    let transcript =
        Transcript { language: "en".to_owned(), text: "Hi.".to_owned(), ..Transcript::default() };
    Artifacts {
        prompt,
        transcript: Some(transcript),
        text: Some(text.clone()),
        translation: Some(text),
    }
}

#[test]
fn every_stage_can_be_done_by_a_second_copy_of_this_program() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--stub"]);
    let settings = pointed(&dir.path().join("here"), &server.address, &StageKind::ALL);
    let inputs = inputs(dir.path());
    for kind in StageKind::ALL {
        let (result, told) = run(&settings, kind, &inputs, &Cancel::default());
        let output = result.unwrap_or_else(|error| panic!("{kind}: {error:?}"));
        assert_eq!(
            (output.timing.device.as_str(), output.timing.model.as_str()),
            ("remote", "theirs")
        );
        match (kind, output.artifact) {
            (StageKind::TranscribeAudio, Artifact::Transcript(transcript)) => {
                assert_eq!(transcript.text, "This is a stub transcript.");
                assert_eq!(
                    (transcript.language.as_str(), transcript.segments[0].end_ms),
                    ("en", 400)
                );
            }
            (StageKind::GenerateText, Artifact::Text(text)) => {
                assert!(text.starts_with("You said: "), "{text}");
                assert!(told.starts_with("You said: "), "{told}");
                assert!(output.timing.tokens > Some(3), "{:?}", output.timing);
            }
            (StageKind::TranslateText, Artifact::Text(text)) => {
                assert_eq!(text, "[fr] One.\n\n[fr] Two. [fr] Three.");
            }
            (_, Artifact::Audio(audio)) => {
                // Three sentences of 400 ms with pauses of 500 and 200 ms.
                assert_eq!(audio.sample_rate, 24_000);
                assert!((1800..=2000).contains(&audio.duration_ms()), "{}", audio.duration_ms());
            }
            (kind, other) => panic!("{kind} made {other:?}"),
        }
    }
}

#[test]
fn a_server_of_one_stage_does_its_work_for_others_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    for kind in StageKind::ALL {
        let own = dir.path().join(kind.as_str());
        std::fs::create_dir(&own).unwrap();
        let server = Server::start(&own, &["--stub", "--only", kind.as_str()]);
        let here = dir.path().join("here").join(kind.as_str());
        let settings = pointed(&here, &server.address, &StageKind::ALL);
        let inputs = inputs(dir.path());
        for asked in StageKind::ALL {
            let (result, _) = run(&settings, asked, &inputs, &Cancel::default());
            // Both voices are at one address, and a voice is chosen by its language.
            let speaks =
                |kind| matches!(kind, StageKind::SynthesisAudioEn | StageKind::SynthesisAudio);
            let served = asked == kind || speaks(asked) && speaks(kind);
            assert_eq!(result.is_ok(), served, "{asked} of {kind}: {result:?}");
        }
        let (status, body) = server.request("POST", "/api/v1/jobs", "audio/wav", &wav(300));
        assert_eq!(status, 404, "{}", String::from_utf8_lossy(&body));
        let (_, info) = server.request("GET", "/api/v1/info", "", b"");
        let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
        let stages = info["stages"].as_array().unwrap();
        assert_eq!((stages.len(), &stages[0]["stage"]), (1, &json!(kind.as_str())), "{info}");
        // A conversation is over for the client before it is for the server.
        if kind != StageKind::GenerateText {
            let (_, metrics) = server.request("GET", "/metrics", "", b"");
            let counted = format!("mega_pipeline_request_run_seconds_count{{stage=\"{kind}\"}}");
            let metrics = String::from_utf8_lossy(&metrics);
            assert!(metrics.contains(&counted), "{counted} is not in {metrics}");
        }
    }
}

/// A server that answers everything by `answer`, which is told how often it was asked before.
async fn serve(
    answer: impl Fn(usize, &HeaderMap) -> Response + Clone + Send + Sync + 'static,
) -> String {
    let asked = Arc::new(AtomicUsize::new(0));
    let handler = move |headers: HeaderMap| {
        let response = answer(asked.fetch_add(1, Ordering::SeqCst), &headers);
        async move { response }
    };
    let router = Router::new().route("/{*path}", post(handler));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn generate(address: &str, cancel: Cancel) -> (Result<StageOutput, StageError>, String) {
    generate_within(address, cancel, 30).await
}

async fn generate_within(
    address: &str,
    cancel: Cancel,
    seconds: u64,
) -> (Result<StageOutput, StageError>, String) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut settings = pointed(dir.path(), address, &[StageKind::GenerateText]);
    for remote in settings.remotes.values_mut() {
        remote.timeout = Duration::from_secs(seconds);
    }
    let inputs = inputs(dir.path());
    let work = move || run(&settings, StageKind::GenerateText, &inputs, &cancel);
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

fn assert_failure(result: Result<StageOutput, StageError>, code: ErrorCode, address: &str) {
    let error = result.expect_err("the server is of no use");
    assert_eq!(error.code, code, "{error:?}");
    assert!(error.is_retriable());
    assert!(error.message.contains(address), "{error:?}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

fn events(data: &[&str]) -> Response {
    let body = data.iter().fold(String::new(), |body, data| body + "data: " + data + "\n\n");
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

const PIECE: &str = r#"{"choices":[{"delta":{"content":"Well."},"finish_reason":null}]}"#;
const LAST: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_named_and_the_job_may_try_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let (result, _) = generate(&address, Cancel::default()).await;
    assert_failure(result, ErrorCode::RemoteUnreachable, &address);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_or_stops_in_the_middle_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let (result, _) = generate_within(&address, Cancel::default(), 1).await;
    assert_failure(result, ErrorCode::RemoteUnreachable, &address);

    let address = serve(|_, _| {
        let beginning =
            futures::stream::iter([Ok::<_, std::io::Error>(format!("data: {PIECE}\n\n"))]);
        let body =
            Body::from_stream(futures::StreamExt::chain(beginning, futures::stream::pending()));
        ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
    })
    .await;
    let (result, told) = generate_within(&address, Cancel::default(), 1).await;
    assert_failure(result, ErrorCode::RemoteUnreachable, &address);
    assert_eq!(told, "Well.");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_told_as_such() {
    let answers: [fn() -> Response; 5] = [
        || "<html>Welcome to nginx</html>".into_response(),
        || events(&["{\"choices\":"]),
        || events(&[PIECE]),
        || (StatusCode::UNAUTHORIZED, "who are you?").into_response(),
        || (StatusCode::INTERNAL_SERVER_ERROR, "oh").into_response(),
    ];
    for answer in answers {
        let address = serve(move |_, _| answer()).await;
        let (result, _) = generate(&address, Cancel::default()).await;
        assert_failure(result, ErrorCode::RemoteBadAnswer, &address);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_is_asked_again_and_sees_the_credentials() {
    let address = serve(|asked, headers| {
        // The name and the password of the address.
        let authorised = headers.get(header::AUTHORIZATION).is_some();
        match (asked, authorised) {
            (_, false) => StatusCode::UNAUTHORIZED.into_response(),
            (0 | 1, true) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            _ => events(&[PIECE, LAST, "[DONE]"]),
        }
    })
    .await;
    let (result, told) = generate(&address, Cancel::default()).await;
    let output = result.expect("the third answer is good");
    assert!(matches!(output.artifact, Artifact::Text(text) if text == "Well."));
    assert_eq!(told, "Well.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_reaches_the_server() {
    let (begun, mut told) = mpsc::unbounded_channel();
    let address = serve(move |_, _| {
        let begun = begun.clone();
        // Dropped with the connection.
        let gone = Gone(begun.clone());
        let endless = futures::stream::unfold(gone, |gone| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Some((Ok::<_, std::io::Error>(format!("data: {PIECE}\n\n")), gone))
        });
        let _ = begun.send("begun");
        let body = Body::from_stream(endless);
        ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
    })
    .await;
    let cancel = Cancel::default();
    let working = tokio::spawn({
        let cancel = cancel.clone();
        async move { generate(&address, cancel).await.0 }
    });
    assert_eq!(told.recv().await, Some("begun"));
    cancel.cancel();
    assert_eq!(working.await.unwrap().unwrap_err().code, ErrorCode::Canceled);
    assert_eq!(told.recv().await, Some("gone"));
}

struct Gone(mpsc::UnboundedSender<&'static str>);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.send("gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_and_translations_that_are_none_are_told_as_such() {
    let kinds = [StageKind::TranscribeAudio, StageKind::TranslateText, StageKind::SynthesisAudio];
    for kind in kinds {
        let address = serve(|_, _| "{\"translatedText\":[\"one\"]}".into_response()).await;
        let dir = tempfile::tempdir().unwrap();
        let settings = pointed(dir.path(), &address, &kinds);
        let inputs = inputs(dir.path());
        let work = move || run(&settings, kind, &inputs, &Cancel::default()).0;
        let result = tokio::task::spawn_blocking(work).await.expect("no panic");
        assert_failure(result, ErrorCode::RemoteBadAnswer, &address);
    }
}
