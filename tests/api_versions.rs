//! Over HTTP: going on with a job, running it again, its versions, and what is refused when
//! the queue or the disk is full.

mod support;

use axum::http::{Method, StatusCode, header};
use mega_pipeline::jobs::{JobId, StoreOptions};
use mega_pipeline::stage::StageKind;
use serde_json::json;
use support::drive;
use support::web::{Site, request, wav};

async fn rerun(site: &Site, id: JobId, body: serde_json::Value) -> support::web::Answer {
    site.post_json(&format!("/api/v1/jobs/{id}/rerun"), &body).await
}

#[tokio::test]
async fn a_failed_job_goes_on_where_it_stopped() {
    let site = Site::new().await;
    let id = site.submit().await;
    let path = format!("/api/v1/jobs/{id}/retry");
    site.post(&path).await.error(StatusCode::CONFLICT, "not_now");
    drive::succeed(&site.store, id, StageKind::TranscribeAudio).await;
    drive::fail(&site.store, id, StageKind::GenerateText, "No.").await;

    let answer = site.post(&path).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    assert_eq!(answer.json()["state"], "queued");
    assert!(answer.json()["error"].is_null());
    drive::start(&site.store, id, StageKind::GenerateText).await;
    let unknown = format!("/api/v1/jobs/{}/retry", JobId::new());
    site.post(&unknown).await.error(StatusCode::NOT_FOUND, "job_not_found");
}

#[tokio::test]
async fn a_job_is_run_again_with_the_options_that_are_named_and_the_others_as_they_were() {
    let site = Site::new().await;
    let query = "/api/v1/jobs?options=%7B%22seed%22%3A7%7D";
    let mut upload = request(Method::POST, query);
    *upload.body_mut() = wav(1000).into();
    let id: JobId = site.send(upload).await.json()["id"].as_str().unwrap().parse().unwrap();
    drive::succeed_all(&site.store, id).await;

    let body = json!({ "from": "translate_text", "options": { "target": "pt" } });
    let answer = rerun(&site, id, body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let job = answer.json();
    assert_eq!((&job["version"], &job["state"]), (&json!(2), &json!("queued")));
    assert_eq!(job["options"]["target"], "pt");
    assert_eq!(job["options"]["seed"], 7);
    assert_eq!(job["versions"].as_array().unwrap().len(), 2);
    for stage in [StageKind::TranslateText, StageKind::SynthesisAudio] {
        drive::succeed(&site.store, id, stage).await;
    }

    let old = site.get(&format!("/api/v1/jobs/{id}/versions/1")).await.json();
    assert_eq!((&old["version"], &old["options"]["target"]), (&json!(1), &json!("fr")));
    let path = format!("/api/v1/jobs/{id}/versions/1");
    assert_eq!(site.send(request(Method::DELETE, &path)).await.status, StatusCode::NO_CONTENT);
    site.get(&path).await.error(StatusCode::NOT_FOUND, "version_not_found");
    let newest = format!("/api/v1/jobs/{id}/versions/2");
    site.send(request(Method::DELETE, &newest)).await.error(StatusCode::CONFLICT, "not_now");
}

#[tokio::test]
async fn what_cannot_be_run_again_is_refused_with_the_reason() {
    let site = Site::new().await;
    let id = site.submit().await;
    let from = |stage: &str| json!({ "from": stage });
    rerun(&site, id, from("translate_text")).await.error(StatusCode::CONFLICT, "not_now");
    drive::succeed_all(&site.store, id).await;
    let unknown = rerun(&site, id, from("sing")).await;
    let sentence = unknown.error(StatusCode::UNPROCESSABLE_ENTITY, "unknown_stage");
    assert!(sentence.contains("transcribe_audio"), "{sentence}");
    let target = json!({ "from": "translate_text", "options": { "target": "xx" } });
    rerun(&site, id, target).await.error(StatusCode::UNPROCESSABLE_ENTITY, "not_offered");
    let option = json!({ "from": "translate_text", "options": { "colour": 1 } });
    rerun(&site, id, option).await.error(StatusCode::BAD_REQUEST, "unknown_option");
    rerun(&site, id, json!({ "start": "x" })).await.error(StatusCode::BAD_REQUEST, "bad_json");
    let unknown = rerun(&site, JobId::new(), from("translate_text")).await;
    unknown.error(StatusCode::NOT_FOUND, "job_not_found");
}

#[tokio::test]
async fn a_full_queue_is_told_with_the_time_to_come_back() {
    let site = Site::with(StoreOptions { max_queued: 1, ..StoreOptions::default() }).await;
    site.submit().await;
    let answer = site.upload("audio/wav", wav(1000)).await;
    answer.error(StatusCode::TOO_MANY_REQUESTS, "queue_full");
    assert!(answer.header(header::RETRY_AFTER).parse::<u32>().unwrap() > 0);
    assert_eq!(site.store.list(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_disk_below_its_floor_is_told_before_the_recording_is_read() {
    let none = |_: &std::path::Path| Ok(0);
    let site = Site::with(StoreOptions { free_space: none, ..StoreOptions::default() }).await;
    // What comes after the headers would be refused as well; it is not looked at.
    let answer = site.upload("audio/wav", "no recording at all").await;
    answer.error(StatusCode::INSUFFICIENT_STORAGE, "disk_full");
    site.assert_untouched().await;
}
