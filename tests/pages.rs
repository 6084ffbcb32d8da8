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
async fn an_empty_table_offers_the_bundled_sample() {
    let site = Site::new().await;
    let form = "#empty form[action='/sample'][method=post] button";
    assert_eq!(words(one(&page(&site, "/").await, form)), "Try the bundled sample");
    let queued = browse(&site, Method::POST, "/sample").await;
    assert_eq!((queued.status, queued.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/"));
    let jobs = site.store.list(None, 2).await.expect("the table answers");
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].prompt_name.as_deref(), Some("sample prompt"));
    let sample = std::fs::read("samples/prompt.flac").expect("the sample");
    let prompt = site.store.folder(jobs[0].id).path("prompt.flac");
    assert_eq!(std::fs::read(prompt).expect("the prompt"), sample);
    let page = page(&site, "/").await;
    assert!(one(&page, "#empty").attr("hidden").is_some());
    assert_eq!(all(&page, "tbody tr").len(), 1);
}

#[tokio::test]
async fn the_form_offers_the_configured_languages_and_templates() {
    let site = Site::new().await;
    let page = page(&site, "/").await;
    let options = |name: &str| -> Vec<String> {
        all(&page, &format!("select[name={name}] option")).into_iter().map(words).collect()
    };
    // The text model translates to French here.
    assert_eq!(options("target"), ["French (with slips)", "Portuguese"]);
    let rough = words(one(&page, ".options .rough"));
    assert!(rough.starts_with("With slips: the text model translates"), "{rough}");
    assert!(!rough.contains("models pull"), "Portuguese is there: {rough}");
    assert_eq!(options("language"), ["Find out", "English", "French"]);
    assert_eq!(options("template"), ["Continue the thought", "Free"]);
    assert_eq!(one(&page, "select[name=target] option[selected]").attr("value"), Some("fr"));
    assert_eq!(words(one(&page, "footer")), "Stub stages: no model is used.");
}

