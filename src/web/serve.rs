//! How the router is run: time limits for clients that dawdle, TLS, an orderly stop.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;

use super::router::router;
use super::state::AppState;

/// A client must send the head of a request within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// The largest head of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long answers under way may take once the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Serves until `shutdown` is done, then finishes the responses under way;
/// event streams end at once. With `tls`, connections are encrypted.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    state: AppState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let handle = Handle::new();
    let (closing, stop) = (state.closing.clone(), handle.clone());
    tokio::spawn(async move {
        shutdown.await;
        closing.cancel();
        stop.graceful_shutdown(Some(LAST_ANSWERS));
    });
    let service = router(state).into_make_service();
    // Events are small and must not wait for more to come.
    let plain = NoDelayAcceptor::new();
    // HTTP/1.1 alone: whoever tells the versions apart waits without limit for the first bytes.
    match tls {
        None => {
            let mut server =
                axum_server::from_tcp(listener)?.acceptor(plain).handle(handle).http1_only();
            limit(server.http_builder());
            server.serve(service).await
        }
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(tls).acceptor(plain);
            let mut server =
                axum_server::from_tcp(listener)?.acceptor(acceptor).handle(handle).http1_only();
            limit(server.http_builder());
            server.serve(service).await
        }
    }
}

fn limit(builder: &mut Builder<TokioExecutor>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES);
}
