//! A connection to another server: time-outs, a second and a third try, cancellation.

use std::time::Duration;

use futures::{Stream, StreamExt};
use rand::Rng;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use tokio::runtime::{Builder, Runtime};

use super::{RemoteOptions, is_loopback};
use crate::engine::{Cancel, EngineError};

/// A host that has not taken the connection after this time is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer that goes on is given up after so many times [`RemoteOptions::timeout`].
const LONGEST_ANSWER: u32 = 20;
/// Tries before the stage fails; the job table tries again later.
const TRIES: u32 = 3;
/// The pause before the second try; it doubles, and chance takes or adds half.
const FIRST_PAUSE: Duration = Duration::from_millis(400);
/// The longest that a server may make its clients wait by `Retry-After`.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often the cancel flag is looked at while nothing comes.
const CANCEL_CHECK: Duration = Duration::from_millis(50);
/// No answer is larger: ten minutes of speech as WAV take 30 MB.
const MAX_ANSWER_BYTES: usize = 128 * 1024 * 1024;
/// How much of an error's text goes to the log.
const MAX_DETAIL_CHARS: usize = 500;

/// A server that does an engine's work. Its calls block, as every engine does.
pub struct Server {
    options: RemoteOptions,
    http: Client,
    /// With a thread of its own, which notices between two requests that the other side has closed
    /// a connection: a request on that one would fail, and be sent again after a pause.
    runtime: Runtime,
}

/// Why one try brought nothing.
enum Failure {
    /// Another try may help, after this pause if the server named one.
    Passing(EngineError, Option<Duration>),
    /// It cannot.
    Final(EngineError),
}

