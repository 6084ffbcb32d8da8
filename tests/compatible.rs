//! OpenAI's and LibreTranslate's interfaces, on stub engines. `clients/` has the same asked by
//! those interfaces' own clients.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use futures::StreamExt;
use mega_pipeline::audio::Audio;
use mega_pipeline::engine::{ChatMessage, Control, GenerateOptions, Generation};
use mega_pipeline::stage::{Direct, SpeechRequest, StageError};
use mega_pipeline::text::Transcript;
use serde_json::{Value, json};
use support::web::{Answer, Part, Site, form, request, wav};
use tokio::sync::mpsc;

const CHAT: &str = "/v1/chat/completions";
const SPEECH: &str = "/v1/audio/speech";

fn hello() -> Value {
    json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "one two three" }] })
}

fn with(mut body: Value, name: &str, value: impl Into<Value>) -> Value {
    body[name] = value.into();
    body
}

/// The data of every event.
fn events(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.header(header::CONTENT_TYPE), "text/event-stream");
    answer
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(str::to_owned)
        .collect()
}

async fn transcribe(site: &Site, fields: &[(&str, &str)]) -> Answer {
    let recording = wav(500);
    let named: Vec<String> = fields.iter().map(|(name, _)| format!("name=\"{name}\"")).collect();
    let mut parts = vec![Part("name=\"file\"; filename=\"a.wav\"", &recording)];
    parts.extend(named.iter().zip(fields).map(|(name, (_, text))| Part(name, text.as_bytes())));
    let mut request = request(Method::POST, "/v1/audio/transcriptions");
    *request.body_mut() = Body::from(form(&parts));
    let kind = "multipart/form-data; boundary=edge".parse().expect("a header value");
    request.headers_mut().insert(header::CONTENT_TYPE, kind);
    site.send(request).await
}