#[tokio::test]
async fn where_only_slips_are_offered_the_form_says_how_to_get_a_language_without() {
    let site = Site::configured(|config| config.targets.retain(|it| it.value == "fr")).await;
    let page = page(&site, "/").await;
    let rough = words(one(&page, ".options .rough"));
    assert!(rough.ends_with("mega-pipeline models pull translation-en-pt voice-pt"), "{rough}");
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
    assert!(loading.contains("now: Text"), "{loading}");
    let message = "Whisper is missing. Run `mega-pipeline models pull`.".to_owned();
    let stage = StageKind::TranscribeAudio;
    site.readiness.send_replace(Readiness::Failed { stage, message: message.clone() });
    let failed = words(one(&page(&site, "/").await, "#readiness"));
    assert!(failed.ends_with(&message), "{failed}");
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_keep_a_page_safe() {
    let site = Site::new().await;
    for path in ["/", "/models", "/status", "/static/home.js", "/api/v1/jobs", "/nowhere"] {
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
    for path in ["/", "/models", "/status", &format!("/jobs/{id}")] {
        let page = page(&site, path).await;
        assert!(all(&page, "style, [style], script:not([src])").is_empty(), "{path}");
        for element in all(&page, "*") {
            for (name, value) in element.value().attrs() {
                assert!(!name.starts_with("on"), "{path}: an inline handler: {name}={value}");
                let is_address = matches!(name, "src" | "href" | "action");
                let is_here = value.starts_with('/') || value.starts_with('#');
                assert!(!is_address || is_here, "{path}: not on this host: {name}={value}");
            }
        }
    }
}

#[tokio::test]
async fn every_control_has_a_name() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    for path in ["/", &format!("/jobs/{id}")] {
        let page = page(&site, path).await;
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
}

#[tokio::test]
async fn assets_are_cached_by_their_content() {
    let site = Site::new().await;
    for (name, media_type) in [
        ("common.js", "text/javascript; charset=utf-8"),
        ("home.js", "text/javascript; charset=utf-8"),
        ("job.js", "text/javascript; charset=utf-8"),
        ("pcm.js", "text/javascript; charset=utf-8"),
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
    let canceled = browse(&site, Method::POST, &format!("/jobs/{id}/cancel")).await;
    let its_page = format!("/jobs/{id}");
    assert_eq!(
        (canceled.status, canceled.header(header::LOCATION)),
        (StatusCode::SEE_OTHER, its_page.as_str())
    );
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

/// Asks for a page as a browser does whose language is `language`.
async fn page_in(site: &Site, language: &str, path: &str) -> Html {
    let mut request = request(Method::GET, path);
    let value = language.parse().expect("a header value");
    request.headers_mut().insert(header::ACCEPT_LANGUAGE, value);
    let answer = site.send(request).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.header(header::VARY), "Accept-Language");
    Html::parse_document(answer.text())
}

#[tokio::test]
async fn the_pages_speak_french_to_who_asks_for_it() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    let home = page_in(&site, "fr-FR,fr;q=0.9,en;q=0.5", "/").await;
    assert_eq!(one(&home, "html").attr("lang"), Some("fr"));
    assert_eq!(words(one(&home, "#hint")), "Cliquez sur le micro pour enregistrer un message");
    assert_eq!(
        words(one(&home, "select[name=target] option[selected]")),
        "français (approximatif)"
    );
    assert_eq!(words(one(&home, ".state")), "Terminé");
    let script = one(&home, "body").attr("data-words").expect("the script's words");
    assert!(script.contains("Arrêter et envoyer"), "{script}");
    for path in ["/models", "/status", &format!("/jobs/{id}")] {
        let page = page_in(&site, "fr", path).await;
        assert_eq!(words(one(&page, "nav")), "Messages Modèles État", "{path}");
    }
    // What the stages made is in its own language whatever the page's is.
    let text = one(&home, &format!("{} .text", cell(id, StageKind::GenerateText)));
    assert_eq!(text.attr("lang"), Some("en"));
}

#[tokio::test]
async fn errors_speak_french_to_who_asks_for_it() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::fail(&site.store, id, StageKind::TranscribeAudio, "Nothing was said.").await;
    for (path, place) in [
        ("/".to_owned(), "td.is-failed"),
        (format!("/jobs/{id}"), "[data-part=error]"),
        ("/status".to_owned(), "section[aria-labelledby=errors] li"),
    ] {
        let page = page_in(&site, "fr", &path).await;
        let said = words(one(&page, place));
        assert!(said.contains("L’enregistrement ne contient aucune parole."), "{path}: {said}");
    }
    // A person gets a page, the script a code that it has words for.
    let mut missing = request(Method::GET, "/jobs/nothing");
    let headers = missing.headers_mut();
    headers.insert(header::ACCEPT, "text/html".parse().expect("a header value"));
    headers.insert(header::ACCEPT_LANGUAGE, "fr".parse().expect("a header value"));
    let answer = site.send(missing).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let sentence = "Ce message n’existe pas. Il a peut-être été supprimé.";
    let page = Html::parse_document(answer.text());
    assert_eq!(one(&page, "html").attr("lang"), Some("fr"));
    assert!(words(one(&page, "main")).contains(sentence), "{}", answer.text());
    let script = one(&page, "body").attr("data-words").expect("the script's words");
    let script: serde_json::Value = serde_json::from_str(script).expect("JSON");
    assert_eq!(script["errors"]["job_not_found"], sentence);
}

#[tokio::test]
async fn the_page_of_a_job_shows_everything_of_it_in_reading_order() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    let page = page(&site, &format!("/jobs/{id}")).await;
    let parts: Vec<_> =
        all(&page, "[data-part]").into_iter().filter_map(|part| part.attr("data-part")).collect();
    let stages: Vec<&str> = StageKind::ALL.iter().map(|stage| stage.as_str()).collect();
    assert_eq!(parts[..2], ["status", "error"]);
    assert_eq!(parts[2..7], stages[..]);
    assert_eq!(parts[7..], ["figures", "again"]);
    assert_eq!(all(&page, "audio").len(), 3);
    assert_eq!(all(&page, ".wide tbody tr").len(), 5);
    assert_eq!(all(&page, "svg.timeline rect").len(), 5);
    let segment = one(&page, ".segments li");
    assert_eq!(words(segment), format!("0:00 {TRANSCRIPT}"));
    assert!(all(&page, "article script").is_empty(), "a transcript was obeyed");
    assert_eq!(all(&page, "form[data-action=rerun] select[name=from] option").len(), 5);
    for element in all(&page, "article a, article audio, article img") {
        let address = element.attr("src").or(element.attr("href")).expect("an address");
        let path = address.split('#').next().expect("a path");
        assert_eq!(site.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_waveform_is_drawn_of_each_sound_and_of_nothing_else() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    for part in ["prompt", "synthesis_audio_en", "synthesis_audio"] {
        // Twice: made, and kept.
        for _ in 0..2 {
            let drawn = site.get(&format!("/jobs/{id}/waveform/{part}")).await;
            assert_eq!(drawn.header(header::CONTENT_TYPE), "image/svg+xml");
            assert!(drawn.text().contains("<path"), "{}", drawn.text());
        }
    }
    for part in ["generate_text", "nonsense"] {
        let path = format!("/jobs/{id}/waveform/{part}");
        site.get(&path).await.error(StatusCode::NOT_FOUND, "not_found");
    }
}

#[tokio::test]
async fn a_job_runs_again_with_another_language_from_its_page_and_both_versions_are_shown() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    let answer = site
        .post_form(&format!("/jobs/{id}/rerun"), "from=translate_text&target=pt&template=continue")
        .await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    for stage in [StageKind::TranslateText, StageKind::SynthesisAudio] {
        drive::succeed(&site.store, id, stage).await;
    }
    let newest = page(&site, &format!("/jobs/{id}")).await;
    assert!(words(one(&newest, "#translate_text-heading")).ends_with("Portuguese"));
    assert_eq!(all(&newest, ".versions li").len(), 2);
    let older = page(&site, &format!("/jobs/{id}?version=1")).await;
    assert!(words(one(&older, "#translate_text-heading")).ends_with("French"));
    assert!(one(&older, "article").attr("data-live").is_none());
    assert!(all(&older, "form[data-action=rerun]").is_empty());

    let gone = site.post_form(&format!("/jobs/{id}/versions/1/delete"), "").await;
    assert_eq!(gone.status, StatusCode::SEE_OTHER, "{}", gone.text());
    let newest = page(&site, &format!("/jobs/{id}")).await;
    assert!(all(&newest, ".versions").is_empty());
    assert_eq!(all(&newest, "td.failed").len(), 0);
}

#[tokio::test]
async fn a_failed_job_can_be_tried_again_from_its_row() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::fail(&site.store, id, StageKind::TranscribeAudio, "Nothing was said.").await;
    assert_eq!(all(&page(&site, "/").await, "form[data-action=retry]").len(), 1);
    let its_page = page(&site, &format!("/jobs/{id}")).await;
    let error = words(one(&its_page, "[data-part=error]"));
    assert_eq!(error, "Transcription: Nothing was said. no_speech");
    let answer = site.post_form(&format!("/jobs/{id}/retry"), "").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    assert!(all(&page(&site, "/").await, "form[data-action=retry]").is_empty());
    let again = site.post_form(&format!("/jobs/{id}/retry"), "").await;
    again.error(StatusCode::CONFLICT, "not_now");
}

