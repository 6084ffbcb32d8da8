//! Job events as a stream of server-sent events.
//!
//! Every message is a JSON object with `job` and `event`; the message's event
//! name is the same as `event`: `job`, `stage`, `progress` or `deleted`. A
//! client that falls too far behind gets `resync` (no data of use) and should
//! read the jobs anew.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use serde::Serialize;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::jobs::{JobEvent, JobEventKind};

/// Proxies close connections that stay silent for longer than this or so.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One event of a stream.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the streams")]
pub(super) struct ServerSentEvent {
    /// JSON, or `[DONE]` at the end of an answer in OpenAI's manner.
    data: String,
    /// Its name, where it has one.
    event: Option<String>,
    /// Its place, where the stream can be resumed.
    id: Option<String>,
}

/// What goes to a client.
pub(super) enum Message {
    /// Something happened to a job.
    Event(JobEvent),
    /// Events were lost on the way to this client.
    Resync,
}

/// Everything that `receiver` gets, with a [`Message::Resync`] where it fell behind.
pub(super) fn messages(receiver: broadcast::Receiver<JobEvent>) -> impl Stream<Item = Message> {
    BroadcastStream::new(receiver).map(|received| match received {
        Ok(event) => Message::Event(event),
        Err(BroadcastStreamRecvError::Lagged(_)) => Message::Resync,
    })
}

/// Sends `messages` until they end or the server stops.
pub(super) fn respond(
    messages: impl Stream<Item = Message> + Send + 'static,
    closing: CancellationToken,
) -> Response {
    let events = messages
        .map(|message| Ok::<_, Infallible>(encode(&message)))
        .take_until(closing.cancelled_owned());
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn encode(message: &Message) -> Event {
    match message {
        Message::Event(event) => {
            let told = named(name_of(&event.kind), event);
            match event.id {
                Some(id) => told.id(id.to_string()),
                None => told,
            }
        }
        Message::Resync => named("resync", &serde_json::json!({ "event": "resync" })),
    }
}

fn named(name: &str, data: &impl Serialize) -> Event {
    let event = Event::default().event(name);
    event.json_data(data).unwrap_or_else(|error| {
        tracing::error!("an event cannot be written as JSON: {error}");
        Event::default().event("resync").data("{}")
    })
}

const fn name_of(kind: &JobEventKind) -> &'static str {
    match kind {
        JobEventKind::Job { .. } => "job",
        JobEventKind::Stage { .. } => "stage",
        JobEventKind::Progress { .. } => "progress",
        JobEventKind::Deleted => "deleted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::JobId;

    #[tokio::test]
    async fn a_listener_that_falls_behind_is_told_to_read_anew() {
        let (sender, receiver) = broadcast::channel(2);
        for _ in 0..5 {
            let event = JobEvent { id: None, job: JobId::new(), kind: JobEventKind::Deleted };
            sender.send(event).expect("the receiver is there");
        }
        drop(sender);
        let told: Vec<Message> = messages(receiver).collect().await;
        assert!(matches!(told[..], [Message::Resync, Message::Event(_), Message::Event(_)]));
    }

    #[tokio::test]
    async fn a_stream_ends_when_the_server_stops() {
        let closing = CancellationToken::new();
        let (sender, receiver) = broadcast::channel(2);
        let response = respond(messages(receiver), closing.clone());
        closing.cancel();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        assert!(body.expect("the stream ends").is_empty());
        drop(sender);
    }
}