#[tokio::test]
async fn a_recording_is_written_down_in_every_form_that_is_named() {
    let site = Site::new().await;
    for (format, kind, beginning) in [
        ("json", "application/json", "{\"text\":\"This is"),
        ("text", "text/plain; charset=utf-8", "This is"),
        ("srt", "application/x-subrip; charset=utf-8", "1\n00:00:00,000"),
        ("vtt", "text/vtt; charset=utf-8", "WEBVTT"),
    ] {
        let answer =
            transcribe(&site, &[("model", "whisper-1"), ("response_format", format)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.header(header::CONTENT_TYPE), kind);
        assert!(answer.text().starts_with(beginning), "{}", answer.text());
    }
    let answer =
        transcribe(&site, &[("response_format", "verbose_json"), ("language", "en")]).await;
    let found = answer.json();
    assert_eq!(found["language"], "english");
    assert_eq!(found["duration"], 0.5);
    assert_eq!(found["segments"][0]["end"], 0.4);
    let answer = transcribe(&site, &[("stream", "true")]).await;
    let kinds: Vec<Value> = events(&answer)
        .iter()
        .map(|event| serde_json::from_str::<Value>(event).expect("JSON")["type"].clone())
        .collect();
    assert_eq!(kinds, ["transcript.text.delta", "transcript.text.done"]);
    site.assert_untouched().await;
}

#[tokio::test]
async fn a_recording_that_cannot_be_taken_is_refused_with_the_reason() {
    let site = Site::new().await;
    let answer = transcribe(&site, &[("response_format", "docx")]).await;
    answer.error(StatusCode::UNPROCESSABLE_ENTITY, "not_served");
    let answer = transcribe(&site, &[("language", "tlh")]).await;
    answer.error(StatusCode::UNPROCESSABLE_ENTITY, "not_offered");
    let mut bad = request(Method::POST, "/v1/audio/transcriptions");
    *bad.body_mut() =
        Body::from(form(&[Part("name=\"file\"; filename=\"a.txt\"", b"hello there")]));
    let kind = "multipart/form-data; boundary=edge".parse().expect("a header value");
    bad.headers_mut().insert(header::CONTENT_TYPE, kind);
    let answer = site.send(bad).await;
    answer.error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_audio");
    let answer = site.post_json("/v1/audio/transcriptions", &json!({})).await;
    answer.error(StatusCode::BAD_REQUEST, "bad_form");
    site.assert_untouched().await;
}

#[tokio::test]
async fn a_conversation_is_answered_whole_or_in_pieces_and_counted() {
    let site = Site::new().await;
    let answer = site.post_json(CHAT, &hello()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let whole = answer.json();
    assert_eq!(whole["choices"][0]["message"]["content"], "You said: one two three");
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    assert_eq!(whole["model"], "stub");
    assert_eq!(whole["usage"]["prompt_tokens"], 3);
    assert_eq!(whole["usage"]["total_tokens"], 8);

    let streamed = with(hello(), "stream", true);
    let streamed = with(streamed, "stream_options", json!({ "include_usage": true }));
    let answer = site.post_json(CHAT, &streamed).await;
    let mut pieces = events(&answer);
    assert_eq!(pieces.pop().as_deref(), Some("[DONE]"));
    let pieces: Vec<Value> =
        pieces.iter().map(|piece| serde_json::from_str(piece).expect("JSON")).collect();
    let text: String =
        pieces.iter().filter_map(|it| it["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "You said: one two three");
    assert_eq!(pieces[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(pieces[pieces.len() - 2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(pieces[pieces.len() - 1]["usage"]["completion_tokens"], 5);

    let cut = site.post_json(CHAT, &with(hello(), "max_tokens", 2)).await.json();
    assert_eq!(cut["choices"][0]["finish_reason"], "length");
    let stopped = site.post_json(CHAT, &with(hello(), "stop", "two")).await.json();
    assert_eq!(stopped["choices"][0]["message"]["content"], "You said: one ");
    let parts = json!([{ "role": "developer", "content": "Be brief." },
        { "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] }]);
    let parts = site.post_json(CHAT, &with(hello(), "messages", parts)).await.json();
    assert_eq!(parts["choices"][0]["message"]["content"], "You said: ab");
}

#[tokio::test]
async fn what_the_text_model_cannot_do_is_refused_and_not_passed_over() {
    let site = Site::new().await;
    let refused = |name: &'static str, value: Value| (name, with(hello(), name, value));
    for (name, body) in [
        refused("n", json!(2)),
        refused("tools", json!([{}])),
        refused("response_format", json!({ "type": "json_object" })),
        refused("temperature", json!(2.5)),
        refused("top_p", json!(0)),
        refused(
            "messages",
            json!([{ "role": "user", "content": [{ "type": "image", "text": "x" }] }]),
        ),
        refused("max_tokens", json!(0)),
        refused("max_tokens", json!(100_000)),
        refused("stop", json!(["a", "b", "c", "d", "e"])),
    ] {
        let answer = site.post_json(CHAT, &body).await;
        answer.error(StatusCode::UNPROCESSABLE_ENTITY, "not_served");
        assert_eq!(answer.json()["error"]["param"], name);
    }
    let answer = site.post_json(CHAT, &with(hello(), "messages", json!([]))).await;
    answer.error(StatusCode::BAD_REQUEST, "bad_request");
    let answer = site.post_json(CHAT, &json!({ "messages": 7 })).await;
    answer.error(StatusCode::BAD_REQUEST, "bad_json");
    let answer = site.post_form(CHAT, "messages=7").await;
    answer.error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json");
    let long = with(hello(), "user", "x".repeat(2_000_000));
    let answer = site.post_json(CHAT, &long).await;
    answer.error(StatusCode::PAYLOAD_TOO_LARGE, "too_large");
}

#[tokio::test]
async fn a_text_is_spoken_in_the_form_that_is_asked_for() {
    let site = Site::new().await;
    for (format, kind, beginning) in [
        (None, "audio/mpeg", &b"\xff\xf3"[..]),
        (Some("mp3"), "audio/mpeg", b"\xff\xf3"),
        (Some("opus"), "audio/ogg", b"OggS"),
        (Some("wav"), "audio/wav", b"RIFF"),
        (Some("pcm"), "audio/pcm", b""),
    ] {
        let mut body = json!({ "model": "tts-1", "voice": "alloy", "input": "One. Two." });
        if let Some(format) = format {
            body["response_format"] = format.into();
        }
        let answer = site.post_json(SPEECH, &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.header(header::CONTENT_TYPE), kind);
        assert!(answer.body.starts_with(beginning), "{format:?}: {:?}", &answer.body[..4]);
        assert!(answer.body.len() > 1000, "{format:?}: {} bytes", answer.body.len());
    }
    let pcm = json!({ "input": "One. Two.", "response_format": "pcm", "voice": "fr-one" });
    // Two stub sentences of 400 ms, 24,000 samples a second, 2 bytes each.
    assert_eq!(site.post_json(SPEECH, &pcm).await.body.len(), 2 * 400 * 24 * 2);
}

#[tokio::test]
async fn a_text_that_cannot_be_spoken_is_refused_with_the_reason() {
    let site = Site::new().await;
    let body = json!({ "input": "Hello.", "voice": "alloy" });
    for (name, value, status, code) in [
        ("voice", json!("nobody"), StatusCode::UNPROCESSABLE_ENTITY, "not_offered"),
        ("language", json!("tlh"), StatusCode::UNPROCESSABLE_ENTITY, "not_offered"),
        ("speed", json!(9), StatusCode::UNPROCESSABLE_ENTITY, "out_of_range"),
        ("input", json!(" "), StatusCode::BAD_REQUEST, "empty"),
        ("input", json!("x".repeat(1001)), StatusCode::PAYLOAD_TOO_LARGE, "too_long"),
        ("response_format", json!("aac"), StatusCode::BAD_REQUEST, "bad_json"),
    ] {
        let answer = site.post_json(SPEECH, &with(body.clone(), name, value)).await;
        answer.error(status, code);
    }
}

#[tokio::test]
async fn the_models_are_listed_and_shown() {
    let site = Site::new().await;
    let listed = site.get("/v1/models").await.json();
    assert_eq!(listed["data"][1]["id"], "stub");
    assert_eq!(site.get("/v1/models/stub").await.json()["object"], "model");
    site.get("/v1/models/gpt-5").await.error(StatusCode::NOT_FOUND, "model_not_found");
}

#[tokio::test]
async fn texts_are_translated_one_or_several_as_json_or_as_a_form() {
    let site = Site::new().await;
    let body = json!({ "q": "Good day.", "source": "en", "target": "fr" });
    let answer = site.post_json("/translate", &body).await;
    assert_eq!(answer.json(), json!({ "translatedText": "[fr] Good day." }));
    let several = with(body.clone(), "q", json!(["A.", "B."]));
    let answer = site.post_json("/translate", &several).await;
    assert_eq!(answer.json(), json!({ "translatedText": ["[fr] A.", "[fr] B."] }));
    let answer = site.post_form("/translate", "q=Hi.&source=auto&target=pt&format=text").await;
    assert_eq!(answer.json(), json!({ "translatedText": "[pt] Hi." }));

    let pivot = with(with(body.clone(), "source", "fr"), "target", "pt");
    assert_eq!(site.post_json("/translate", &pivot).await.status, StatusCode::OK);

    for (name, value, status, code) in [
        ("source", "pt", StatusCode::UNPROCESSABLE_ENTITY, "not_offered"),
        ("source", "de", StatusCode::UNPROCESSABLE_ENTITY, "not_offered"),
        ("target", "de", StatusCode::UNPROCESSABLE_ENTITY, "not_offered"),
        ("format", "html", StatusCode::UNPROCESSABLE_ENTITY, "not_served"),
        ("q", &"x".repeat(1001), StatusCode::PAYLOAD_TOO_LARGE, "too_long"),
    ] {
        let answer = site.post_json("/translate", &with(body.clone(), name, value)).await;
        answer.error(status, code);
    }
    site.post_form("/translate", "q=Hi.").await.error(StatusCode::BAD_REQUEST, "bad_form");
    let languages = site.get("/languages").await.json();
    assert_eq!(languages[0], json!({ "code": "en", "name": "English", "targets": ["fr", "pt"] }));
    assert_eq!(languages[1], json!({ "code": "fr", "name": "French", "targets": ["en", "pt"] }));
    assert_eq!(languages[2]["targets"], json!([]));
}

/// Engines that do nothing until they are stopped, and tell of both.
struct Endless {
    begun: mpsc::UnboundedSender<&'static str>,
    /// What is said first.
    first: &'static str,
}

impl Direct for Endless {
    fn answer(
        &self,
        _: &[ChatMessage],
        _: &GenerateOptions,
        control: &Control<'_>,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Generation, StageError> {
        let _ = self.begun.send("begun");
        if !self.first.is_empty() {
            on_text(self.first);
        }
        while !control.cancel.is_canceled() {
            std::thread::yield_now();
        }
        let _ = self.begun.send("stopped");
        Err(StageError::canceled())
    }

    fn transcribe(
        &self,
        _: &Path,
        _: &str,
        _: &Control<'_>,
    ) -> Result<(Transcript, u64), StageError> {
        Err(StageError::internal("The ear failed.", "/secret/path is broken"))
    }

    fn speak(
        &self,
        _: &SpeechRequest,
        _: &Control<'_>,
        _: &mut dyn FnMut(&Audio) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        Err(StageError::canceled())
    }

    fn translate(&self, _: &str, _: &str, _: &str, _: &Control<'_>) -> Result<String, StageError> {
        Err(StageError::canceled())
    }
}

async fn endless(first: &'static str) -> (Arc<Site>, mpsc::UnboundedReceiver<&'static str>) {
    let (begun, told) = mpsc::unbounded_channel();
    (Arc::new(Site::on(Arc::new(Endless { begun, first })).await), told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_stops_its_work_whole_or_streamed() {
    let (site, mut told) = endless("").await;
    let asking = tokio::spawn(async move { site.post_json(CHAT, &hello()).await.status });
    assert_eq!(told.recv().await, Some("begun"));
    asking.abort();
    assert_eq!(told.recv().await, Some("stopped"));

    let (site, mut told) = endless("Once").await;
    let mut asked = request(Method::POST, CHAT);
    *asked.body_mut() = Body::from(with(hello(), "stream", true).to_string());
    let json = header::HeaderValue::from_static("application/json");
    asked.headers_mut().insert(header::CONTENT_TYPE, json);
    let mut pieces = site.open(asked).await.into_body().into_data_stream();
    let first = pieces.next().await.expect("a piece").expect("no failure");
    assert!(String::from_utf8_lossy(&first).contains("Once"), "{first:?}");
    assert_eq!(told.recv().await, Some("begun"));
    drop(pieces);
    assert_eq!(told.recv().await, Some("stopped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_can_wait_are_refused_and_may_come_back() {
    let (site, mut told) = endless("").await;
    let waiting: Vec<_> = (0..16)
        .map(|_| {
            let site = Arc::clone(&site);
            tokio::spawn(async move { site.post_json(CHAT, &hello()).await.status })
        })
        .collect();
    for _ in 0..16 {
        assert_eq!(told.recv().await, Some("begun"));
    }
    let refused = site.post_json(CHAT, &hello()).await;
    refused.error(StatusCode::TOO_MANY_REQUESTS, "too_many_requests");
    assert_eq!(refused.header(header::RETRY_AFTER), "2");
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    for _ in 0..16 {
        assert_eq!(told.recv().await, Some("stopped"));
    }
    // The places are free again once the threads have ended.
    let mut tries = tokio::time::interval(Duration::from_millis(5));
    loop {
        tries.tick().await;
        let site = Arc::clone(&site);
        let again = tokio::spawn(async move { site.post_json(CHAT, &hello()).await.status });
        tokio::select! {
            status = again => assert_eq!(status.expect("an answer"), StatusCode::TOO_MANY_REQUESTS),
            begun = told.recv() => {
                assert_eq!(begun, Some("begun"));
                break;
            }
        }
    }
}

#[tokio::test]
async fn what_went_wrong_inside_stays_inside_under_the_name_of_the_request() {
    let (site, _told) = endless("").await;
    let recording = wav(100);
    let mut asked = request(Method::POST, "/v1/audio/transcriptions");
    *asked.body_mut() = Body::from(form(&[Part("name=\"file\"; filename=\"a.wav\"", &recording)]));
    let kind = "multipart/form-data; boundary=edge".parse().expect("a header value");
    asked.headers_mut().insert(header::CONTENT_TYPE, kind);
    asked.headers_mut().insert("x-request-id", header::HeaderValue::from_static("my-request.7"));
    let answer = site.send(asked).await;
    let message = answer.error(StatusCode::INTERNAL_SERVER_ERROR, "internal");
    assert!(message.contains("my-request.7"), "{message}");
    assert!(!answer.text().contains("secret"), "{}", answer.text());
    assert_eq!(answer.headers["x-request-id"], "my-request.7");
}
