//! An HTTP server on this machine that can break off, ignore ranges, and lie.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;

/// What is served at one path.
#[derive(Clone)]
pub struct Served {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// Whether a range is honoured.
    pub ranges: bool,
    /// How much of each answer is sent before the connection breaks; then the next.
    pub breaks: Vec<usize>,
}

impl Served {
    /// A file that is served as it should be.
    pub fn well(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), ranges: true, breaks: Vec::new() }
    }
}

/// One request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Path of the address.
    pub path: String,
    /// The header `Range`.
    pub range: Option<String>,
    /// The header `Authorization`.
    pub authorization: Option<String>,
}

type Shared = Arc<Mutex<(HashMap<String, Served>, Vec<Seen>)>>;

/// A server that runs until the test ends.
pub struct Server {
    address: SocketAddr,
    shared: Shared,
}

impl Server {
    /// Serves these paths.
    pub async fn start(files: &[(&str, Served)]) -> Self {
        let files = files.iter().map(|(path, served)| ((*path).to_owned(), served.clone()));
        let shared: Shared = Arc::new(Mutex::new((files.collect(), Vec::new())));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    /// Serves one more path.
    pub fn serve(&self, path: &str, served: Served) {
        self.shared.lock().unwrap().0.insert(path.to_owned(), served);
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A source of the catalogue for a path.
    pub fn source(&self, path: &str) -> String {
        format!("{{ url = '{}' }}", self.url(path))
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().unwrap().1.clone()
    }

    /// The ranges that were asked for so far.
    pub fn ranges(&self) -> Vec<Option<String>> {
        self.seen().into_iter().map(|seen| seen.range).collect()
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let text = |name: header::HeaderName| {
        request.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    let path = request.uri().path().to_owned();
    let (range, authorization) = (text(header::RANGE), text(header::AUTHORIZATION));
    let mut shared = shared.lock().unwrap();
    shared.1.push(Seen { path: path.clone(), range: range.clone(), authorization });
    let Some(served) = shared.0.get_mut(&path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let length = served.bytes.len();
    let from = range
        .filter(|_| served.ranges)
        .map(|range| range["bytes=".len()..].trim_end_matches('-').parse::<usize>().unwrap());
    if from.is_some_and(|from| from >= length) {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    }
    let rest = served.bytes[from.unwrap_or(0)..].to_vec();
    let end = if served.breaks.is_empty() { rest.len() } else { served.breaks.remove(0) };
    let mut response = Response::builder().header(header::CONTENT_LENGTH, rest.len());
    if let Some(from) = from {
        let range = format!("bytes {from}-{}/{length}", length - 1);
        response =
            response.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, range);
    }
    let piece = Bytes::copy_from_slice(&rest[..end]);
    let broken = (end < rest.len()).then(|| std::io::Error::other("the cable was pulled"));
    let pieces = futures::stream::once(async { Ok(piece) }).chain(
        futures::stream::iter(broken).then(async |error| {
            // Lets the piece go out first: an error discards what is not sent yet.
            tokio::task::yield_now().await;
            Err(error)
        }),
    );
    response.body(Body::from_stream(pieces)).unwrap()
}
