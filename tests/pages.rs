//! The page says what the job table holds, and can be trusted with any text.

mod support;

use axum::http::{Method, StatusCode, header};
use mega_pipeline::jobs::{JobId, Readiness};
use mega_pipeline::stage::StageKind;
use scraper::{ElementRef, Html, Selector};
use support::drive::{self, TRANSCRIPT};
use support::web::{Answer, Site, request};

const HEADINGS: [&str; 6] = [
    "Audio Prompt",
    "Transcribed Audio",
    "Generated Text",
    "Synthesised Audio",
    "Translated Text",
    "Synthesised Audio",
];

async fn page(site: &Site, path: &str) -> Html {
    let answer = site.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let page = Html::parse_document(answer.text());
    assert!(page.errors.is_empty(), "malformed HTML: {:?}", page.errors);
    page
}

fn all<'a>(page: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    page.select(&Selector::parse(selector).expect("a selector")).collect()
}

fn one<'a>(page: &'a Html, selector: &str) -> ElementRef<'a> {
    let found = all(page, selector);
    assert_eq!(found.len(), 1, "{selector} is there {} times", found.len());
    found[0]
}

fn words(element: ElementRef<'_>) -> String {
    element.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cell(job: JobId, stage: StageKind) -> String {
    format!("#job-{job} > [data-part={stage}]")
}

#[tokio::test]
async fn an_empty_table_invites_to_record() {
    let site = Site::new().await;
    let page = page(&site, "/").await;
    assert_eq!(words(one(&page, "title")), "Mega Pipeline");
    assert_eq!(words(one(&page, "#hint")), "Click the mic to record a prompt");
    assert!(one(&page, "#empty").attr("hidden").is_none());
    assert!(one(&page, "#jobs").attr("hidden").is_some());
    let headings: Vec<String> = all(&page, "thead th").into_iter().map(words).collect();
    assert_eq!(headings, HEADINGS);
}

#[tokio::test]
async fn the_form_offers_the_configured_languages_and_templates() {
    let site = Site::new().await;
    let page = page(&site, "/").await;
    let options = |name: &str| -> Vec<String> {
        all(&page, &format!("select[name={name}] option")).into_iter().map(words).collect()
    };
    assert_eq!(options("target"), ["French", "Portuguese"]);
    assert_eq!(options("template"), ["Continue the thought", "Free"]);
    assert_eq!(one(&page, "select[name=target] option[selected]").attr("value"), Some("fr"));
    assert_eq!(words(one(&page, "footer")), "Models: stub");
}

#[tokio::test]
async fn a_finished_job_fills_six_cells_with_texts_and_players() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    let page = page(&site, "/").await;
    assert_eq!(all(&page, "tbody tr").len(), 1);
    assert_eq!(all(&page, &format!("#job-{id} > td")).len(), 6);
    let headings: Vec<_> =
        all(&page, "tbody td").into_iter().filter_map(|cell| cell.attr("data-heading")).collect();
    assert_eq!(headings, HEADINGS);
    assert_eq!(all(&page, "tbody audio").len(), 3);
    assert_eq!(all(&page, "tbody .text").len(), 3);
    assert_eq!(words(one(&page, ".state")), "Done");
    let translation = one(&page, &format!("{} .text", cell(id, StageKind::TranslateText)));
    assert_eq!(words(translation), "Ils livrent du code.");
    assert_eq!(translation.attr("lang"), Some("fr"));
    assert!(all(&page, "form[data-action=cancel]").is_empty());
    assert_eq!(all(&page, "form[data-action=delete]").len(), 1);
    for link in all(&page, "tbody audio, tbody a") {
        let path = link.attr("src").or(link.attr("href")).expect("an address");
        assert_eq!(site.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn markup_in_a_text_or_a_file_name_is_shown_and_not_obeyed() {
    let site = Site::new().await;
    let recording = support::web::wav(500);
    let name = r#"name="file"; filename="<img src=x onerror=alert(1)>.wav""#;
    let answer = site.upload_form(&[support::web::Part(name, &recording)]).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let id: JobId = answer.json()["id"].as_str().expect("an id").parse().expect("a job id");
    drive::succeed_all(&site.store, id).await;
    let page = page(&site, "/").await;
    assert!(all(&page, "tbody script, tbody img").is_empty());
    assert_eq!(words(one(&page, ".name")), "<img src=x onerror=alert(1)>.wav");
    let text = one(&page, &format!("{} .text", cell(id, StageKind::TranscribeAudio)));
    assert_eq!(text.text().collect::<String>(), TRANSCRIPT);
}

#[tokio::test]
async fn a_running_stage_shows_that_it_runs_and_the_later_ones_wait() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed(&site.store, id, StageKind::TranscribeAudio).await;
    drive::start(&site.store, id, StageKind::GenerateText).await;
    let page = page(&site, "/").await;
    assert_eq!(words(one(&page, ".state")), "Running");
    let running = cell(id, StageKind::GenerateText);
    assert_eq!(words(one(&page, &format!("{running} .doing"))), "Writing…");
    assert_eq!(
        one(&page, &format!("{running} [data-characters]")).attr("data-characters"),
        Some("0")
    );
    one(&page, &format!("{running} progress"));
    assert_eq!(all(&page, "td.is-waiting").len(), 3);
    assert_eq!(all(&page, "form[data-action=cancel]").len(), 1);
}

#[tokio::test]
async fn a_failed_job_says_where_and_why_and_the_rest_is_not_made() {
    let site = Site::new().await;
    let id = site.submit().await;
    let sentence = "The recording holds no speech.";
    drive::fail(&site.store, id, StageKind::TranscribeAudio, sentence).await;
    let page = page(&site, "/").await;
    assert_eq!(words(one(&page, ".state")), "Failed");
    let failed = one(&page, &cell(id, StageKind::TranscribeAudio));
    assert_eq!(words(failed), format!("Failed {sentence}"));
    assert_eq!(all(&page, "td.is-never").len(), 4);
}

#[tokio::test]
async fn a_canceled_job_shows_what_was_made_before() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed(&site.store, id, StageKind::TranscribeAudio).await;
    let answer = site.post(&format!("/api/v1/jobs/{id}/cancel")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let page = page(&site, "/").await;
    assert_eq!(words(one(&page, ".state")), "Canceled");
    assert_eq!(all(&page, "td.is-text").len(), 1);
    assert_eq!(all(&page, "td.is-never").len(), 4);
}

#[tokio::test]
async fn a_lost_file_spoils_its_cell_only() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    let job = support::jobs::get(&site.store, id).await;
    let file = &job.artifact(StageKind::GenerateText).expect("it was made").file;
    std::fs::remove_file(site.store.folder(id).path(file)).expect("it is there");
    let page = page(&site, "/").await;
    assert_eq!(all(&page, "td.is-failed").len(), 1);
    assert_eq!(all(&page, "td.is-text").len(), 2);
}

#[tokio::test]
async fn the_newest_job_stands_on_top_and_older_ones_are_a_link_away() {
    let site = Site::new().await;
    let mut ids = Vec::new();
    for _ in 0..32 {
        ids.push(support::jobs::submit(&site.store).await);
    }
    ids.reverse();
    let row_ids = |page: &Html| -> Vec<String> {
        all(page, "tbody tr")
            .into_iter()
            .filter_map(|row| row.attr("data-job"))
            .map(str::to_owned)
            .collect()
    };
    let first = page(&site, "/").await;
    let expected: Vec<String> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(row_ids(&first), expected[..30]);
    let older = one(&first, ".pages a").attr("href").expect("a link").to_owned();
    let second = page(&site, &older).await;
    assert_eq!(row_ids(&second), expected[30..]);
    assert!(one(&second, "#jobs").attr("data-newest").is_none());
}

#[tokio::test]
async fn a_row_alone_is_the_row_of_the_page() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    let row = site.get(&format!("/jobs/{id}/row")).await;
    assert!(site.get("/").await.text().contains(row.text()));
    let nobody = JobId::new();
    let missing = site.get(&format!("/jobs/{nobody}/row")).await;
    missing.error(StatusCode::NOT_FOUND, "job_not_found");
}

