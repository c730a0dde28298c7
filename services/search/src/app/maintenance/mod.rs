//! Maintenance of all collections: rebuilds, removals, sweeps and recounts, each by one instance at a time.

mod janitor;
mod slots;
mod visit;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use data_encoding::HEXLOWER;
use keyplane_server::random;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::collections::Definitions;
use super::figures::Figures;
use super::rebuild::{self, Rebuilds};
use super::reconciler::Reconciler;
use super::sweeper::Sweeper;
use super::turn::Stop;
use crate::error::Error;
use crate::store::Store;
use crate::store::definitions::Claimed;
use slots::Slots;

pub use janitor::Janitor;

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
    /// Maximum of collections that this instance looks at, at the same time.
    pub concurrency: usize,
    /// Maximum of collections whose documents this instance copies, removes or recounts, at the same time.
    pub long: usize,
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
    slots: Slots,
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
        let slots = Slots::new(settings.concurrency, settings.long, woken.clone());
        let worker = Worker {
            store: store.clone(),
            rebuilds,
            sweeper: Sweeper::new(store.clone(), figures.clone()),
            reconciler,
            figures,
            settings,
            owner: owner.into(),
            visits: Arc::default(),
            slots,
            stop: stop.clone(),
        };
        let task = tokio::spawn(worker.run());
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
    /// Maintains collections, and looks for unused indexes, until the shutdown.
    async fn run(self) {
        tokio::select! {
            () = self.visit_all() => {}
            () = self.tidy() => {}
        }
    }

    /// Claims collections whose maintenance is due, and visits each in a task of its own. While more may be due, it claims
    /// again as soon as a slot is free.
    async fn visit_all(&self) {
        let mut visits = JoinSet::new();
        while !self.stop.is_raised() {
            while visits.try_join_next().is_some() {}
            let free = self.slots.free();
            let pause = match self.claim(free).await {
                Ok(None) => self.settings.poll,
                Ok(Some(claimed)) => {
                    let all = claimed.collections.len() < free;
                    for name in claimed.collections {
                        let (worker, claim) = (self.clone(), claimed.claim.clone());
                        let slot = self.slots.take().await;
                        visits.spawn(async move { worker.visit(name, claim, claimed.now, slot).await });
                    }
                    if all { self.settings.poll } else { Duration::ZERO }
                }
                Err(error) => {
                    tracing::debug!(%error, "no collections were claimed for maintenance");
                    AGAIN
                }
            };
            tokio::select! {
                () = self.slots.freed() => {}
                () = sleep(pause) => {}
            }
        }
        while visits.join_next().await.is_some() {}
    }

    async fn claim(&self, free: usize) -> Result<Option<Claimed>, Error> {
        if free == 0 {
            return Ok(None);
        }
        let maximum = u32::try_from(free).unwrap_or(u32::MAX);
        self.store.claim(self.settings.lease, maximum).await.map(Some)
    }

    /// Looks for unused indexes, over and over.
    async fn tidy(&self) {
        let mut janitor = Janitor::new(self.store.clone());
        loop {
            if let Err(error) = self.tidy_once(&mut janitor).await {
                tracing::debug!(%error, "unused indexes were not looked for");
            }
            sleep(self.settings.janitor_every).await;
        }
    }

    async fn tidy_once(&self, janitor: &mut Janitor) -> Result<(), Error> {
        self.figures.counted(self.store.count_indexes().await?);
        if let Some(evicts) = self.store.evicts().await? {
            self.figures.checked(evicts);
        }
        let spare = janitor.look().await?;
        janitor.remove(spare).await
    }
}
