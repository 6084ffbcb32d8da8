//! Promise: speech can be had as WAV, MP3 and Ogg Opus, a transcript as text, JSON, SRT and
//! VTT; a player can seek in each; what was made on demand is kept and goes with the job.

mod support;

use std::path::PathBuf;

use axum::http::{Method, StatusCode, header};
use mega_pipeline::audio::{Audio, DecodeLimits, decode};
use mega_pipeline::jobs::JobId;
use mega_pipeline::stage::{Artifact, StageKind, Timing};
use support::drive;
use support::sound::{SECONDS, correlation, speech_like};
use support::web::{Answer, Site, request};

const COMPRESSED: [(&str, &str); 2] = [("mp3", "audio/mpeg"), ("opus", "audio/ogg")];

/// A finished job, and where its English speech is.
async fn finished(site: &Site) -> (JobId, String) {
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    (id, format!("/api/v1/jobs/{id}/artifacts/synthesis_audio_en"))
}

/// The files that were kept for a job.
fn kept(site: &Site, id: JobId) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(site.store.folder(id).path("cache")) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a directory entry").path()).collect();
    files.sort();
    files
}

async fn part(site: &Site, path: &str, range: &str) -> Answer {
    let mut part = request(Method::GET, path);
    part.headers_mut().insert(header::RANGE, range.parse().expect("a header value"));
    site.send(part).await
}

#[tokio::test]
async fn speech_in_every_format_has_its_type_its_name_and_its_ranges() {
    let site = Site::new().await;
    let (_, speech) = finished(&site).await;
    for (format, media_type) in [("wav", "audio/wav")].into_iter().chain(COMPRESSED) {
        let path = format!("{speech}?format={format}");
        let whole = site.get(&path).await;
        assert_eq!(whole.status, StatusCode::OK, "{format}");
        let length = whole.body.len();
        assert!(length > 500, "{format}: {length} bytes");
        assert_eq!(whole.header(header::CONTENT_TYPE), media_type);
        assert_eq!(whole.header(header::CONTENT_LENGTH), length.to_string());
        assert_eq!(whole.header(header::ACCEPT_RANGES), "bytes");

        for (range, start, end) in
            [("bytes=0-99", 0, 100), ("bytes=300-", 300, length), ("bytes=-7", length - 7, length)]
        {
            let part = part(&site, &path, range).await;
            assert_eq!(part.status, StatusCode::PARTIAL_CONTENT, "{format} {range}");
            assert_eq!(part.body, whole.body[start..end], "{format} {range}");
            let told = format!("bytes {start}-{}/{length}", end - 1);
            assert_eq!(part.header(header::CONTENT_RANGE), told, "{format} {range}");
            assert_eq!(part.header(header::CONTENT_TYPE), media_type, "{format} {range}");
        }
        let head = site.send(request(Method::HEAD, &path)).await;
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0), "{format}");
        assert_eq!(head.header(header::CONTENT_LENGTH), length.to_string(), "{format}");

        let saved = site.get(&format!("{path}&download=1")).await;
        let disposition = format!("attachment; filename=\"speech.en.{format}\"");
        assert_eq!(saved.header(header::CONTENT_DISPOSITION), disposition);
    }
}

#[tokio::test]
async fn what_comes_out_is_the_speech_that_went_in() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed(&site.store, id, StageKind::TranscribeAudio).await;
    drive::succeed(&site.store, id, StageKind::GenerateText).await;
    let run = drive::start(&site.store, id, StageKind::SynthesisAudioEn).await;
    let audio = Audio { sample_rate: 22_050, samples: speech_like(22_050) };
    let stored = site.store.folder(id).store(run.stage, run.version, &Artifact::Audio(audio));
    let stored = stored.expect("the disk takes it");
    let timing = Timing::default();
    let recorded = site.store.succeed(run, &stored, &timing).await;
    assert!(recorded.expect("the table answers"));

    let wav_bytes = stored.size_bytes as usize;
    for (format, _) in COMPRESSED {
        let path = format!("/api/v1/jobs/{id}/artifacts/synthesis_audio_en?format={format}");
        let answer = site.get(&path).await;
        assert!(answer.body.len() < wav_bytes / 4, "{format}: {} bytes", answer.body.len());
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), &answer.body).expect("written");
        let back = decode(file.path(), &DecodeLimits::default()).expect("it can be decoded");
        let seconds = back.duration_ms() as f64 / 1000.0;
        assert!((seconds / SECONDS - 1.0).abs() < 0.01, "{format}: {seconds} s");
        let alike = correlation(&speech_like(16_000), &back.samples, 800);
        assert!(alike > 0.95, "{format}: correlation {alike:.3}");
    }
}

#[tokio::test]
async fn a_format_is_made_once_and_goes_with_the_job() {
    let site = Site::new().await;
    let (id, speech) = finished(&site).await;
    let first = site.get(&format!("{speech}?format=mp3")).await;
    let files = kept(&site, id);
    assert_eq!(files.len(), 1, "{files:?}");
    // What is kept is what is given.
    std::fs::write(&files[0], b"kept").expect("written");
    assert_eq!(site.get(&format!("{speech}?format=mp3")).await.body, "kept");
    // And it may vanish.
    std::fs::remove_dir_all(site.store.folder(id).path("cache")).expect("removed");
    assert_eq!(site.get(&format!("{speech}?format=mp3")).await.body, first.body);

    assert!(site.store.delete(id).await.expect("the table answers"));
    assert!(!site.store.folder(id).dir().exists());
    let gone = site.get(&format!("{speech}?format=mp3")).await;
    gone.error(StatusCode::NOT_FOUND, "job_not_found");
    assert!(!site.store.folder(id).dir().exists(), "a request brought the folder back");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_get_the_same_bytes_and_leave_one_file_a_format() {
    let site = Site::new().await;
    let (id, speech) = finished(&site).await;
    let paths: Vec<String> =
        COMPRESSED.iter().map(|(format, _)| format!("{speech}?format={format}")).collect();
    let answers =
        futures::future::join_all((0..16).map(|index| site.get(&paths[index % paths.len()]))).await;
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.body, answers[index % paths.len()].body);
    }
    assert_eq!(kept(&site, id).len(), 2);
    let left = std::fs::read_dir(site.store.incoming_dir()).expect("a folder").count();
    assert_eq!(left, 0, "a temporary file was left");
}

