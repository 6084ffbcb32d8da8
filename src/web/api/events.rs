//! `GET /api/v1/events` and `GET /api/v1/jobs/{id}/events`: what happens, as it happens.

use axum::extract::{Path, State};
use axum::response::Response;
use futures::stream::{self, Stream};
use futures::{StreamExt, future};

use super::super::error::WebError;
use super::super::sse::{self, Message};
use super::super::state::AppState;
use super::find_job;
use crate::engine::Progress;
use crate::jobs::{JobEvent, JobEventKind, JobId, LiveProgress};

/// Events of every job, from now on, for as long as the client listens.
pub(in crate::web) async fn of_all(State(state): State<AppState>) -> Response {
    sse::respond(sse::messages(state.store.events().subscribe()), state.closing)
}

/// Events of one job: how far it is now, then what happens, until it is over.
pub(in crate::web) async fn of_job(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, WebError> {
    // Listening begins before the table is read, so nothing falls in between;
    // an event that is told twice does no harm.
    let receiver = state.store.events().subscribe();
    let job = find_job(&state, &id).await?;
    let id = job.id;
    let now = std::iter::once(JobEventKind::Job { state: job.state })
        .chain(state.store.events().live(id).into_iter().flat_map(replay))
        .map(move |kind| Message::Event(JobEvent { job: id, kind }));
    let later = sse::messages(receiver).filter(move |message| future::ready(concerns(message, id)));
    Ok(sse::respond(until_last(stream::iter(now).chain(later)), state.closing))
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
