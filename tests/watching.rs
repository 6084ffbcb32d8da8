//! For whoever watches the server or drives it by program: figures, exports, filters, the
//! description of the interface, keys against doing a thing twice, streams that go on.

mod support;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use futures::StreamExt;
use mega_pipeline::stage::{JobOptions, StageKind};
use serde_json::Value;
use support::drive;
use support::process::{Server, mega};
use support::web::{Answer, Site, request, wav};

async fn upload_with_key(site: &Site, key: &str, recording: Vec<u8>, query: &str) -> Answer {
    let mut asked = request(Method::POST, &format!("/api/v1/jobs{query}"));
    *asked.body_mut() = Body::from(recording);
    asked.headers_mut().insert("idempotency-key", key.parse().expect("a header value"));
    site.send(asked).await
}

#[tokio::test]
async fn the_same_recording_sent_again_under_one_key_is_one_job() {
    let site = Site::new().await;
    let first = upload_with_key(&site, "k-1", wav(300), "").await;
    let again = upload_with_key(&site, "k-1", wav(300), "").await;
    assert_eq!((first.status, again.status), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!(first.json(), again.json());
    assert_eq!(again.header(header::LOCATION), first.header(header::LOCATION));
    let other = upload_with_key(&site, "k-2", wav(300), "").await;
    assert_ne!(first.json(), other.json());
    for (recording, query) in [(wav(400), ""), (wav(300), "?target=pt")] {
        let refused = upload_with_key(&site, "k-1", recording, query).await;
        refused.error(StatusCode::UNPROCESSABLE_ENTITY, "key_reused");
    }
    for bad in ["", &"x".repeat(256)] {
        let refused = upload_with_key(&site, bad, wav(300), "").await;
        refused.error(StatusCode::BAD_REQUEST, "bad_key");
    }
    let jobs = site.store.list(None, 10).await.unwrap();
    assert_eq!(jobs.len(), 2);
    let folders = std::fs::read_dir(site.store.folder(jobs[0].id).dir().parent().unwrap()).unwrap();
    assert_eq!(folders.count(), 2, "a recording was kept twice");
    // A key goes with its job.
    site.store.delete(jobs[1].id).await.unwrap();
    let anew = upload_with_key(&site, "k-1", wav(300), "").await;
    assert_ne!(anew.json(), first.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_under_one_key_one_becomes_a_job() {
    let site = std::sync::Arc::new(Site::new().await);
    let uploads: Vec<_> = (0..8)
        .map(|_| {
            let site = std::sync::Arc::clone(&site);
            tokio::spawn(async move { upload_with_key(&site, "one", wav(200), "").await })
        })
        .collect();
    for upload in uploads {
        assert_eq!(upload.await.expect("an answer").status, StatusCode::ACCEPTED);
    }
    assert_eq!(site.store.list(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_list_can_be_narrowed_to_a_state_and_a_time() {
    let site = Site::new().await;
    let (first, second) = (site.submit().await, site.submit().await);
    site.store.cancel(first).await.unwrap();
    let ids = |answer: Answer| -> Vec<String> {
        let jobs = answer.json()["jobs"].clone();
        let jobs = jobs.as_array().expect("a list").iter();
        jobs.map(|job| job["id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(site.get("/api/v1/jobs?state=canceled").await), [first.to_string()]);
    assert_eq!(ids(site.get("/api/v1/jobs?state=queued").await), [second.to_string()]);
    assert_eq!(ids(site.get("/api/v1/jobs?since=2020-01-01T00:00:00Z").await).len(), 2);
    assert_eq!(ids(site.get("/api/v1/jobs?since=2120-01-01T00:00:00Z").await).len(), 0);
    let older = format!("/api/v1/jobs?cursor={second}&state=canceled");
    assert_eq!(ids(site.get(&older).await), [first.to_string()]);
}

#[tokio::test]
async fn what_every_stage_cost_can_be_taken_away_as_a_table() {
    let site = Site::new().await;
    assert_eq!(site.get("/api/v1/jobs.json").await.json(), serde_json::json!([]));
    assert_eq!(site.get("/api/v1/jobs.csv").await.text().lines().count(), 1, "headings alone");
    let id = site.submit().await;
    drive::succeed(&site.store, id, StageKind::TranscribeAudio).await;
    let other = site.submit().await;
    let answer = site.get("/api/v1/jobs.json").await;
    assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
    let rows = answer.json();
    assert_eq!(rows.as_array().expect("a list").len(), 3);
    assert_eq!(rows[0]["job"], other.to_string());
    assert_eq!(
        (&rows[1]["stage"], &rows[1]["state"]),
        (&"transcribe_audio".into(), &"succeeded".into())
    );
    let table = site.get("/api/v1/jobs.csv").await;
    assert_eq!(table.header(header::CONTENT_TYPE), "text/csv; charset=utf-8");
    let lines: Vec<&str> = table.text().lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("job,job_state,created_ms,target"), "{}", lines[0]);
    assert!(lines[2].contains(",transcribe_audio,succeeded,"), "{}", lines[2]);
}

#[tokio::test]
async fn the_table_holds_what_earlier_versions_cost_too() {
    let site = Site::new().await;
    let id = site.submit().await;
    for stage in StageKind::ALL {
        drive::succeed(&site.store, id, stage).await;
    }
    let options = JobOptions { target: "pt".to_owned(), ..JobOptions::default() };
    site.store.run_from(id, StageKind::SynthesisAudio, options).await.unwrap();
    drive::succeed(&site.store, id, StageKind::SynthesisAudio).await;
    let rows = site.get("/api/v1/jobs.json").await.json();
    let speech: Vec<(&Value, &Value)> = rows
        .as_array()
        .expect("a list")
        .iter()
        .filter(|row| row["stage"] == "synthesis_audio")
        .map(|row| (&row["version"], &row["target"]))
        .collect();
    assert_eq!(speech, [(&1.into(), &"fr".into()), (&2.into(), &"pt".into())]);
}

#[tokio::test]
async fn the_figures_tell_of_jobs_requests_and_memory() {
    let site = Site::new().await;
    site.submit().await;
    site.get("/").await;
    site.get("/jobs/not-a-job").await;
    site.get("/nowhere").await;
    let answer = site.get("/metrics").await;
    assert!(answer.header(header::CONTENT_TYPE).starts_with("application/openmetrics-text"));
    for line in [
        "mega_pipeline_jobs{state=\"queued\"} 1",
        "mega_pipeline_jobs{state=\"failed\"} 0",
        "mega_pipeline_http_requests_total{method=\"POST\",route=\"/api/v1/jobs\",status=\"202\"} 1",
        "mega_pipeline_http_requests_total{method=\"GET\",route=\"/jobs/{id}\",status=\"404\"} 1",
        "mega_pipeline_http_requests_total{method=\"GET\",route=\"other\",status=\"404\"} 1",
    ] {
        assert!(answer.text().contains(line), "{line} is not in\n{}", answer.text());
    }
    let memory =
        answer.text().lines().find_map(|line| line.strip_prefix("mega_pipeline_resident_bytes "));
    assert!(memory.expect("memory").parse::<u64>().expect("a number") > 1_000_000);
    assert!(!answer.text().contains("not-a-job"), "every path would be a label");
}

#[tokio::test]
async fn the_interface_describes_itself_to_programs_and_people() {
    let site = Site::new().await;
    let interface = site.get("/api/openapi.json").await.json();
    assert_eq!(interface["openapi"], "3.1.0");
    let page = site.get("/api").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("POST /v1/chat/completions"));
    let info = site.get("/api/v1/info").await.json();
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["served"][1]["model"], "stub");
    assert_eq!(
        (&info["stages"][0]["stage"], &info["stages"][0]["device"]),
        (&"generate_text".into(), &"cpu".into())
    );
}

/// Ids and names of the events that come within the next `count` messages.
async fn read(
    stream: &mut (impl futures::Stream<Item = Result<axum::body::Bytes, axum::Error>> + Unpin),
    count: usize,
) -> Vec<(Option<String>, String)> {
    let mut told = Vec::new();
    while told.len() < count {
        let bytes = stream.next().await.expect("the stream goes on").expect("no failure");
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        for message in text.split("\n\n").filter(|message| message.contains("event: ")) {
            let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
            let name = field("event: ").expect("a name").to_owned();
            told.push((field("id: ").map(str::to_owned), name));
        }
    }
    told
}

#[tokio::test]
async fn a_stream_that_broke_off_goes_on_after_the_last_event_that_came() {
    let site = Site::new().await;
    let mut all =
        site.open(request(Method::GET, "/api/v1/events")).await.into_body().into_data_stream();
    let id = site.submit().await;
    let told = read(&mut all, 1).await;
    let last = told[0].0.clone().expect("an id");
    drop(all);
    drive::succeed(&site.store, id, StageKind::TranscribeAudio).await;
    site.store.cancel(id).await.unwrap();

    let again = |path: &str, last: &str| {
        let mut asked = request(Method::GET, path);
        asked.headers_mut().insert("last-event-id", last.parse().expect("a header value"));
        asked
    };
    let mut rest = site.open(again("/api/v1/events", &last)).await.into_body().into_data_stream();
    let told = read(&mut rest, 2).await;
    assert!(told.iter().all(|(id, _)| id.is_some()), "{told:?}");
    let last_name = &told.last().expect("an event").1;
    assert!(matches!(last_name.as_str(), "stage" | "job"), "{told:?}");
    let mut unknown =
        site.open(again("/api/v1/events", "1-7")).await.into_body().into_data_stream();
    assert_eq!(read(&mut unknown, 1).await[0].1, "resync");
    // Of a job that is over, its end is told whatever came last.
    let path = format!("/api/v1/jobs/{id}/events");
    let ended = site.send(again(&path, &last)).await;
    assert!(ended.text().contains("canceled"), "{}", ended.text());
}

#[test]
fn what_was_said_is_in_the_log_only_on_demand() {
    let log_of = |arguments: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut program = mega(dir.path());
        program.env("MEGA_LOG_FORMAT", "json");
        program.stderr(std::fs::File::create(&log).unwrap());
        let server = Server::logged(program, arguments);
        let (_, body) = server.request("POST", "/api/v1/jobs", "audio/wav", &wav(300));
        let id: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(server.finished(id["id"].as_str().unwrap())["state"], "succeeded");
        drop(server);
        std::fs::read_to_string(log).unwrap()
    };
    let silent = log_of(&["--stub"]);
    assert!(silent.contains("stage done") && !silent.contains("stub transcript"), "{silent}");
    let open = log_of(&["--stub", "--log-content"]);
    assert!(open.contains("This is a stub transcript."), "{open}");
    assert!(open.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{open}");
}

#[test]
fn what_a_request_causes_stands_in_the_log_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut program = mega(dir.path());
    program.env("MEGA_LOG_FORMAT", "json").env("MEGA_API_TOKENS", "ann=correct-horse-battery");
    program.stderr(std::fs::File::create(&log).unwrap());
    let server = Server::logged(program, &["--stub"]);
    let headers = "Authorization: Bearer nonsense\r\nX-Request-Id: my-request.7";
    let answer = server.answer("GET", "/api/v1/jobs", headers);
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("x-request-id: my-request.7"), "{answer}");
    let headers = "Authorization: Bearer correct-horse-battery\r\nX-Request-Id: my-request.8";
    let answer = server.answer("POST", "/sample", headers);
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    drop(server);
    let log = std::fs::read_to_string(log).unwrap();
    for (told, request) in
        [("a wrong token was refused", "my-request.7"), ("accepted", "my-request.8")]
    {
        let line = log.lines().find(|line| line.contains(told));
        let line: Value = serde_json::from_str(line.expect("it is told")).unwrap();
        assert_eq!(line["span"]["id"], request, "{line}");
    }
}