#[tokio::test]
async fn the_page_tells_while_models_load_and_when_they_cannot() {
    let site = Site::new().await;
    assert!(all(&page(&site, "/").await, "#readiness .notice").is_empty());
    site.readiness.send_replace(Readiness::Loading { stage: Some(StageKind::GenerateText) });
    let loading = words(one(&page(&site, "/").await, "#readiness"));
    assert!(loading.contains("now: generate_text"), "{loading}");
    let message = "Whisper is missing. Run `mega-pipeline models pull`.".to_owned();
    let stage = StageKind::TranscribeAudio;
    site.readiness.send_replace(Readiness::Failed { stage, message: message.clone() });
    let failed = words(one(&page(&site, "/").await, "#readiness"));
    assert!(failed.ends_with(&message), "{failed}");
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_keep_a_page_safe() {
    let site = Site::new().await;
    for path in ["/", "/static/app.js", "/api/v1/jobs", "/nowhere"] {
        let answer = site.get(path).await;
        let policy = answer.header(header::CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff", "{path}");
    }
}

#[tokio::test]
async fn the_page_has_nothing_inline_and_asks_no_other_host() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    let page = page(&site, "/").await;
    assert!(all(&page, "style, [style], script:not([src])").is_empty());
    for element in all(&page, "*") {
        for (name, value) in element.value().attrs() {
            assert!(!name.starts_with("on"), "an inline handler: {name}={value}");
            let is_address = matches!(name, "src" | "href" | "action");
            assert!(!is_address || value.starts_with('/'), "not on this host: {name}={value}");
        }
    }
}

#[tokio::test]
async fn every_control_has_a_name() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    let page = page(&site, "/").await;
    for control in all(&page, "button, audio, input, select, progress, meter") {
        let labelled = control
            .attr("id")
            .is_some_and(|id| !all(&page, &format!("label[for={id}]")).is_empty());
        let wrapped = control
            .ancestors()
            .filter_map(ElementRef::wrap)
            .any(|parent| parent.value().name() == "label");
        let named = control.attr("aria-label").is_some() || !words(control).is_empty();
        assert!(labelled || wrapped || named, "without a name: {}", control.html());
    }
}

