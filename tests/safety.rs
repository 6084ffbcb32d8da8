//! What strangers may try: without a token, from another site's page, under another name, with
//! paths, heads and bodies that nobody honest sends.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use mega_pipeline::access::{Access, parse_tokens};
use mega_pipeline::jobs::StoreOptions;
use serde_json::json;
use support::process::{Server, mega, run};
use support::web::{Answer, Site, request, wav};

const TOKEN: &str = "correct-horse-battery";

async fn locked() -> Site {
    let tokens = parse_tokens(&format!("ann={TOKEN},ben=another-long-secret")).expect("tokens");
    Site::guarded(Access { tokens, ..Access::default() }).await
}

async fn ask(site: &Site, method: Method, path: &str, headers: &[(HeaderName, &str)]) -> Answer {
    let mut asked = request(method, path);
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a header value");
        asked.headers_mut().append(name.clone(), value);
    }
    site.send(asked).await
}

fn bearer(token: &str) -> (HeaderName, String) {
    (header::AUTHORIZATION, format!("Bearer {token}"))
}

#[tokio::test]
async fn without_a_token_nothing_is_answered_but_whether_the_server_is_well() {
    let site = locked().await;
    for path in ["/healthz", "/readyz", "/login", "/languages", "/static/style.css"] {
        assert_eq!(site.get(path).await.status, StatusCode::OK, "{path}");
    }
    for path in
        ["/", "/models", "/status", "/api/v1/jobs", "/api/v1/events", "/v1/models", "/nowhere"]
    {
        let answer = site.get(path).await;
        answer.error(StatusCode::UNAUTHORIZED, "unauthorized");
        assert_eq!(answer.header(header::WWW_AUTHENTICATE), "Bearer");
    }
    let answer = site.upload("audio/wav", wav(100)).await;
    answer.error(StatusCode::UNAUTHORIZED, "unauthorized");
    site.assert_untouched().await;
    for token in [TOKEN, "another-long-secret"] {
        let (name, value) = bearer(token);
        let answer = ask(&site, Method::GET, "/api/v1/jobs", &[(name, &value)]).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn guesses_are_slowed_and_too_many_at_once_are_refused_while_the_right_token_passes() {
    let site = Arc::new(locked().await);
    let guess = |number: usize| {
        let site = Arc::clone(&site);
        tokio::spawn(async move {
            let (name, value) = bearer(&format!("correct-horse-{number}"));
            let asked = Instant::now();
            let answer = ask(&site, Method::GET, "/api/v1/jobs", &[(name, &value)]).await;
            (answer.status, asked.elapsed())
        })
    };
    let guesses: Vec<_> = (0..50).map(guess).collect();
    tokio::task::yield_now().await;
    let (name, value) = bearer(TOKEN);
    let answer = ask(&site, Method::GET, "/api/v1/jobs", &[(name, &value)]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let mut slowed = 0;
    for guess in guesses {
        match guess.await.expect("an answer") {
            (StatusCode::UNAUTHORIZED, time) => {
                assert!(time >= Duration::from_secs(1), "{time:?}");
                slowed += 1;
            }
            (status, _) => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
        }
    }
    assert!(slowed >= 1, "nobody was answered");
    for (wrong, code) in [
        ("", "unauthorized"),
        ("Bearer", "unauthorized"),
        // A proxy's own.
        ("Basic YW5uOmNvcnJlY3Q=", "unauthorized"),
        ("Bearer nonsense", "wrong_token"),
    ] {
        let headers = [(header::AUTHORIZATION, wrong)];
        let answer = ask(&site, Method::GET, "/api/v1/jobs", &headers).await;
        answer.error(StatusCode::UNAUTHORIZED, code);
        let public = ask(&site, Method::GET, "/healthz", &headers).await;
        assert_eq!(public.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_browser_signs_in_once_and_keeps_a_cookie_that_scripts_and_other_sites_do_not_get() {
    let site = locked().await;
    let html = [(header::ACCEPT, "text/html")];
    let answer = ask(&site, Method::GET, "/status?x=1", &html).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.header(header::LOCATION), "/login?next=%2Fstatus%3Fx%3D1");
    let form = site.get("/login?next=%2Fstatus").await;
    assert!(form.text().contains("name=\"next\" value=\"/status\""), "{}", form.text());

    let wrong = site.post_form("/login", "token=nonsense&next=/").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text().contains("role=\"alert\""), "{}", wrong.text());
    assert!(wrong.headers.get(header::SET_COOKIE).is_none());

    let right = site.post_form("/login", "token=correct-horse-battery&next=%2Fstatus").await;
    assert_eq!((right.status, right.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/status"));
    let cookie = right.header(header::SET_COOKIE);
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(TOKEN) && !cookie.contains("Secure"), "{cookie}");
    let pair = cookie.split(';').next().expect("a pair");
    let signed_in = ask(&site, Method::GET, "/status", &[(header::COOKIE, pair)]).await;
    assert_eq!(signed_in.status, StatusCode::OK);
    assert!(signed_in.text().contains("action=\"/logout\""));
    let out = ask(&site, Method::POST, "/logout", &[(header::COOKIE, pair)]).await;
    assert!(out.header(header::SET_COOKIE).contains("Max-Age=0"));
    let elsewhere =
        site.post_form("/login", "token=correct-horse-battery&next=//evil.example").await;
    assert_eq!(elsewhere.header(header::LOCATION), "/");
}

#[tokio::test]
async fn translation_clients_may_send_the_token_in_the_body() {
    let site = locked().await;
    let body = json!({ "q": "Hi.", "source": "en", "target": "fr" });
    site.post_json("/translate", &body).await.error(StatusCode::UNAUTHORIZED, "unauthorized");
    let with = |key: &str| json!({ "q": "Hi.", "source": "en", "target": "fr", "api_key": key });
    let wrong = site.post_json("/translate", &with("nonsense")).await;
    wrong.error(StatusCode::UNAUTHORIZED, "wrong_token");
    assert_eq!(site.post_json("/translate", &with(TOKEN)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing_by_any_way_in() {
    let site = Site::new().await;
    let id = site.submit().await;
    let ways = [
        (Method::POST, "/api/v1/jobs".to_owned()),
        (Method::POST, "/sample".to_owned()),
        (Method::POST, format!("/api/v1/jobs/{id}/cancel")),
        (Method::POST, format!("/jobs/{id}/delete")),
        (Method::DELETE, format!("/api/v1/jobs/{id}")),
        (Method::POST, "/v1/chat/completions".to_owned()),
        (Method::POST, "/v1/audio/speech".to_owned()),
        (Method::POST, "/translate".to_owned()),
        (Method::POST, "/login".to_owned()),
    ];
    let site_header = HeaderName::from_static("sec-fetch-site");
    for (method, path) in ways {
        for headers in [
            vec![(header::ORIGIN, "https://evil.example"), (header::HOST, "127.0.0.1:8080")],
            vec![(header::ORIGIN, "null"), (header::HOST, "127.0.0.1:8080")],
            vec![(site_header.clone(), "cross-site")],
            vec![(site_header.clone(), "same-site")],
        ] {
            let answer = ask(&site, method.clone(), &path, &headers).await;
            answer.error(StatusCode::FORBIDDEN, "cross_site");
        }
    }
    assert_eq!(site.get(&format!("/api/v1/jobs/{id}")).await.json()["state"], "queued");
}

#[tokio::test]
async fn a_name_that_is_not_the_servers_is_not_answered_to() {
    let site = Site::new().await;
    for name in ["evil.example", "127.0.0.1.evil.example:8080", "evil.example@localhost"] {
        let answer = ask(&site, Method::GET, "/", &[(header::HOST, name)]).await;
        answer.error(StatusCode::FORBIDDEN, "wrong_host");
    }
    let hosts = vec!["studio.lan".to_owned()];
    let named = Site::guarded(Access { hosts, ..Access::default() }).await;
    let answer = ask(&named, Method::GET, "/", &[(header::HOST, "studio.lan:8080")]).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn another_sites_page_may_use_the_api_only_where_the_configuration_names_it() {
    let preflight = [
        (header::ORIGIN, "https://app.example"),
        (header::ACCESS_CONTROL_REQUEST_METHOD, "POST"),
        (header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization"),
    ];
    let closed = Site::new().await;
    let answer = ask(&closed, Method::OPTIONS, "/api/v1/jobs", &preflight).await;
    assert!(answer.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none());

    let tokens = parse_tokens(TOKEN).expect("a token");
    let cors_origins = vec!["https://app.example".to_owned()];
    let open = Site::guarded(Access { tokens, cors_origins, ..Access::default() }).await;
    let answer = ask(&open, Method::OPTIONS, "/api/v1/jobs", &preflight).await;
    assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "https://app.example");
    assert!(answer.headers.get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS).is_none());
    let (name, value) = bearer(TOKEN);
    let headers = [(header::ORIGIN, "https://app.example"), (name, value.as_str())];
    let answer = ask(&open, Method::POST, "/sample", &headers).await;
    assert_ne!(answer.status, StatusCode::FORBIDDEN);
    let other = [(header::ORIGIN, "https://evil.example"), (headers[1].0.clone(), headers[1].1)];
    let answer = ask(&open, Method::POST, "/sample", &other).await;
    answer.error(StatusCode::FORBIDDEN, "cross_site");
}

#[tokio::test]
async fn no_path_leads_out_of_the_jobs_folders() {
    let site = Site::new().await;
    let id = site.submit().await;
    let out = [
        "..",
        "../..",
        "..%2f..%2fjobs.sqlite",
        "%2e%2e%2f%2e%2e",
        "..%5c..",
        "prompt.wav%00",
        "%00",
    ];
    for bad in out {
        for path in [
            format!("/static/{bad}"),
            format!("/jobs/{bad}"),
            format!("/jobs/{id}/waveform/{bad}"),
            format!("/jobs/{bad}/row"),
            format!("/api/v1/jobs/{bad}"),
            format!("/api/v1/jobs/{bad}/events"),
            format!("/api/v1/jobs/{bad}/archive"),
            format!("/api/v1/jobs/{id}/artifacts/{bad}"),
            format!("/api/v1/jobs/{bad}/artifacts/prompt"),
            format!("/api/v1/jobs/{id}/versions/{bad}"),
            format!("/v1/models/{bad}"),
        ] {
            let answer = site.get(&path).await;
            let status = answer.status;
            assert!(
                matches!(
                    status,
                    StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::SEE_OTHER
                ),
                "{path}: {status}"
            );
            assert!(!answer.text().contains("SQLite"), "{path}");
        }
        let query = format!("/api/v1/jobs/{id}/artifacts/transcribe_audio?format={bad}");
        assert!(site.get(&query).await.status.is_client_error(), "{query}");
    }
}

#[tokio::test]
async fn a_file_name_cannot_add_a_header_or_a_tag() {
    let site = Site::new().await;
    let recording = wav(200);
    let name = "name=\"file\"; filename=\"a\\\"%0d%0aX-Evil: 1<script>alert(1)</script>.wav\"";
    let answer = site.upload_form(&[support::web::Part(name, &recording)]).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    for path in ["/".to_owned(), format!("/jobs/{id}")] {
        assert!(!site.get(&path).await.text().contains("<script>alert"), "{path}");
    }
    let download = format!("/api/v1/jobs/{id}/artifacts/prompt?download=1");
    let answer = site.get(&download).await;
    assert!(answer.headers.get("x-evil").is_none());
    assert_eq!(answer.header(header::CONTENT_DISPOSITION), "attachment; filename=\"prompt.wav\"");
    assert_eq!(answer.header(header::CONTENT_TYPE), "audio/wav");
    assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_uploads_at_once_as_many_are_taken_as_may_wait_and_none_is_lost() {
    const UPLOADS: usize = 1000;
    let options = StoreOptions { max_queued: 100, ..StoreOptions::default() };
    let site = Arc::new(Site::with(options).await);
    let recording: axum::body::Bytes = wav(100).into();
    let uploads: Vec<_> = (0..UPLOADS)
        .map(|_| {
            let (site, recording) = (Arc::clone(&site), recording.clone());
            tokio::spawn(async move {
                loop {
                    let answer = site.upload("audio/wav", recording.clone()).await;
                    if answer.status == StatusCode::ACCEPTED {
                        return Some(answer.json()["id"].as_str().expect("an id").to_owned());
                    }
                    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.text());
                    assert_eq!(answer.header(header::RETRY_AFTER), "2");
                    if answer.json()["error"]["code"] == "queue_full" {
                        return None;
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut accepted = Vec::new();
    for upload in uploads {
        accepted.extend(upload.await.expect("an answer"));
    }
    assert_eq!(accepted.len(), 100);
    let kept = site.store.list(None, 200).await.expect("the table answers");
    let mut kept: Vec<String> = kept.iter().map(|job| job.id.to_string()).collect();
    kept.sort();
    accepted.sort();
    assert_eq!(kept, accepted);
    let left = std::fs::read_dir(site.store.incoming_dir()).expect("a folder").count();
    assert_eq!(left, 0, "a refused upload was left on disk");
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let site = Site::new().await;
    for path in ["/api/v1/jobs", "/v1/chat/completions", "/translate"] {
        let mut asked = request(Method::POST, path);
        let beginning = futures::stream::iter([Ok::<_, std::io::Error>("{\"q\":")]);
        let endless = futures::StreamExt::chain(beginning, futures::stream::pending());
        *asked.body_mut() = Body::from_stream(endless);
        let json = HeaderValue::from_static("application/json");
        asked.headers_mut().insert(header::CONTENT_TYPE, json);
        site.send(asked).await.error(StatusCode::REQUEST_TIMEOUT, "stalled");
    }
    site.assert_untouched().await;
}

#[test]
fn five_hundred_idle_connections_keep_nobody_from_the_page_and_are_closed_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--stub"]);
    let mut idle: Vec<TcpStream> = (0..500)
        .map(|number| {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            // Some say nothing, some a little, slowly.
            if number % 2 == 0 {
                stream.write_all(b"GET / HTTP/1.1\r\nHost: local").unwrap();
            }
            stream
        })
        .collect();
    let (status, body) = server.request("POST", "/api/v1/jobs", "audio/wav", &wav(500));
    assert_eq!(status, 202);
    let asked = Instant::now();
    let (status, _) = server.request("GET", "/", "", b"");
    println!("the page beside 500 idle connections and a job: {:?}", asked.elapsed());
    assert_eq!(status, 200);
    let id = serde_json::from_slice::<serde_json::Value>(&body).unwrap();
    assert_eq!(server.finished(id["id"].as_str().unwrap())["state"], "succeeded");
    for stream in &mut idle {
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the server closes the connection");
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "{rest:?}");
    }
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--stub"]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head =
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(1_000_000));
    // The server may hang up before it has all.
    let _ = stream.write_all(head.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(server.request("GET", "/healthz", "", b"").0, 200);
}

#[test]
fn to_other_machines_the_server_opens_only_with_a_token_or_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let open = ["serve", "--stub", "--listen", "0.0.0.0:0"];
    let refused = run(mega(dir.path()).args(open));
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("MEGA_API_TOKENS") && told.contains("--insecure-no-auth"), "{told}");

    let mut started = Started::new(mega(dir.path()).args(open).arg("--insecure-no-auth"));
    assert!(started.line().contains("http://0.0.0.0:"));
    drop(started);
    let mut started =
        Started::new(mega(dir.path()).args(open).env("MEGA_API_TOKENS", format!("ann={TOKEN}")));
    assert!(started.line().contains("http://0.0.0.0:"));
    let shown = run(mega(dir.path()).arg("config").env("MEGA_API_TOKENS", format!("ann={TOKEN}")));
    assert!(!String::from_utf8_lossy(&shown.stdout).contains(TOKEN), "the token is printed");
}

/// The program, killed when it goes out of scope.
struct Started(Child);

impl Started {
    fn new(command: &mut std::process::Command) -> Self {
        Self(command.stdout(Stdio::piped()).spawn().expect("the program starts"))
    }

    /// The next line that it prints.
    fn line(&mut self) -> String {
        let stdout = self.0.stdout.as_mut().expect("standard output is a pipe");
        let mut line = String::new();
        BufReader::with_capacity(1, stdout).read_line(&mut line).expect("text");
        line
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_the_server_writes_nobody_else_can_read() {
    fn check(path: &Path) -> usize {
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has {mode:o}", path.display());
        if !path.is_dir() {
            return 1;
        }
        std::fs::read_dir(path).unwrap().map(|entry| check(&entry.unwrap().path())).sum()
    }
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--stub"]);
    let (_, body) = server.request("POST", "/api/v1/jobs", "audio/wav", &wav(500));
    let id = serde_json::from_slice::<serde_json::Value>(&body).unwrap();
    server.finished(id["id"].as_str().unwrap());
    assert!(check(&dir.path().join("data")) > 6, "recording, results and table");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_encrypted_with_an_own_or_a_given_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let mut command = mega(dir.path());
    command.args(["serve", "--stub", "--tls-self-signed", "--listen", &address]);
    let mut started = Started::new(&mut command);
    let told = started.line();
    let fingerprint = told.rsplit(' ').next().unwrap().trim();
    assert_eq!(fingerprint.split(':').count(), 32, "{told}");
    assert!(started.line().contains(&format!("https://{address}/")));
    let pem = std::fs::read(dir.path().join("data/tls/certificate.pem")).unwrap();
    trusts(&pem, port).await;
    let healthy = |certificate: &str| {
        let mut health = mega(dir.path());
        health.args(["health", "--listen", &address]).env(certificate, "true");
        run(&mut health).status.code()
    };
    assert_eq!(healthy("MEGA_TLS_SELF_SIGNED"), Some(0));
    drop(started);

    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let mut command = mega(dir.path());
    command.args(["serve", "--stub", "--listen", &address, "--tls-cert"]);
    command.arg(&certificate).arg("--tls-key").arg(&key);
    let mut started = Started::new(&mut command);
    assert!(started.line().contains("https://"));
    trusts(own.cert.pem().as_bytes(), port).await;
    drop(started);

    std::fs::write(&key, "nonsense").unwrap();
    let refused = run(&mut command);
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    let alone = run(mega(dir.path()).args(["serve", "--stub", "--tls-cert", "c.pem"]));
    assert_eq!(alone.status.code(), Some(2));
}

/// A client that trusts this certificate and no other gets an answer.
async fn trusts(pem: &[u8], port: u16) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_built_in_root_certs(false)
        .add_root_certificate(reqwest::Certificate::from_pem(pem).expect("a certificate"))
        .build()
        .expect("a client");
    let answer = client.get(format!("https://localhost:{port}/healthz")).send().await;
    assert_eq!(answer.expect("an answer").status(), 200);
}

fn free_port() -> u16 {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    probe.local_addr().expect("an address").port()
}
