//! Whether the workers can take jobs.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use crate::stage::StageKind;

/// Whether a worker, or all of them together, can take jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Readiness {
    /// Every stage has loaded.
    Ready,
    /// Jobs wait until there is room on the disk again.
    Paused {
        /// Why, for the person.
        message: String,
    },
    /// Models are being loaded.
    Loading {
        /// The stage that is being loaded.
        stage: Option<StageKind>,
    },
    /// A stage could not be loaded; jobs will fail there.
    Failed {
        /// The stage that could not be loaded.
        stage: StageKind,
        /// Why, for the person.
        message: String,
    },
}

impl Readiness {
    /// How much there is to tell of it.
    const fn severity(&self) -> u8 {
        match self {
            Self::Ready => 0,
            Self::Paused { .. } => 1,
            Self::Loading { .. } => 2,
            Self::Failed { .. } => 3,
        }
    }
}

/// What every worker says of itself, and what follows for all.
#[derive(Debug)]
pub(super) struct Board {
    each: Mutex<Vec<Readiness>>,
    all: watch::Sender<Readiness>,
}

impl Board {
    /// For `workers` workers, none of which has loaded anything.
    pub fn new(workers: usize) -> Arc<Self> {
        let loading = Readiness::Loading { stage: None };
        let (all, _) = watch::channel(loading.clone());
        Arc::new(Self { each: Mutex::new(vec![loading; workers]), all })
    }

    /// Every change of what follows for all.
    pub fn subscribe(&self) -> watch::Receiver<Readiness> {
        self.all.subscribe()
    }

    /// Worker number `worker` says how it is.
    pub fn tell(&self, worker: usize, readiness: Readiness) {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        each[worker] = readiness;
        let worst = each.iter().max_by_key(|it| it.severity()).cloned();
        self.all.send_if_modified(|all| match worst {
            Some(worst) if worst != *all => {
                *all = worst;
                true
            }
            _ => false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_ready_once_the_last_is_and_a_failure_outweighs_the_rest() {
        let board = Board::new(2);
        let all = board.subscribe();
        board.tell(0, Readiness::Ready);
        assert_eq!(*all.borrow(), Readiness::Loading { stage: None });
        board.tell(1, Readiness::Ready);
        assert_eq!(*all.borrow(), Readiness::Ready);
        let failed =
            Readiness::Failed { stage: StageKind::GenerateText, message: "No.".to_owned() };
        board.tell(0, failed.clone());
        board.tell(1, Readiness::Loading { stage: None });
        assert_eq!(*all.borrow(), failed);
    }
}