#[tokio::test]
async fn assets_are_cached_by_their_content() {
    let site = Site::new().await;
    for (name, media_type) in [
        ("app.js", "text/javascript; charset=utf-8"),
        ("recorder.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("favicon.svg", "image/svg+xml"),
    ] {
        let path = format!("/static/{name}");
        let first = site.get(&path).await;
        assert_eq!(
            (first.status, first.header(header::CONTENT_TYPE)),
            (StatusCode::OK, media_type)
        );
        let mut again = request(Method::GET, &path);
        again.headers_mut().insert(header::IF_NONE_MATCH, first.headers[header::ETAG].clone());
        assert_eq!(site.send(again).await.status, StatusCode::NOT_MODIFIED);
    }
    site.get("/static/..%2fCargo.toml").await.error(StatusCode::NOT_FOUND, "not_found");
}

/// A request as a browser sends it when a form is submitted without JavaScript.
async fn browse(site: &Site, method: Method, path: &str) -> Answer {
    let mut request = request(method, path);
    let accept = "text/html,application/xhtml+xml,*/*;q=0.8".parse().expect("a header value");
    request.headers_mut().insert(header::ACCEPT, accept);
    site.send(request).await
}

#[tokio::test]
async fn buttons_work_without_javascript() {
    let site = Site::new().await;
    let id = site.submit().await;
    let canceled = browse(&site, Method::POST, &format!("/api/v1/jobs/{id}/cancel")).await;
    assert_eq!((canceled.status, canceled.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/"));
    let deleted = browse(&site, Method::POST, &format!("/jobs/{id}/delete")).await;
    assert_eq!((deleted.status, deleted.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/"));
    site.assert_untouched().await;
}

#[tokio::test]
async fn an_error_is_a_page_for_a_person() {
    let site = Site::new().await;
    let missing = browse(&site, Method::GET, "/nowhere").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let empty = browse(&site, Method::POST, "/api/v1/jobs").await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST);
    for (answer, sentence) in [
        (missing, "There is nothing at this address."),
        (empty, "The request is empty. Send the recording as its body."),
    ] {
        assert_eq!(answer.header(header::CONTENT_TYPE), "text/html; charset=utf-8");
        let page = Html::parse_document(answer.text());
        assert!(words(one(&page, "main")).contains(sentence), "{}", answer.text());
    }
}