impl Server {
    /// Prepares the connection; nothing is sent yet.
    ///
    /// # Errors
    /// `Load` when the system refuses.
    pub fn new(options: RemoteOptions) -> Result<Self, EngineError> {
        let failed = |error: &dyn std::fmt::Display| EngineError::load("The connection", error);
        let mut builder = Client::builder()
            .user_agent(concat!("mega-pipeline/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(options.timeout)
            .timeout(options.timeout.saturating_mul(LONGEST_ANSWER))
            // A key must not be carried to another host.
            .redirect(redirect::Policy::none());
        if is_loopback(&options.base_url) {
            // No proxy stands before this machine itself.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| failed(&error))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("remote")
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        Ok(Self { options, http, runtime })
    }

    /// How the server is asked.
    pub const fn options(&self) -> &RemoteOptions {
        &self.options
    }

    /// Posts what `fill` puts into the request and gives the whole answer.
    ///
    /// # Errors
    /// `Unreachable`, `BadAnswer`, or `Canceled`.
    pub fn post(
        &self,
        path: &str,
        cancel: &Cancel,
        fill: &dyn Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Vec<u8>, EngineError> {
        self.unless_canceled(cancel, async {
            let response = self.send(path, fill).await?;
            let mut answer = Vec::new();
            let mut pieces = self.pieces(response);
            while let Some(piece) = pieces.next().await {
                answer.extend(piece?);
            }
            Ok(answer)
        })
    }

    /// Posts what `fill` puts into the request and has `read` take in the answer as it comes.
    ///
    /// # Errors
    /// `Unreachable`, `BadAnswer`, `Canceled`, or what `read` refuses.
    pub fn post_and_read<T>(
        &self,
        path: &str,
        cancel: &Cancel,
        fill: &dyn Fn(RequestBuilder) -> RequestBuilder,
        read: impl AsyncFnOnce(Response) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.unless_canceled(cancel, async { read(self.send(path, fill).await?).await })
    }

    /// The pieces of a response as they come.
    pub fn pieces(
        &self,
        response: Response,
    ) -> impl Stream<Item = Result<Vec<u8>, EngineError>> + Unpin + '_ {
        let mut bytes = 0;
        Box::pin(response.bytes_stream().map(move |piece| {
            let piece = piece.map_err(|error| self.unreachable(&error))?;
            bytes += piece.len();
            if bytes > MAX_ANSWER_BYTES {
                return Err(self.bad_answer("the answer does not end"));
            }
            Ok(piece.to_vec())
        }))
    }

    /// The server answers something that is of no use.
    pub fn bad_answer(&self, detail: impl std::fmt::Display) -> EngineError {
        EngineError::BadAnswer { url: self.options.shown(), detail: detail.to_string() }
    }

    fn unreachable(&self, error: &reqwest::Error) -> EngineError {
        // The error's own text ends with the address, credentials and all.
        let mut detail = String::new();
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
        while let Some(error) = cause {
            detail = error.to_string();
            cause = error.source();
        }
        if error.is_timeout() && !error.is_connect() {
            detail = format!("no answer within {} s", self.options.timeout.as_secs_f32());
        }
        EngineError::Unreachable { url: self.options.shown(), detail }
    }

    fn unless_canceled<T>(
        &self,
        cancel: &Cancel,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let canceled = async {
            while !cancel.is_canceled() {
                tokio::time::sleep(CANCEL_CHECK).await;
            }
        };
        self.runtime.block_on(async {
            // Dropping the request closes its connection, which tells the server.
            tokio::select! {
                biased;
                () = canceled => Err(EngineError::Canceled),
                result = work => result,
            }
        })
    }

    async fn send(
        &self,
        path: &str,
        fill: &dyn Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, EngineError> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match self.send_once(path, fill).await {
                Ok(response) => return Ok(response),
                Err(Failure::Passing(error, wanted)) if attempt < TRIES => {
                    tracing::debug!(%error, attempt, "another server did not do its work");
                    // Chance keeps clients that failed together from coming back together.
                    let spread = rand::rng().random_range(0.5..1.5);
                    tokio::time::sleep(wanted.unwrap_or_else(|| pause.mul_f64(spread))).await;
                    pause *= 2;
                }
                Err(Failure::Passing(error, _) | Failure::Final(error)) => return Err(error),
            }
        }
        unreachable!("the last try returns")
    }

    async fn send_once(
        &self,
        path: &str,
        fill: &dyn Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Failure> {
        let url = format!("{}/{path}", self.options.base_url.as_str().trim_end_matches('/'));
        let mut request = self.http.post(url);
        if let Some(key) = &self.options.api_key {
            request = request.bearer_auth(key.reveal());
        }
        let response = fill(request).send().await.map_err(|error| {
            let told = self.unreachable(&error);
            // Whoever has waited for an answer in vain has waited long enough.
            let in_vain = error.is_timeout() && !error.is_connect();
            if in_vain { Failure::Final(told) } else { Failure::Passing(told, None) }
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let pause = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let pause = pause.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        // The beginning tells enough.
        let text = match self.pieces(response).next().await {
            Some(Ok(text)) => String::from_utf8_lossy(&text).into_owned(),
            _ => String::new(),
        };
        let detail: String = format!("{status}: {text}").chars().take(MAX_DETAIL_CHARS).collect();
        if is_passing(status) {
            let error = EngineError::Unreachable { url: self.options.shown(), detail };
            return Err(Failure::Passing(error, pause.map(|it| it.min(LONGEST_PAUSE))));
        }
        Err(Failure::Final(self.bad_answer(detail)))
    }
}

/// Whether a server that answers so may answer better in a moment.
const fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn a_connection_that_the_other_side_closes_is_let_go_before_the_next_request() {
        const PATIENCE: Duration = Duration::from_secs(10);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, closed) = channel();
        // Answers one request on each connection, and waits until its client closes it, too.
        let other = thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().expect("a client");
                stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).expect("a request");
                    head.push(byte[0]);
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").expect("sent");
                stream.shutdown(Shutdown::Write).expect("closed");
                assert_eq!(stream.read(&mut [0]).expect("the client closes its side"), 0);
                sender.send(()).expect("somebody waits");
            }
        });
        let server = Server::new(RemoteOptions {
            base_url: format!("http://{address}").parse().expect("an address"),
            model: String::new(),
            voice: String::new(),
            api_key: None,
            timeout: PATIENCE,
        })
        .expect("a client");
        for _ in 0..2 {
            let answer = server.post("", &Cancel::default(), &|request| request);
            assert_eq!(answer.expect("an answer"), b"hi");
            closed.recv_timeout(PATIENCE).expect("the client lets go");
        }
        other.join().expect("no panic");
    }
}
