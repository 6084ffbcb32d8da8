//! `GET /api/v1/events` and `GET /api/v1/jobs/{id}/events`: what happens, as it happens.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures::stream::{self, Stream};
use futures::{StreamExt, future};

use super::super::error::{ErrorBody, WebError};
use super::super::sse::{self, Message, ServerSentEvent};
use super::super::state::AppState;
use super::find_job;
use crate::engine::Progress;
use crate::jobs::{EventId, JobEvent, JobEventKind, JobId, LiveProgress};

/// Events of every job, from now on, for as long as the client listens.
///
/// A client that connects again names the last event it got, and gets what it missed; `resync`
/// says that some of that is not known any more.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "Jobs",
    params(("Last-Event-ID" = Option<String>, Header, description = "The last event that came")),
    responses((status = 200, description = "Server-sent events", body = ServerSentEvent, content_type = "text/event-stream"))
)]
pub(in crate::web) async fn of_all(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let events = state.store.events();
    let (missed, receiver) = match last_event(&headers) {
        Some(last) => {
            let (missed, receiver) = events.subscribe_after(last);
            let missed = missed.map(|it| it.into_iter().map(Message::Event).collect());
            (missed.unwrap_or_else(|| vec![Message::Resync]), receiver)
        }
        None => (Vec::new(), events.subscribe()),
    };
    sse::respond(stream::iter(missed).chain(sse::messages(receiver)), state.closing)
}

/// Events of one job: how far it is now, then what happens, until it is over.
///
/// A client that connects again and names the last event it got is told only what it missed,
/// where that is still known.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}/events", tag = "Jobs",
    params(
        ("id" = String, Path, description = "The job"),
        ("Last-Event-ID" = Option<String>, Header, description = "The last event that came"),
    ),
    responses(
        (status = 200, description = "Server-sent events", body = ServerSentEvent, content_type = "text/event-stream"),
        (status = 404, description = "There is no such job", body = ErrorBody),
    )
)]
pub(in crate::web) async fn of_job(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    // Listening begins before the table is read, so nothing falls in between;
    // an event that is told twice does no harm.
    let (missed, receiver) = match last_event(&headers) {
        Some(last) => state.store.events().subscribe_after(last),
        None => (None, state.store.events().subscribe()),
    };
    let job = find_job(&state, &id).await?;
    let id = job.id;
    let before: Vec<Message> = match missed {
        // What came last may have been the end.
        Some(missed) if !job.state.is_final() => missed.into_iter().map(Message::Event).collect(),
        _ => std::iter::once(JobEventKind::Job { state: job.state })
            .chain(state.store.events().live(id).into_iter().flat_map(replay))
            .map(|kind| Message::Event(JobEvent { id: None, job: id, kind }))
            .collect(),
    };
    let messages = stream::iter(before).chain(sse::messages(receiver));
    let concerning = messages.filter(move |message| future::ready(concerns(message, id)));
    Ok(sse::respond(until_last(concerning), state.closing))
}

/// The event after which a client wants to go on.
fn last_event(headers: &HeaderMap) -> Option<EventId> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// The events that would have brought a listener to where the running stage is.
fn replay(live: LiveProgress) -> impl Iterator<Item = JobEventKind> {
    let stage = live.stage;
    let fraction = live.fraction.map(|(done, total)| Progress::Fraction { done, total });
    let text = (!live.text.is_empty()).then_some(Progress::Text { delta: live.text });
    let running = JobEventKind::Stage { stage, state: crate::jobs::JobState::Running };
    std::iter::once(running).chain(
        fraction.into_iter().chain(text).map(move |progress| JobEventKind::Progress {
            stage,
            progress,
            offset: 0,
        }),
    )
}

fn concerns(message: &Message, job: JobId) -> bool {
    match message {
        Message::Event(event) => event.job == job,
        Message::Resync => true,
    }
}

/// Ends the stream right after the message that says the job is over. A lost
/// event ends it too: it may have been the last, and a client that connects
/// again is told the state anew.
fn until_last(messages: impl Stream<Item = Message> + Send) -> impl Stream<Item = Message> + Send {
    stream::unfold(Some(Box::pin(messages)), |messages| async {
        let mut messages = messages?;
        let message = messages.next().await?;
        let rest = (!is_last(&message)).then_some(messages);
        Some((message, rest))
    })
}

const fn is_last(message: &Message) -> bool {
    match message {
        Message::Resync => true,
        Message::Event(event) => match event.kind {
            JobEventKind::Job { state } => state.is_final(),
            JobEventKind::Deleted => true,
            JobEventKind::Stage { .. } | JobEventKind::Progress { .. } => false,
        },
    }
}