#[tokio::test]
async fn speech_that_was_made_anew_is_compressed_anew() {
    let site = Site::new().await;
    let (id, speech) = finished(&site).await;
    let path = format!("{speech}?format=opus");
    let before = site.get(&path).await;
    // The file is damaged, so that recovery has the stage run again.
    let stored = site.store.folder(id).path("synthesis_audio_en.v1.wav");
    std::fs::write(&stored, b"damaged").expect("written");
    let recovered = site.store.recover().await.expect("the table answers");
    assert_eq!(recovered.run_again, 1);
    let run = drive::start(&site.store, id, StageKind::SynthesisAudioEn).await;
    let audio = Audio { sample_rate: 24_000, samples: speech_like(24_000) };
    let stored = site.store.folder(id).store(run.stage, run.version, &Artifact::Audio(audio));
    let stored = stored.expect("the disk takes it");
    let recorded = site.store.succeed(run, &stored, &Timing::default()).await;
    assert!(recorded.expect("the table answers"));
    let after = site.get(&path).await;
    assert_eq!(after.status, StatusCode::OK);
    assert_ne!(before.body, after.body);
}

#[tokio::test]
async fn recovery_leaves_what_was_kept_alone() {
    let site = Site::new().await;
    let (id, speech) = finished(&site).await;
    site.get(&format!("{speech}?format=opus")).await;
    let files = kept(&site, id);
    assert_eq!(files.len(), 1);
    assert_eq!(site.store.recover().await.expect("the table answers").removed, 0);
    assert_eq!(kept(&site, id), files);
}

#[tokio::test]
async fn a_transcript_can_be_had_as_subtitles() {
    let site = Site::new().await;
    let (id, _) = finished(&site).await;
    let path = format!("/api/v1/jobs/{id}/artifacts/transcribe_audio");
    let srt = site.get(&format!("{path}?format=srt&download=1")).await;
    assert_eq!(
        srt.text(),
        "1\n00:00:00,000 --> 00:00:00,900\nContainers <script>alert(1)</script> & co.\n\n"
    );
    assert_eq!(srt.header(header::CONTENT_TYPE), "application/x-subrip; charset=utf-8");
    let disposition = "attachment; filename=\"transcript.srt\"";
    assert_eq!(srt.header(header::CONTENT_DISPOSITION), disposition);
    let vtt = site.get(&format!("{path}?format=vtt")).await;
    assert!(vtt.text().starts_with("WEBVTT\n\n00:00:00.000 --> 00:00:00.900\n"), "{}", vtt.text());
    assert!(!vtt.text().contains("<script>"));
    assert_eq!(vtt.header(header::CONTENT_TYPE), "text/vtt; charset=utf-8");
}

#[tokio::test]
async fn a_format_that_a_result_does_not_have_is_refused() {
    let site = Site::new().await;
    let (id, _) = finished(&site).await;
    for (stage, formats) in [
        ("prompt", ["wav", "mp3", "json"]),
        ("transcribe_audio", ["wav", "mp3", "text"]),
        ("generate_text", ["json", "srt", "mp3"]),
        ("synthesis_audio_en", ["json", "vtt", "flac"]),
        ("translate_text", ["json", "vtt", "opus"]),
        ("synthesis_audio", ["srt", "ogg", ""]),
    ] {
        for format in formats {
            let path = format!("/api/v1/jobs/{id}/artifacts/{stage}?format={format}");
            site.get(&path).await.error(StatusCode::BAD_REQUEST, "bad_query");
        }
        assert!(kept(&site, id).is_empty());
    }
}

#[tokio::test]
async fn an_earlier_version_is_had_by_its_number_and_only_that_may_be_kept_by_a_browser() {
    let site = Site::new().await;
    let id = site.submit().await;
    drive::succeed_all(&site.store, id).await;
    let path = format!("/api/v1/jobs/{id}/artifacts/translate_text");
    let first = site.get(&format!("{path}?version=1")).await;
    assert!(first.header(header::CACHE_CONTROL).contains("max-age"));
    let options = mega_pipeline::stage::JobOptions {
        target: "pt".to_owned(),
        ..mega_pipeline::stage::JobOptions::default()
    };
    site.store.run_from(id, StageKind::TranslateText, options).await.expect("it has ended");

    let newest = site.get(&path).await;
    newest.error(StatusCode::NOT_FOUND, "artifact_not_ready");
    assert_eq!(site.get(&format!("{path}?version=1")).await.body, first.body);
    drive::succeed(&site.store, id, StageKind::TranslateText).await;
    let newest = site.get(&path).await;
    assert!(newest.header(header::CACHE_CONTROL).contains("no-cache"));
    let unknown = site.get(&format!("{path}?version=9")).await;
    unknown.error(StatusCode::NOT_FOUND, "version_not_found");
}
