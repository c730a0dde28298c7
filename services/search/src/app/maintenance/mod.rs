//! Maintenance of all collections: rebuilds, removals, sweeps and recounts, each by one instance at a time.

mod janitor;
mod visit;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use data_encoding::HEXLOWER;
use keyplane_server::random;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::collections::Definitions;
use super::figures::Figures;
use super::rebuild::{self, Rebuilds};
use super::reconciler::Reconciler;
use super::sweeper::Sweeper;
use super::turn::Stop;
use crate::error::Error;
use crate::store::Store;
use janitor::Janitor;

/// Longest wait for maintenance in progress, at the shutdown.
const GOODBYE: Duration = Duration::from_secs(5);
/// Pause after an error of the store.
const AGAIN: Duration = Duration::from_secs(1);

/// Settings of the maintenance.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Rebuilds.
    pub rebuild: rebuild::Settings,
    /// Maximum of documents of a collection in a shared index; a larger one moves to an index of its own.
    pub own_index_documents: u64,
    /// Interval between recounts of a collection's counters.
    pub reconcile_every: Duration,
    /// Longest time between a write of documents and its update of the lexicon; a recount waits as long.
    pub settle: Duration,
    /// Interval between two looks for unused indexes; one that is unused in two of them is dropped.
    pub janitor_every: Duration,
    /// Longest interval between two looks at a collection: an expired document is removed within it.
    pub look_every: Duration,
    /// Interval between two looks for collections whose maintenance is due.
    pub poll: Duration,
    /// Time after which another instance takes over from one that is silent.
    pub lease: Duration,
    /// Maximum of collections that this instance maintains at the same time.
    pub concurrency: usize,
}

/// Running maintenance. It ends when it is dropped; [`Maintenance::stop`] lets steps in progress end first.
pub struct Maintenance {
    stop: Stop,
    woken: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

/// Parts of the maintenance. Cheap to clone.
#[derive(Clone)]
struct Worker {
    store: Store,
    rebuilds: Rebuilds,
    sweeper: Sweeper,
    reconciler: Reconciler,
    figures: Figures,
    settings: Settings,
    owner: Arc<str>,
    visits: Arc<AtomicU64>,
    stop: Stop,
}

// === impl Maintenance ===

impl Maintenance {
    /// Starts the maintenance. `owner` names the instance in leases; a random suffix sets its processes apart. Needs a tokio
    /// runtime.
    #[must_use]
    pub fn start(store: &Store, definitions: &Definitions, settings: Settings, owner: &str) -> Maintenance {
        let figures = Figures::default();
        let reconciler = Reconciler::new(store.clone(), figures.clone());
        let rebuilds = Rebuilds::new(
            store.clone(),
            definitions.clone(),
            reconciler.clone(),
            figures.clone(),
            settings.rebuild.clone(),
        );
        let suffix = random::bytes::<8>().map(|bytes| HEXLOWER.encode(&bytes));
        let owner = format!("{owner}-{}", suffix.unwrap_or_else(|_| std::process::id().to_string()));
        let (stop, woken) = (Stop::default(), Arc::new(Notify::new()));
        let worker = Worker {
            store: store.clone(),
            rebuilds,
            sweeper: Sweeper::new(store.clone(), figures.clone()),
            reconciler,
            figures,
            settings,
            owner: owner.into(),
            visits: Arc::default(),
            stop: stop.clone(),
        };
        let task = tokio::spawn(worker.run(woken.clone()));
        Maintenance { stop, woken, task: Some(task) }
    }

    /// Ends the maintenance between two steps, and releases its leases; after five seconds, it ends within a step.
    pub async fn stop(mut self) {
        self.stop.raise();
        self.woken.notify_one();
        if let Some(task) = self.task.as_mut()
            && timeout(GOODBYE, task).await.is_err()
        {
            tracing::debug!("maintenance did not end in time; another instance resumes it");
        }
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.stop.raise();
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

// === impl Worker ===

impl Worker {
    /// Claims collections whose maintenance is due, and visits each in a task of its own.
    async fn run(self, woken: Arc<Notify>) {
        let slots = Arc::new(Semaphore::new(self.settings.concurrency));
        let mut visits = tokio::task::JoinSet::new();
        let (mut janitor, mut next_round) = (Janitor::default(), Instant::now());
        while !self.stop.is_raised() {
            while visits.try_join_next().is_some() {}
            if Instant::now() >= next_round {
                next_round = Instant::now() + self.settings.janitor_every;
                if let Err(error) = janitor.round(&self).await {
                    tracing::debug!(%error, "unused indexes were not looked for");
                }
            }
            let free = u32::try_from(slots.available_permits()).unwrap_or(u32::MAX);
            let pause = match self.claim(free).await {
                Ok(Some(claimed)) => {
                    for name in claimed.collections {
                        let (worker, claim) = (self.clone(), claimed.claim.clone());
                        let slot = slots.clone().acquire_owned().await;
                        visits.spawn(async move {
                            worker.visit(name, claim, claimed.now).await;
                            drop(slot);
                        });
                    }
                    self.settings.poll
                }
                Ok(None) => self.settings.poll,
                Err(error) => {
                    tracing::debug!(%error, "no collections were claimed for maintenance");
                    AGAIN
                }
            };
            tokio::select! {
                () = woken.notified() => {}
                () = sleep(pause) => {}
            }
        }
        while visits.join_next().await.is_some() {}
    }

    async fn claim(&self, free: u32) -> Result<Option<crate::store::definitions::Claimed>, Error> {
        if free == 0 {
            return Ok(None);
        }
        self.store.claim(self.settings.lease, free).await.map(Some)
    }
}
