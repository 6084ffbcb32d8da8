//! Work of an engine for a client that waits for it, without a job.
//!
//! Called by `openai` and `libretranslate`. The engines are those of the jobs, so that a request
//! may have to wait; what cannot be begun soon is refused. A client that goes away stops its work.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::StatusCode;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::error::WebError;
use super::request_id;
use super::state::AppState;
use crate::engine::{Cancel, Control};
use crate::jobs::JobStore;
use crate::stage::{Direct, StageError, StageKind};

/// A client that takes nothing for this long is given up: the work may hold an engine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a piece of work may use.
pub(super) struct Desk<'a> {
    /// The engines.
    pub engines: &'a dyn Direct,
    /// Stops the work when the client is gone.
    pub control: Control<'a>,
}

/// Takes the pieces of an answer, from any thread.
pub(super) struct Outlet {
    pieces: mpsc::Sender<Result<Bytes, StageError>>,
    runtime: Handle,
}

impl Outlet {
    /// Sends a piece; waits for a while when the client is behind.
    ///
    /// # Errors
    /// `canceled` when nobody listens any more, so that the work ends.
    pub fn send(&self, piece: impl Into<Bytes>) -> Result<(), StageError> {
        let sent = self.pieces.send_timeout(Ok(piece.into()), PATIENCE);
        self.runtime.block_on(sent).map_err(|_| StageError::canceled())
    }
}

/// Does `work`, which is that of `stage`, on a thread that may block, and gives its result.
///
/// # Errors
/// 429 when too many wait already, and what becomes of the stage's error.
pub(super) async fn run<T: Send + 'static>(
    state: &AppState,
    stage: StageKind,
    work: impl FnOnce(&Desk<'_>) -> Result<T, StageError> + Send + 'static,
) -> Result<T, WebError> {
    let (job, _stop) = prepare(state, stage)?;
    tokio::task::spawn_blocking(move || job.run(work))
        .await
        .map_err(WebError::internal)?
        .map_err(WebError::from)
}

/// Does `work`, which is that of `stage`, on a thread that may block, and gives what it sends as it
/// comes: up to `backlog` pieces ahead of a slow client. Nothing is given until the first piece is
/// there, so that a failure before it is told as any other.
///
/// # Errors
/// As [`run`], up to the first piece; later ones are in the stream, and in the log.
pub(super) async fn stream(
    state: &AppState,
    stage: StageKind,
    backlog: usize,
    work: impl FnOnce(&Desk<'_>, &Outlet) -> Result<(), StageError> + Send + 'static,
) -> Result<BoxStream<'static, Result<Bytes, WebError>>, WebError> {
    let (job, stop) = prepare(state, stage)?;
    let (pieces, receiver) = mpsc::channel(backlog);
    let outlet = Outlet { pieces, runtime: Handle::current() };
    tokio::task::spawn_blocking(move || {
        let done = catch_unwind(AssertUnwindSafe(|| job.run(|desk| work(desk, &outlet))));
        let result = done.unwrap_or_else(|_| {
            Err(StageError::internal("The work stopped with a fault of this program.", "panic"))
        });
        if let Err(error) = result {
            // Nobody may listen any more.
            let _ = outlet.runtime.block_on(outlet.pieces.send_timeout(Err(error), PATIENCE));
        }
    });
    let mut pieces = ReceiverStream::new(receiver);
    let first = match pieces.next().await {
        Some(Err(error)) => return Err(error.into()),
        first => first,
    };
    let (span, id) = (tracing::Span::current(), request_id::current());
    let answer = futures::stream::iter(first).chain(pieces).map(move |piece| {
        // It lives as long as the stream: when the client goes, the work is stopped.
        let _ = &stop;
        piece.map_err(|error| {
            let told = request_id::within(id.clone(), || WebError::from(error));
            span.in_scope(|| told.log());
            told
        })
    });
    Ok(answer.boxed())
}

/// Stops the work when it is dropped, or when the server stops.
struct Stop {
    cancel: Cancel,
    done: CancellationToken,
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.done.cancel();
    }
}

struct Job {
    _place: OwnedSemaphorePermit,
    stage: StageKind,
    engines: Arc<dyn Direct>,
    store: JobStore,
    cancel: Cancel,
    span: tracing::Span,
}

impl Job {
    fn run<T>(
        &self,
        work: impl FnOnce(&Desk<'_>) -> Result<T, StageError>,
    ) -> Result<T, StageError> {
        let _in_span = self.span.enter();
        let control = Control { cancel: &self.cancel, progress: &|_| {} };
        let began = Instant::now();
        let done = work(&Desk { engines: self.engines.as_ref(), control })?;
        self.store.metrics().request_done(self.stage, began.elapsed());
        Ok(done)
    }
}

/// Whether another request would be taken now.
///
/// # Errors
/// 429 when not.
pub(super) fn check_room(state: &AppState) -> Result<(), WebError> {
    if state.waiting.available_permits() > 0 { Ok(()) } else { Err(too_many()) }
}

fn too_many() -> WebError {
    let message = "Too many requests wait for the models already. Try again in a moment.";
    WebError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message)
}

fn prepare(state: &AppState, stage: StageKind) -> Result<(Job, Stop), WebError> {
    let place = Arc::clone(&state.waiting).try_acquire_owned().map_err(|_| too_many())?;
    let cancel = Cancel::default();
    let done = CancellationToken::new();
    let (closing, ended, stopped) = (state.closing.clone(), done.clone(), cancel.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = closing.cancelled() => stopped.cancel(),
            () = ended.cancelled() => {}
        }
    });
    let job = Job {
        _place: place,
        stage,
        store: state.store.clone(),
        engines: Arc::clone(&state.direct),
        cancel: cancel.clone(),
        span: tracing::Span::current(),
    };
    Ok((job, Stop { cancel, done }))
}
