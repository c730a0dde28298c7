//! Maintenance of all partitions: expired memories are removed, owners are recounted. Instances share the work.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::reconciler::Reconciler;
use super::sweeper::Sweeper;
use crate::error::Error;
use crate::store::{Due, Store};

/// Maximum number of partitions of one round.
const CLAIMED: u32 = 16;
/// Maximum number of owners that one visit recounts: those that were written last.
const OWNERS: u32 = 1_000;
/// Maximum number of partitions whose last recount is remembered.
const REMEMBERED: usize = 100_000;

/// Settings of the maintenance.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Interval between two visits of a partition: an expired memory is removed within it.
    pub sweep_every: Duration,
    /// Interval between two recounts of a partition's owners by this instance.
    pub reconcile_every: Duration,
    /// Pause between two rounds that found nothing due.
    pub poll: Duration,
}

/// Running maintenance. It ends when it is dropped; steps are idempotent, so another instance resumes them.
pub struct Maintenance {
    task: JoinHandle<()>,
}

struct Worker {
    store: Store,
    sweeper: Sweeper,
    reconciler: Reconciler,
    settings: Settings,
    recounted: HashMap<Due, Instant>,
}

// === impl Maintenance ===

impl Maintenance {
    /// Starts the maintenance. Needs a tokio runtime.
    #[must_use]
    pub fn start(store: Store, sweeper: Sweeper, reconciler: Reconciler, settings: Settings) -> Maintenance {
        let worker = Worker { store, sweeper, reconciler, settings, recounted: HashMap::new() };
        Maintenance { task: tokio::spawn(worker.run()) }
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Worker ===

impl Worker {
    async fn run(mut self) {
        loop {
            let claimed = self.store.claim(CLAIMED, self.settings.sweep_every).await;
            let idle = claimed.as_ref().map_or(true, Vec::is_empty);
            match claimed {
                Ok(due) => {
                    for due in due {
                        if let Err(error) = self.visit(&due).await {
                            tracing::debug!(%error, "maintenance of a partition failed; the next visit resumes it");
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "no partitions were claimed for maintenance"),
            }
            if idle {
                sleep(self.settings.poll).await;
            }
        }
    }

    async fn visit(&mut self, due: &Due) -> Result<(), Error> {
        let now = super::now();
        self.sweeper.run(due, now).await?;
        let start = Instant::now();
        // The first visit of a process only notes the time: a restart is no reason to recount all.
        if self.recounted.len() >= REMEMBERED {
            self.recounted.clear();
        }
        let last = *self.recounted.entry(due.clone()).or_insert(start);
        if start.duration_since(last) < self.settings.reconcile_every {
            return Ok(());
        }
        for owner in self.store.owners(due, OWNERS).await? {
            self.reconciler.run(&owner, now).await?;
        }
        self.recounted.insert(due.clone(), start);
        Ok(())
    }
}