#[tokio::test]
async fn a_search_finds_words_in_texts_and_names_and_nothing_else() {
    let site = Site::new().await;
    let finished = site.submit().await;
    drive::succeed_all(&site.store, finished).await;
    let recording = support::web::wav(500);
    let name = r#"name="file"; filename="Ship_100%.wav""#;
    let answer = site.upload_form(&[support::web::Part(name, &recording)]).await;
    let named = answer.json()["id"].as_str().expect("an id").to_owned();
    let found = async |wanted: &str| -> Vec<String> {
        let page = page(&site, &format!("/?q={wanted}")).await;
        let rows = all(&page, "tbody tr").into_iter();
        rows.filter_map(|row| row.attr("data-job")).map(str::to_owned).collect()
    };
    let finished = finished.to_string();
    assert_eq!(found("livrent").await, [finished.as_str()]);
    assert_eq!(found("LIVR").await, [finished.as_str()]);
    assert_eq!(found("code+they").await, [finished.as_str()]);
    assert_eq!(found("ship").await, [named.as_str(), finished.as_str()]);
    assert_eq!(found("100%25").await, [named.as_str()]);
    assert!(found("livrent+nothing").await.is_empty());
    // What has a meaning to the index is taken as it stands.
    assert!(found("%22+OR+%2A%29").await.is_empty());
    site.store.delete(finished.parse().expect("an id")).await.expect("deleted");
    assert!(found("livrent").await.is_empty());
    let page = page(&site, "/?q=%3Cscript%3E").await;
    assert_eq!(one(&page, "input[name=q]").attr("value"), Some("<script>"));
    assert_eq!(words(one(&page, "#empty")), "Nothing holds these words.");
}

