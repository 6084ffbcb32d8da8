//! The JSON interface keeps its promises: every address, every refusal.

mod support;

use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode, header};
use futures::StreamExt;
use mega_pipeline::jobs::{JobId, Readiness, Workers};
use mega_pipeline::stage::{StageKind, stub};
use serde_json::{Value, json};
use support::drive::{self, TRANSCRIPT};
use support::web::{MAX_UPLOAD_BYTES, Part, Site, form, request, wav};

// --- Health ---------------------------------------------------------------

#[tokio::test]
async fn health_does_not_wait_for_models_and_readiness_does() {
    let site = Site::new().await;
    assert_eq!(site.get("/readyz").await.status, StatusCode::OK);
    site.readiness.send_replace(Readiness::Loading { stage: Some(StageKind::GenerateText) });
    let loading = site.get("/readyz").await;
    assert_eq!(loading.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(loading.json()["stage"], "generate_text");
    let message = "The voice is missing.".to_owned();
    site.readiness.send_replace(Readiness::Failed { stage: StageKind::SynthesisAudio, message });
    let failed = site.get("/readyz").await;
    assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(failed.json()["reason"], "The voice is missing.");
    assert_eq!(site.get("/healthz").await.status, StatusCode::OK);
}

// --- Jobs -----------------------------------------------------------------

#[tokio::test]
async fn a_raw_recording_becomes_a_job() {
    let site = Site::new().await;
    let answer = site.upload("audio/wav", wav(1000)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(answer.header(header::LOCATION), format!("/api/v1/jobs/{id}"));
    let job = site.get(&format!("/api/v1/jobs/{id}")).await.json();
    assert_eq!(job["id"], id);
    assert_eq!(job["state"], "queued");
    assert_eq!(job["prompt_type"], "audio/wav");
    assert_eq!(job["prompt_ms"], 1000);
    assert_eq!(job["options"]["target"], "fr");
    let left = std::fs::read_dir(site.store.incoming_dir()).expect("a folder").count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn the_content_decides_and_not_the_content_type_or_the_name() {
    let site = Site::new().await;
    for content_type in ["", "text/html", "application/x-www-form-urlencoded", "video/mp4"] {
        let answer = site.upload(content_type, wav(300)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{content_type}: {}", answer.text());
        let id = answer.json()["id"].as_str().expect("an id").to_owned();
        let job = site.get(&format!("/api/v1/jobs/{id}")).await.json();
        assert_eq!(job["prompt_type"], "audio/wav");
    }
    let named = site.upload_form(&[Part(r#"name="file"; filename="song.mp3""#, &wav(300))]).await;
    assert_eq!(named.status, StatusCode::ACCEPTED, "{}", named.text());
}

#[tokio::test]
async fn a_form_carries_options_in_any_order() {
    let site = Site::new().await;
    let recording = wav(300);
    let parts = [
        Part(r#"name="options""#, br#"{"max_tokens": 12, "target": "fr"}"#),
        Part(r#"name="file"; filename="C:\\voice\\memo.wav""#, &recording),
        Part(r#"name="target""#, b"pt"),
        Part(r#"name="template""#, b"free"),
    ];
    let answer = site.upload_form(&parts).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    let job = site.get(&format!("/api/v1/jobs/{id}")).await.json();
    assert_eq!(job["prompt_name"], "memo.wav");
    let options = &job["options"];
    assert_eq!(options["max_tokens"], 12);
    assert_eq!((&options["target"], &options["template"]), (&json!("pt"), &json!("free")));
}

#[tokio::test]
async fn a_raw_recording_takes_its_options_from_the_query() {
    let site = Site::new().await;
    let mut upload = request(Method::POST, "/api/v1/jobs?target=pt&options=%7B%22seed%22%3A7%7D");
    *upload.body_mut() = Body::from(wav(300));
    let answer = site.send(upload).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    let job = site.get(&format!("/api/v1/jobs/{id}")).await.json();
    assert_eq!((&job["options"]["target"], &job["options"]["seed"]), (&json!("pt"), &json!(7)));
}

#[tokio::test]
async fn the_list_is_newest_first_and_goes_on_where_it_stopped() {
    let site = Site::new().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, site.submit().await.to_string());
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/jobs?limit=2".to_owned();
    loop {
        let part = site.get(&path).await.json();
        let jobs = part["jobs"].as_array().expect("a list");
        assert!(jobs.len() <= 2);
        seen.extend(jobs.iter().map(|job| job["id"].as_str().expect("an id").to_owned()));
        let Some(next) = part["next"].as_str() else { break };
        path = format!("/api/v1/jobs?limit=2&cursor={next}");
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn a_list_is_refused_with_the_parameter_that_is_wrong() {
    let site = Site::new().await;
    for query in [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=many",
        "cursor=yesterday",
        "state=lost",
        "since=yesterday",
        "before=1",
        "colour=red",
    ] {
        let answer = site.get(&format!("/api/v1/jobs?{query}")).await;
        answer.error(StatusCode::BAD_REQUEST, "bad_query");
    }
}

#[tokio::test]
async fn a_queued_job_can_be_canceled_once() {
    let site = Site::new().await;
    let id = site.submit().await;
    let path = format!("/api/v1/jobs/{id}/cancel");
    let canceled = site.post(&path).await;
    assert_eq!((canceled.status, &canceled.json()["state"]), (StatusCode::OK, &json!("canceled")));
    site.post(&path).await.error(StatusCode::CONFLICT, "job_over");
}

#[tokio::test]
async fn a_deleted_job_is_gone_with_its_files() {
    let site = Site::new().await;
    let id = site.submit().await;
    let folder = site.store.folder(id);
    assert!(folder.dir().exists());
    let path = format!("/api/v1/jobs/{id}");
    let deleted = site.send(request(Method::DELETE, &path)).await;
    assert_eq!((deleted.status, deleted.body.len()), (StatusCode::NO_CONTENT, 0));
    assert!(!folder.dir().exists());
    site.get(&path).await.error(StatusCode::NOT_FOUND, "job_not_found");
    let again = site.send(request(Method::DELETE, &path)).await;
    again.error(StatusCode::NOT_FOUND, "job_not_found");
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_does_not_fit_is_405() {
    let site = Site::new().await;
    let nobody = JobId::new();
    for path in [
        format!("/api/v1/jobs/{nobody}"),
        format!("/api/v1/jobs/{nobody}/events"),
        format!("/api/v1/jobs/{nobody}/artifacts/prompt"),
        "/api/v1/jobs/1".to_owned(),
        "/api/v1/jobs/..%2f..%2fetc%2fpasswd".to_owned(),
        format!("/api/v1/jobs/{}", nobody.to_string().to_uppercase()),
    ] {
        site.get(&path).await.error(StatusCode::NOT_FOUND, "job_not_found");
    }
    site.get("/api/v1/nothing").await.error(StatusCode::NOT_FOUND, "not_found");
    let put = site.send(request(Method::PUT, "/api/v1/jobs")).await;
    put.error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
    assert!(put.header(header::ALLOW).contains("POST"));
}

// --- Uploads that are refused ---------------------------------------------

/// What is wrong, the content type, the body, and the answer's status and code.
type Malformed<'a> = (&'a str, &'a str, Vec<u8>, StatusCode, &'a str);

async fn assert_refused(uploads: Vec<Malformed<'_>>) {
    let site = Site::new().await;
    let folder = site.store.incoming_dir().to_string_lossy().into_owned();
    for (what, content_type, body, status, code) in uploads {
        let answer = site.upload(content_type, body).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        let message = answer.error(status, code);
        assert!(!message.contains(&folder), "{what} tells a path: {message}");
        site.assert_untouched().await;
    }
}

#[tokio::test]
async fn what_is_no_recording_is_refused_and_leaves_nothing_behind() {
    let (bad, media) = (StatusCode::BAD_REQUEST, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (unusable, large) = (StatusCode::UNPROCESSABLE_ENTITY, StatusCode::PAYLOAD_TOO_LARGE);
    let noise = (0_u32..8192).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let cut = wav(300)[..30].to_vec();
    let too_large = vec![0; MAX_UPLOAD_BYTES as usize + 1];
    assert_refused(vec![
        ("an empty body", "audio/wav", vec![], bad, "empty"),
        ("nothing at all", "", vec![], bad, "empty"),
        ("noise", "audio/wav", noise, media, "not_audio"),
        ("zeros", "audio/webm", vec![0; 4096], media, "not_audio"),
        ("one byte", "audio/wav", vec![b'R'], media, "not_audio"),
        ("a web page", "audio/wav", b"<!doctype html><p>Hello".to_vec(), media, "not_audio"),
        ("a zip", "audio/wav", b"PK\x03\x04\x14\0\0\0\x08\0rest".to_vec(), media, "not_audio"),
        ("a picture", "image/png", b"\x89PNG\r\n\x1a\n\0\0IHDR".to_vec(), media, "not_audio"),
        ("JSON", "application/json", br#"{"audio":"..."}"#.to_vec(), media, "not_audio"),
        ("a cut header", "audio/wav", cut, unusable, "unusable_audio"),
        ("no samples", "audio/wav", wav(0), unusable, "unusable_audio"),
        ("too large", "audio/wav", too_large, large, "too_large"),
    ])
    .await;
}

#[tokio::test]
async fn a_malformed_form_is_refused_and_leaves_nothing_behind() {
    let kind = "multipart/form-data; boundary=edge";
    let recording = wav(300);
    let file = || Part(r#"name="file"; filename="a.wav""#, &recording);
    let with = |name, content| form(&[file(), Part(name, content)]);
    let options = |json| with(r#"name="options""#, json);
    let too_large = vec![0; MAX_UPLOAD_BYTES as usize + 1];
    let endless = vec![b'a'; 70_000];
    let bad = StatusCode::BAD_REQUEST;
    let (unusable, large) = (StatusCode::UNPROCESSABLE_ENTITY, StatusCode::PAYLOAD_TOO_LARGE);
    assert_refused(vec![
        ("too large", kind, form(&[Part(r#"name="file""#, &too_large)]), large, "too_large"),
        ("no boundary", "multipart/form-data", form(&[file()]), bad, "bad_form"),
        ("another boundary", "multipart/form-data; boundary=x", wav(300), bad, "bad_form"),
        ("no file", kind, form(&[Part(r#"name="target""#, b"fr")]), bad, "empty"),
        ("none chosen", kind, form(&[Part(r#"name="file"; filename="""#, b"")]), bad, "empty"),
        ("two files", kind, with(r#"name="file"; filename="b.wav""#, b"RIFF"), bad, "bad_form"),
        ("an unknown field", kind, with(r#"name="colour""#, b"red"), bad, "bad_form"),
        ("an endless field", kind, with(r#"name="target""#, &endless), bad, "bad_form"),
        ("options, no JSON", kind, options(b"{target:"), bad, "bad_options"),
        ("options, a list", kind, options(b"[1]"), bad, "bad_options"),
        ("an unknown option", kind, options(br#"{"colour":"red"}"#), bad, "unknown_option"),
        ("a language not here", kind, options(br#"{"target":"tlh"}"#), unusable, "not_offered"),
    ])
    .await;
}

#[tokio::test]
async fn an_unknown_language_is_answered_with_those_there_are() {
    let site = Site::new().await;
    let mut upload = request(Method::POST, "/api/v1/jobs?target=tlh");
    *upload.body_mut() = Body::from(wav(300));
    let answer = site.send(upload).await;
    let message = answer.error(StatusCode::UNPROCESSABLE_ENTITY, "not_offered");
    assert!(message.contains("fr (French), pt (Portuguese)"), "{message}");
    assert_eq!(answer.json()["error"]["param"], "target");
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing_behind() {
    let site = Site::new().await;
    let broken: [Result<Bytes, std::io::Error>; 2] = [
        Ok(Bytes::from(wav(300)).slice(..2000)),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ];
    let answer = site.upload("audio/wav", Body::from_stream(futures::stream::iter(broken))).await;
    answer.error(StatusCode::BAD_REQUEST, "broken_off");
    site.assert_untouched().await;
}

#[tokio::test]
async fn a_declared_length_over_the_limit_is_refused_before_anything_is_sent() {
    let site = Site::new().await;
    let mut upload = request(Method::POST, "/api/v1/jobs");
    *upload.body_mut() =
        Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    upload.headers_mut().insert(header::CONTENT_LENGTH, (MAX_UPLOAD_BYTES + 1).into());
    site.send(upload).await.error(StatusCode::PAYLOAD_TOO_LARGE, "too_large");
    site.assert_untouched().await;
}

#[tokio::test]
async fn too_many_uploads_at_once_are_asked_to_come_back() {
    let site = Site::new().await;
    let never = || futures::stream::pending::<Result<Bytes, std::io::Error>>();
    let mut waiting: Vec<_> =
        (0..8).map(|_| Box::pin(site.upload("", Body::from_stream(never())))).collect();
    // Every upload has its permit once it was polled.
    for upload in &mut waiting {
        assert!(futures::poll!(upload).is_pending());
    }
    let refused = site.upload("audio/wav", wav(300)).await;
    refused.error(StatusCode::TOO_MANY_REQUESTS, "too_many_uploads");
    assert_eq!(refused.header(header::RETRY_AFTER), "2");
    drop(waiting);
    assert_eq!(site.upload("audio/wav", wav(300)).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn another_sites_page_may_not_send_or_delete() {
    let site = Site::new().await;
    let id = site.submit().await;
    for (method, path) in [
        (Method::POST, "/api/v1/jobs".to_owned()),
        (Method::DELETE, format!("/api/v1/jobs/{id}")),
        (Method::POST, format!("/jobs/{id}/delete")),
    ] {
        let mut foreign = request(method, &path);
        let origin = "https://evil.example".parse().expect("a header value");
        foreign.headers_mut().insert(header::ORIGIN, origin);
        site.send(foreign).await.error(StatusCode::FORBIDDEN, "cross_site");
    }
    assert_eq!(site.get(&format!("/api/v1/jobs/{id}")).await.status, StatusCode::OK);
}

// --- Artifacts ------------------------------------------------------------

#[tokio::test]
async fn every_artifact_has_its_type_and_its_file_name() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    let text = "text/plain; charset=utf-8";
    for (stage, media_type, name) in [
        ("prompt", "audio/wav", "prompt.wav"),
        ("transcribe_audio", text, "transcript.txt"),
        ("generate_text", text, "text.txt"),
        ("synthesis_audio_en", "audio/wav", "speech.en.wav"),
        ("translate_text", text, "translation.fr.txt"),
        ("synthesis_audio", "audio/wav", "speech.fr.wav"),
    ] {
        let path = format!("/api/v1/jobs/{id}/artifacts/{stage}");
        let shown = site.get(&path).await;
        assert_eq!(shown.status, StatusCode::OK, "{}", shown.text());
        assert_eq!(shown.header(header::CONTENT_TYPE), media_type, "{stage}");
        assert_eq!(shown.header(header::CONTENT_LENGTH), shown.body.len().to_string(), "{stage}");
        assert!(!shown.headers.contains_key(header::CONTENT_DISPOSITION));
        let saved = site.get(&format!("{path}?download=1")).await;
        let disposition = format!("attachment; filename=\"{name}\"");
        assert_eq!(saved.header(header::CONTENT_DISPOSITION), disposition);
        assert_eq!(saved.body, shown.body);
    }
}

#[tokio::test]
async fn the_transcript_is_text_or_on_request_json_with_times() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    let path = format!("/api/v1/jobs/{id}/artifacts/transcribe_audio");
    assert_eq!(site.get(&path).await.text(), TRANSCRIPT);
    let full = site.get(&format!("{path}?format=json")).await;
    assert_eq!(full.header(header::CONTENT_TYPE), "application/json");
    assert_eq!(full.json()["segments"][0]["end_ms"], 900);
    let text = format!("/api/v1/jobs/{id}/artifacts/generate_text?format=json");
    site.get(&text).await.error(StatusCode::BAD_REQUEST, "bad_query");
}

#[tokio::test]
async fn an_artifact_that_is_not_there_yet_or_never_is_404() {
    let site = Site::new().await;
    let id = site.submit().await;
    let artifacts = format!("/api/v1/jobs/{id}/artifacts");
    let early = site.get(&format!("{artifacts}/generate_text")).await;
    early.error(StatusCode::NOT_FOUND, "artifact_not_ready");
    for stage in [
        "speech",
        "..%2fprompt.wav",
        "..%2f..%2f..%2fjobs.sqlite3",
        "%2Fetc%2Fpasswd",
        "prompt.wav",
        "%00",
    ] {
        let answer = site.get(&format!("{artifacts}/{stage}")).await;
        answer.error(StatusCode::NOT_FOUND, "unknown_stage");
    }
}

#[tokio::test]
async fn a_player_can_seek() {
    let site = Site::new().await;
    let recording = wav(1000);
    let length = recording.len();
    let id = site.submit().await;
    let path = format!("/api/v1/jobs/{id}/artifacts/prompt");
    let whole = site.get(&path).await;
    assert_eq!(whole.header(header::ACCEPT_RANGES), "bytes");
    let ranges = [
        ("bytes=0-", 0, length),
        ("bytes=0-99", 0, 100),
        ("bytes=1000-1999", 1000, 2000),
        ("bytes=-100", length - 100, length),
        ("bytes=100-99999999", 100, length),
    ];
    for (range, start, end) in ranges {
        let mut part = request(Method::GET, &path);
        part.headers_mut().insert(header::RANGE, range.parse().expect("a header value"));
        let part = site.send(part).await;
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(part.body, recording[start..end], "{range}");
        let told = format!("bytes {start}-{}/{length}", end - 1);
        assert_eq!(part.header(header::CONTENT_RANGE), told, "{range}");
        assert_eq!(part.header(header::CONTENT_TYPE), "audio/wav");
    }
    let mut beyond = request(Method::GET, &path);
    let range = format!("bytes={length}-").parse().expect("a header value");
    beyond.headers_mut().insert(header::RANGE, range);
    let beyond = site.send(beyond).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header(header::CONTENT_RANGE), format!("bytes */{length}"));
    let head = site.send(request(Method::HEAD, &path)).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header(header::CONTENT_LENGTH), length.to_string());
}

// --- Events ---------------------------------------------------------------

/// The messages of an event stream that ends: name and data.
fn messages(stream: &str) -> Vec<(String, Value)> {
    stream
        .split("\n\n")
        .filter_map(|message| {
            let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
            let data = serde_json::from_str(field("data: ")?).expect("JSON");
            Some((field("event: ")?.to_owned(), data))
        })
        .collect()
}

#[tokio::test]
async fn the_events_of_a_finished_job_are_its_state_and_end() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    let answer = site.get(&format!("/api/v1/jobs/{id}/events")).await;
    assert_eq!(answer.header(header::CONTENT_TYPE), "text/event-stream");
    let expected = json!({ "job": id, "event": "job", "state": "succeeded" });
    assert_eq!(messages(answer.text()), [("job".to_owned(), expected)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_a_job_tell_every_stage_and_every_word_and_end_with_it() {
    let site = Site::new().await;
    let id = site.submit().await;
    let other = site.submit().await;
    // The stream is open before the worker begins, so it holds everything.
    let stream = site.open(request(Method::GET, &format!("/api/v1/jobs/{id}/events"))).await;
    let worker = Workers::start(&site.store, vec![stub::stages()]).expect("a worker");
    let body = axum::body::to_bytes(stream.into_body(), usize::MAX).await.expect("the stream ends");
    let events = messages(std::str::from_utf8(&body).expect("UTF-8"));
    assert_eq!(events[0].1["state"], "queued");
    assert_eq!(events.last().expect("events").1["state"], "succeeded");
    assert!(!events.iter().any(|(_, data)| data["job"] == json!(other)));
    let done: Vec<&str> = events
        .iter()
        .filter(|(name, data)| name == "stage" && data["state"] == "succeeded")
        .filter_map(|(_, data)| data["stage"].as_str())
        .collect();
    assert_eq!(done, StageKind::ALL.map(StageKind::as_str));
    let mut text = String::new();
    for (_, data) in &events {
        if let Some(delta) = data["progress"]["delta"].as_str() {
            assert_eq!(data["offset"], json!(text.chars().count()), "a gap in the text");
            text.push_str(delta);
        }
    }
    let stored = site.get(&format!("/api/v1/jobs/{id}/artifacts/generate_text")).await;
    assert_eq!(text, stored.text());
    worker.stop(std::time::Duration::from_secs(10)).await;
}

#[tokio::test]
async fn the_events_of_a_job_end_when_it_is_deleted() {
    let site = Site::new().await;
    let id = site.submit().await;
    let stream = site.open(request(Method::GET, &format!("/api/v1/jobs/{id}/events"))).await;
    site.store.delete(id).await.expect("the table answers");
    let body = axum::body::to_bytes(stream.into_body(), usize::MAX).await.expect("the stream ends");
    let names: Vec<String> = messages(std::str::from_utf8(&body).expect("UTF-8"))
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["job", "deleted"]);
}

#[tokio::test]
async fn the_events_of_all_jobs_tell_of_new_ones() {
    let site = Site::new().await;
    let stream = site.open(request(Method::GET, "/api/v1/events")).await;
    let mut pieces = stream.into_body().into_data_stream();
    let id = site.submit().await;
    let piece = pieces.next().await.expect("an event").expect("readable");
    let expected = json!({ "job": id, "event": "job", "state": "queued" });
    let text = std::str::from_utf8(&piece).expect("UTF-8");
    assert_eq!(messages(text), [("job".to_owned(), expected)]);
}
