//! How a running engine is stopped, and how it tells of its progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::EngineError;

/// A flag that stops a running engine at its next check.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the engine to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the engine was asked to stop.
    #[must_use]
    pub fn is_canceled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`EngineError::Canceled`] once [`Cancel::cancel`] was called, so that loops can use `?`.
    pub fn check(&self) -> Result<(), EngineError> {
        if self.is_canceled() { Err(EngineError::Canceled) } else { Ok(()) }
    }
}

/// What a running engine tells of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Progress {
    /// `done` of `total` units: milliseconds of audio, tokens, or sentences.
    Fraction {
        /// Units finished.
        done: u64,
        /// Units in all; for tokens the most that may come.
        total: u64,
    },
    /// Text that a language model just made, to be appended to what came before.
    Text {
        /// The new piece.
        delta: String,
    },
}

/// What an engine is given beside its input.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    /// Checked between sentences, segments and tokens.
    pub cancel: &'a Cancel,
    /// Called with every bit of progress, one after the other, on a thread of the engine: keep it
    /// quick.
    pub progress: &'a (dyn Fn(Progress) + Send + Sync),
}

impl Control<'_> {
    /// Reports that `done` of `total` units are finished.
    pub fn report(&self, done: usize, total: usize) {
        (self.progress)(Progress::Fraction { done: done as u64, total: total as u64 });
    }

    /// Reports text that was just made.
    pub fn say(&self, delta: &str) {
        (self.progress)(Progress::Text { delta: delta.to_owned() });
    }
}
