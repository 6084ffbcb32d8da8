//! The server without a network, on a job table of its own, and requests to it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use mega_pipeline::access::Access;
use mega_pipeline::jobs::{JobId, JobStore, Readiness, StoreOptions};
use mega_pipeline::stage::{Direct, JobOptions, StageKind, stub};
use mega_pipeline::web::{
    self, AppState, Choice, OfferedVoice, Served, StageEngine, Task, WebConfig,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt;

/// The largest recording that [`Site`] accepts, in bytes.
pub const MAX_UPLOAD_BYTES: u64 = 100_000;

/// A body that stands still longer than this is given up by [`Site`].
const PATIENCE: Duration = Duration::from_millis(200);

/// A server and its job table. No worker runs: a job stays where the test puts it.
pub struct Site {
    pub store: JobStore,
    pub readiness: watch::Sender<Readiness>,
    router: axum::Router,
    _folder: TempDir,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub body: Bytes,
}

impl Site {
    pub async fn new() -> Self {
        Self::with(StoreOptions::default()).await
    }

    /// A server whose job table has limits of the test's own.
    pub async fn with(options: StoreOptions) -> Self {
        Self::build(options, stub::direct(), config()).await
    }

    /// A server that asks for what `access` says.
    pub async fn guarded(access: Access) -> Self {
        Self::configured(|config| config.access = access).await
    }

    /// A server whose settings differ from the others'.
    pub async fn configured(change: impl FnOnce(&mut WebConfig)) -> Self {
        let mut config = config();
        change(&mut config);
        Self::build(StoreOptions::default(), stub::direct(), config).await
    }

    /// A server with engines of the test's own for requests without a job.
    pub async fn on(direct: Arc<dyn Direct>) -> Self {
        Self::build(StoreOptions::default(), direct, config()).await
    }

    async fn build(options: StoreOptions, direct: Arc<dyn Direct>, config: WebConfig) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = super::jobs::open_with(folder.path(), options).await;
        let (readiness, receiver) = watch::channel(Readiness::Ready);
        let state = AppState::new(store.clone(), receiver, direct, config);
        Self { store, readiness, router: web::router(state), _folder: folder }
    }

    /// Sends a request and gives the answer as it begins; its body may go on for ever.
    pub async fn open(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.expect("the router answers")
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (head, body) = self.open(request).await.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("the body ends");
        Answer { status: head.status, headers: head.headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str) -> Answer {
        self.send(request(Method::POST, path)).await
    }

    /// Sends JSON.
    pub async fn post_json(&self, path: &str, body: &Value) -> Answer {
        let mut request = request(Method::POST, path);
        *request.body_mut() = Body::from(body.to_string());
        let json = header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        self.send(request).await
    }

    /// Sends a form's fields.
    pub async fn post_form(&self, path: &str, fields: &'static str) -> Answer {
        let mut request = request(Method::POST, path);
        *request.body_mut() = Body::from(fields);
        let form = header::HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(header::CONTENT_TYPE, form);
        self.send(request).await
    }

    /// Uploads `body` as it is.
    pub async fn upload(&self, content_type: &str, body: impl Into<Body>) -> Answer {
        let mut request = request(Method::POST, "/api/v1/jobs");
        *request.body_mut() = body.into();
        if !content_type.is_empty() {
            let value = content_type.parse().expect("a header value");
            request.headers_mut().insert(header::CONTENT_TYPE, value);
        }
        self.send(request).await
    }

    /// Uploads a form.
    pub async fn upload_form(&self, parts: &[Part<'_>]) -> Answer {
        self.upload("multipart/form-data; boundary=edge", form(parts)).await
    }

    /// Uploads a recording that is accepted.
    pub async fn submit(&self) -> JobId {
        let answer = self.upload("audio/wav", wav(1000)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").parse().expect("a job id")
    }

    /// Asserts that nothing is queued and no upload is left on disk.
    pub async fn assert_untouched(&self) {
        assert!(self.store.list(None, 10).await.expect("the table answers").is_empty());
        let left = std::fs::read_dir(self.store.incoming_dir()).expect("a folder").count();
        assert_eq!(left, 0, "an upload was left on disk");
    }
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// Asserts the status and the shape of an error; gives its sentence.
    pub fn error(&self, status: StatusCode, code: &str) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        let body = self.json();
        let error = &body["error"];
        assert_eq!(error["code"], code, "{body}");
        assert!(error["type"].is_string() && error.get("param").is_some(), "{body}");
        let message = error["message"].as_str().expect("a message").to_owned();
        assert!(message.ends_with(['.', '?']), "not a sentence: {message}");
        message
    }
}

/// One part of a form: its headers' parameters after `form-data`, and its content.
pub struct Part<'a>(pub &'a str, pub &'a [u8]);

/// A request without a body.
pub fn request(method: Method, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).expect("a request")
}

/// A form as browsers send it.
pub fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for Part(parameters, content) in parts {
        let head = format!("--edge\r\nContent-Disposition: form-data; {parameters}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    body
}

/// A 16 kHz recording of a quiet tone.
pub fn wav(length_ms: u32) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut file, spec).expect("a header");
    for index in 0..16 * length_ms {
        let sample = (f64::from(index) * 0.17).sin() * 3000.0;
        writer.write_sample(sample as i16).expect("a sample");
    }
    writer.finalize().expect("a length");
    file.into_inner()
}

fn config() -> WebConfig {
    let choice =
        |value: &str, title: &str| Choice { value: value.to_owned(), title: title.to_owned() };
    WebConfig {
        defaults: JobOptions::default(),
        spoken: vec![choice("auto", "found out"), choice("en", "English"), choice("fr", "French")],
        translations: [("en", "fr"), ("en", "pt"), ("fr", "en"), ("fr", "pt")]
            .map(|(from, to)| (from.to_owned(), to.to_owned()))
            .to_vec(),
        rough: vec!["fr".to_owned()],
        targets: vec![choice("fr", "French"), choice("pt", "Portuguese")],
        templates: vec![choice("continue", "Continue the thought"), choice("free", "Free")],
        max_upload_bytes: MAX_UPLOAD_BYTES,
        voices: ["en-one", "en-two", "fr-one", "pt-one"]
            .map(|id| OfferedVoice { language: id[..2].to_owned(), choice: choice(id, id) })
            .to_vec(),
        stages: vec![StageEngine {
            stage: StageKind::GenerateText,
            model: Some("stub".to_owned()),
            device: "cpu".to_owned(),
        }],
        served: vec![
            Served {
                model: "stub-ear".to_owned(),
                task: Task::Transcription,
                device: "cpu".to_owned(),
            },
            Served { model: "stub".to_owned(), task: Task::Text, device: "cpu".to_owned() },
        ],
        access: Access::default(),
        patience: PATIENCE,
        max_text_chars: 1000,
        models: None,
        workers: 1,
        only: Vec::new(),
    }
}
