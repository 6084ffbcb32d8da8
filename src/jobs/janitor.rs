//! The janitor: applies the limits on history, now and then.

use tokio::task::JoinHandle;

use super::{JobStore, Retention};

/// How often the limits are looked at.
const EVERY_MS: i64 = 60_000;

/// A running janitor; it stops when this is dropped.
#[derive(Debug)]
pub struct Janitor(JoinHandle<()>);

impl Janitor {
    /// Starts to keep `store` within `keep`: at once, then every minute.
    #[must_use]
    pub fn start(store: JobStore, keep: Retention) -> Self {
        Self(tokio::spawn(async move {
            loop {
                match store.apply(&keep).await {
                    Ok(0) => {}
                    Ok(deleted) => tracing::info!(deleted, "old jobs are kept no longer"),
                    Err(error) => tracing::error!(%error, "old jobs could not be deleted"),
                }
                let clock = store.clock();
                clock.reached(clock.now_ms() + EVERY_MS).await;
            }
        }))
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.0.abort();
    }
}
