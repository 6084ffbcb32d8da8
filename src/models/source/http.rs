//! Fetches addresses: resumes, tries again, and gives a dead host up quickly.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode, Url};
use serde::de::DeserializeOwned;

use crate::models::ModelsError;
use crate::models::sink::Sink;

/// A host that has not taken the connection after this time is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// A host that took the connection has this long to begin its answer, redirects included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A host that answers may pause this long.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Tries in a row that brought nothing new.
const TRIES: u32 = 3;

/// Pause before a broken download is taken up again.
const PAUSE: Duration = Duration::from_millis(250);

/// Fetches addresses, and remembers for one pull which hosts do not answer.
pub(in crate::models) struct Http {
    client: Client,
    /// Host and port, and why it was given up.
    dead: Mutex<HashMap<String, String>>,
}

/// Why one request brought less than the file.
enum Broken {
    /// Taking it up again may help.
    Interrupted(String),
    /// It cannot.
    Fatal(ModelsError),
}

impl From<ModelsError> for Broken {
    fn from(error: ModelsError) -> Self {
        Self::Fatal(error)
    }
}

impl Http {
    /// A client that takes its proxies from the environment.
    pub(in crate::models) fn new() -> Result<Self, ModelsError> {
        let client = Client::builder()
            .user_agent(concat!("mega-pipeline/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build()
            .map_err(|error| source_error("network", &error))?;
        Ok(Self { client, dead: Mutex::default() })
    }

    /// Adds to `out` what is still missing of the file at `url`.
    ///
    /// `token` goes to the host of `url` only: reqwest drops it when another
    /// host takes over.
    pub(in crate::models) async fn download(
        &self,
        url: &str,
        token: Option<&str>,
        out: &mut Sink,
    ) -> Result<(), ModelsError> {
        let url = Url::parse(url).map_err(|error| source_error(url, &error))?;
        let mut best_bytes = out.size_bytes();
        let mut tries = 0;
        while !out.is_full() {
            let detail = match self.once(&url, token, out).await {
                Ok(()) => format!("it ended after {} bytes", out.size_bytes()),
                Err(Broken::Interrupted(detail)) => detail,
                Err(Broken::Fatal(error)) => return Err(error),
            };
            tries = if out.size_bytes() > best_bytes { 0 } else { tries + 1 };
            best_bytes = best_bytes.max(out.size_bytes());
            if tries == TRIES {
                return Err(ModelsError::Source { origin: plain(&url), detail });
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// The JSON document at `url`, of at most `limit_bytes`.
    pub(in crate::models) async fn json<T: DeserializeOwned>(
        &self,
        url: &str,
        limit_bytes: usize,
    ) -> Result<T, ModelsError> {
        let url = Url::parse(url).map_err(|error| source_error(url, &error))?;
        let failed = |detail: String| ModelsError::Source { origin: plain(&url), detail };
        let response = match self.ask(&url, None, 0).await {
            Ok(response) => response,
            Err(Broken::Interrupted(detail)) => return Err(failed(detail)),
            Err(Broken::Fatal(error)) => return Err(error),
        };
        if response.status() != StatusCode::OK {
            return Err(failed(format!("the server answers {}", response.status())));
        }
        let mut body = Vec::new();
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            body.extend_from_slice(&piece.map_err(|error| failed(cause(&error)))?);
            if body.len() > limit_bytes {
                return Err(failed(format!("the answer is longer than {limit_bytes} bytes")));
            }
        }
        serde_json::from_slice(&body).map_err(|error| failed(error.to_string()))
    }

    async fn once(&self, url: &Url, token: Option<&str>, out: &mut Sink) -> Result<(), Broken> {
        let response = self.ask(url, token, out.size_bytes()).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if continues(&response, out.size_bytes()) => {}
            // The server sends the whole file, because it knows no ranges.
            StatusCode::OK => out.restart()?,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                out.restart()?;
                return Err(Broken::Interrupted("the server has another length".to_owned()));
            }
            status if status.is_server_error() => {
                return Err(Broken::Interrupted(format!("the server answers {status}")));
            }
            status => {
                let detail = format!("the server answers {status}");
                return Err(ModelsError::Source { origin: plain(url), detail }.into());
            }
        }
        out.began();
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            out.put(&piece.map_err(|error| Broken::Interrupted(cause(&error)))?)?;
        }
        Ok(())
    }

    async fn ask(
        &self,
        url: &Url,
        token: Option<&str>,
        from_bytes: u64,
    ) -> Result<Response, Broken> {
        let host = host(url);
        let known = self.dead.lock().unwrap_or_else(PoisonError::into_inner).get(&host).cloned();
        if let Some(detail) = known {
            return Err(ModelsError::Unreachable { host, detail }.into());
        }
        let mut request = self.client.get(url.clone());
        if from_bytes > 0 {
            request = request.header(RANGE, format!("bytes={from_bytes}-"));
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let detail = match tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) if !error.is_connect() => {
                return Err(Broken::Interrupted(cause(&error)));
            }
            Ok(Err(error)) if error.is_timeout() => no_answer(CONNECT_TIMEOUT),
            Ok(Err(error)) => cause(&error),
            Err(_) => no_answer(ANSWER_TIMEOUT),
        };
        let mut dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        dead.insert(host.clone(), detail.clone());
        Err(ModelsError::Unreachable { host, detail }.into())
    }
}

fn no_answer(after: Duration) -> String {
    format!("no answer in {} s", after.as_secs())
}

/// Whether a partial answer begins where the file ends.
fn continues(response: &Response, from_bytes: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {from_bytes}-")))
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The address without what may be secret in it.
fn plain(url: &Url) -> String {
    format!("{}{}", host(url), url.path())
}

fn source_error(origin: &str, error: &(dyn Error + 'static)) -> ModelsError {
    ModelsError::Source { origin: origin.to_owned(), detail: cause(error) }
}

/// The innermost reason, which is the one a person can understand.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