#[tokio::test]
async fn everything_of_a_job_comes_in_one_archive_with_a_manifest() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    let answer = site.get(&format!("/api/v1/jobs/{id}/archive")).await;
    assert_eq!(answer.header(header::CONTENT_TYPE), "application/zip");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(answer.body)).expect("a ZIP file");
    let mut names: Vec<String> = archive.file_names().map(str::to_owned).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "manifest.json",
            "prompt.wav",
            "speech.en.wav",
            "speech.fr.wav",
            "text.txt",
            "transcript.srt",
            "transcript.txt",
            "translation.fr.txt"
        ]
    );
    let manifest = archive.by_name("manifest.json").expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_reader(manifest).expect("JSON");
    assert_eq!(manifest["id"], id.to_string());
}

#[tokio::test]
async fn the_status_page_tells_the_queue_the_medians_and_the_last_errors() {
    let site = Site::new().await;
    let done = site.submit().await;
    drive::succeed_all(&site.store, done).await;
    let failed = site.submit().await;
    drive::fail(&site.store, failed, StageKind::TranscribeAudio, "Nothing was said.").await;
    site.submit().await;
    let page = page(&site, "/status").await;
    let facts: Vec<String> = all(&page, "dd").into_iter().map(words).collect();
    assert_eq!(facts[1], "Ready");
    assert_eq!(facts[2..6], ["1", "1", "0", "3"]);
    assert_eq!(all(&page, "figure").len(), 5);
    assert!(words(all(&page, "figcaption")[0]).contains("Median 1.2 s"));
    assert!(words(one(&page, "section[aria-labelledby=errors] li")).contains("Nothing was said."));
}

#[tokio::test]
async fn the_first_load_stays_below_60_kilobytes() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    let mut bytes = site.get("/").await.body.len();
    for name in ["common.js", "home.js", "recorder.js", "style.css", "favicon.svg"] {
        bytes += site.get(&format!("/static/{name}")).await.body.len();
    }
    assert!(bytes < 60_000, "{bytes} bytes");
}

#[tokio::test]
async fn voices_and_own_words_can_be_chosen_and_a_voice_must_speak_the_language() {
    let site = Site::new().await;
    let home = page(&site, "/").await;
    let offered = |name: &str| -> Vec<String> {
        let options = all(&home, &format!("select[name={name}] option")).into_iter();
        options.filter_map(|option| option.attr("value")).map(str::to_owned).collect()
    };
    assert_eq!(offered("voice_en"), ["", "en-one", "en-two"]);
    assert_eq!(offered("voice"), ["", "fr-one", "pt-one"]);

    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    let rerun = format!("/jobs/{id}/rerun");
    let refused = site.post_form(&rerun, "from=synthesis_audio&target=fr&voice=pt-one").await;
    let message = refused.error(StatusCode::UNPROCESSABLE_ENTITY, "not_offered");
    assert!(message.contains("fr-one"), "{message}");
    let taken = site
        .post_form(&rerun, "from=generate_text&voice_en=en-two&voice=fr-one&instruction=Rhyme.")
        .await;
    assert_eq!(taken.status, StatusCode::SEE_OTHER, "{}", taken.text());
    let options = site.store.get(id).await.expect("a table").expect("a job").options;
    assert_eq!((options.voice_en.as_str(), options.voice.as_str()), ("en-two", "fr-one"));
    assert_eq!(options.instruction, "Rhyme.");

    for stage in &StageKind::ALL[1..] {
        drive::succeed(&site.store, id, *stage).await;
    }
    let its_page = page(&site, &format!("/jobs/{id}")).await;
    assert_eq!(words(one(&its_page, "textarea")), "Rhyme.");
    // Another language makes the voice that was chosen for this one unfit.
    site.post_form(&rerun, "from=translate_text&target=pt").await;
    let options = site.store.get(id).await.expect("a table").expect("a job").options;
    assert_eq!((options.target.as_str(), options.voice.as_str()), ("pt", ""));
}

#[tokio::test]
async fn a_template_brings_its_own_length_unless_another_is_asked_for() {
    let site = Site::new().await;
    let recording = support::web::wav(500);
    for (query, tokens) in [
        ("", 160),
        ("?template=free", 256),
        ("?template=free&max_tokens=60", 60),
        ("?max_tokens=400", 400),
    ] {
        let mut request = request(Method::POST, &format!("/api/v1/jobs{query}"));
        *request.body_mut() = axum::body::Body::from(recording.clone());
        let id = site.send(request).await.json()["id"].as_str().expect("an id").to_owned();
        let job = site.get(&format!("/api/v1/jobs/{id}")).await.json();
        assert_eq!(job["options"]["max_tokens"], tokens, "{query}");
    }
}
