//! What happens to jobs, as it happens: for the live page and the event stream.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::broadcast;

use super::{JobId, JobState};
use crate::engine::{Cancel, Progress};
use crate::stage::StageKind;

/// Events that a slow listener may fall behind before it misses some.
const BACKLOG: usize = 1024;

/// The place of an event in all that this process has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    /// Which process, by the time of its start: after a restart counting begins anew.
    epoch: u64,
    number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.number)
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (epoch, number) = text.split_once('-').ok_or(())?;
        let parse = |text: &str| text.parse().map_err(|_| ());
        Ok(Self { epoch: parse(epoch)?, number: parse(number)? })
    }
}

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobEvent {
    /// Its place among all events; none for one that only repeats how things stand.
    #[serde(skip)]
    pub id: Option<EventId>,
    /// The job.
    pub job: JobId,
    /// What happened.
    #[serde(flatten)]
    pub kind: JobEventKind,
}

/// What happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JobEventKind {
    /// The job is in a new state.
    Job {
        /// The new state.
        state: JobState,
    },
    /// A stage of the job is in a new state.
    Stage {
        /// Which stage.
        stage: StageKind,
        /// The new state.
        state: JobState,
    },
    /// A running stage has come further.
    Progress {
        /// Which stage.
        stage: StageKind,
        /// How far, or what text is new.
        progress: Progress,
        /// Characters of the stage's text that came before this event, so that
        /// a listener who joins late can tell what it has from what it misses.
        offset: u64,
    },
    /// The job and its files are gone.
    Deleted,
}

/// How far the running stage of a job has come: for a page opened in the middle of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LiveProgress {
    /// The running stage.
    pub stage: StageKind,
    /// Units done and in all.
    pub fraction: Option<(u64, u64)>,
    /// Text made so far.
    pub text: String,
}

/// What was told lately, for listeners that were away for a moment.
#[derive(Debug)]
struct History {
    epoch: u64,
    next: u64,
    events: VecDeque<JobEvent>,
}

#[derive(Debug, Default)]
struct Live {
    progress: HashMap<JobId, LiveProgress>,
    cancels: HashMap<JobId, Cancel>,
}

/// Spreads events and knows what is running. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventHub {
    sender: broadcast::Sender<JobEvent>,
    history: Arc<Mutex<History>>,
    live: Arc<Mutex<Live>>,
}

impl Default for EventHub {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch = since.as_millis() as u64;
        let history = History { epoch, next: 0, events: VecDeque::with_capacity(BACKLOG) };
        Self {
            sender: broadcast::channel(BACKLOG).0,
            history: Arc::new(Mutex::new(history)),
            live: Arc::default(),
        }
    }
}

impl EventHub {
    /// Every event from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<JobEvent> {
        self.sender.subscribe()
    }

    /// What was told after `last`, and every event from now on; nothing of the past when that
    /// is not known any more.
    #[must_use]
    pub fn subscribe_after(
        &self,
        last: EventId,
    ) -> (Option<Vec<JobEvent>>, broadcast::Receiver<JobEvent>) {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let first = history.next - history.events.len() as u64;
        let known =
            last.epoch == history.epoch && last.number < history.next && last.number + 1 >= first;
        let missed = known.then(|| {
            let skip = (last.number + 1 - first) as usize;
            history.events.iter().skip(skip).cloned().collect()
        });
        // Events are sent under the same lock, so that none falls in between.
        (missed, self.sender.subscribe())
    }

    /// How far the running stage of `job` has come.
    #[must_use]
    pub fn live(&self, job: JobId) -> Option<LiveProgress> {
        self.lock().progress.get(&job).cloned()
    }

    /// Tells all listeners. Nobody listening is fine.
    pub(super) fn send(&self, job: JobId, kind: JobEventKind) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let id = Some(EventId { epoch: history.epoch, number: history.next });
        let event = JobEvent { id, job, kind };
        history.next += 1;
        if history.events.len() == BACKLOG {
            history.events.pop_front();
        }
        history.events.push_back(event.clone());
        let _ = self.sender.send(event);
    }

    /// A stage of `job` begins; the returned flag stops it.
    pub(super) fn begin(&self, job: JobId, stage: StageKind) -> Cancel {
        let cancel = Cancel::default();
        let mut live = self.lock();
        live.cancels.insert(job, cancel.clone());
        live.progress.insert(job, LiveProgress { stage, fraction: None, text: String::new() });
        cancel
    }

    /// The running stage of `job` tells of its progress.
    pub(super) fn progress(&self, job: JobId, stage: StageKind, progress: Progress) {
        let mut offset = 0;
        if let Some(live) = self.lock().progress.get_mut(&job) {
            offset = live.text.chars().count() as u64;
            match &progress {
                Progress::Fraction { done, total } => live.fraction = Some((*done, *total)),
                Progress::Text { delta } => live.text.push_str(delta),
            }
        }
        self.send(job, JobEventKind::Progress { stage, progress, offset });
    }

    /// The running stage of `job` has ended; how it ended has yet to be recorded.
    pub(super) fn end(&self, job: JobId) {
        self.lock().progress.remove(&job);
    }

    /// The worker is through with `job`: whatever it had to record is recorded.
    pub(super) fn release(&self, job: JobId) {
        self.lock().cancels.remove(&job);
    }

    /// Whether a worker is at `job`, if only to end it.
    pub(super) fn is_held(&self, job: JobId) -> bool {
        self.lock().cancels.contains_key(&job)
    }

    /// Asks the running stage of `job`, if there is one, to stop.
    pub(super) fn cancel(&self, job: JobId) -> bool {
        self.lock().cancels.get(&job).inspect(|cancel| cancel.cancel()).is_some()
    }

    /// Asks every running stage to stop.
    pub(super) fn cancel_all(&self) {
        self.lock().cancels.values().for_each(Cancel::cancel);
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        // The maps stay consistent even if a holder panicked between two inserts.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(hub: &EventHub, last: &str) -> Option<usize> {
        hub.subscribe_after(last.parse().ok()?).0.map(|missed| missed.len())
    }

    #[test]
    fn a_listener_that_was_away_gets_what_it_missed_as_long_as_that_is_known() {
        let hub = EventHub::default();
        let mut events = hub.subscribe();
        for _ in 0..3 {
            hub.send(JobId::new(), JobEventKind::Deleted);
        }
        let first = events.try_recv().expect("an event").id.expect("its place").to_string();
        assert_eq!(told(&hub, &first), Some(2));
        let last = (1..3).map(|_| events.try_recv().expect("an event")).last().expect("an event");
        assert_eq!(told(&hub, &last.id.expect("its place").to_string()), Some(0));
        assert_eq!(told(&hub, "1-0"), None, "of another process");
        let epoch = first.split('-').next().expect("an epoch");
        assert_eq!(told(&hub, &format!("{epoch}-99")), None, "of the future");
        assert_eq!(told(&hub, &format!("{epoch}-{}", u64::MAX)), None, "of the far future");
        for _ in 0..BACKLOG {
            hub.send(JobId::new(), JobEventKind::Deleted);
        }
        assert_eq!(told(&hub, &first), None, "too long ago");
    }
}
