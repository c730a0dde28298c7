//! State that the tasks of a replica and its readers share: memory, and one part for each thing known about it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use keyplane_revocation::{Entry, Replica};
use tokio::sync::broadcast;

use super::coverage::Coverage;
use super::freshness::Moments;
use super::metrics::Metrics;
use super::partitions::{Partitions, Position};
use super::readiness::Readiness;
use super::settings::Settings;
use super::stall::StallDetector;
use crate::domain::Record;
use crate::store::Store;
use crate::store::feed::{self, FeedRecord};

/// State of a replica.
///
/// Lock order: a partition's lock, then the lock within `memory`. The locks within `coverage` and `stalls` are taken by
/// themselves. No lock is held across an await.
pub(in crate::app) struct Shared {
    pub(in crate::app) settings: Settings,
    /// Name of this instance.
    pub(super) instance: Arc<str>,
    pub(in crate::app) store: Store,
    pub(in crate::app) memory: Replica,
    pub(in crate::app) moments: Moments,
    pub(in crate::app) coverage: Coverage,
    pub(in crate::app) partitions: Partitions,
    pub(super) readiness: Readiness,
    pub(in crate::app) stalls: StallDetector,
    /// Entries that are applied, for subscribers.
    pub(super) changes: broadcast::Sender<Applied>,
    pub(super) metrics: Metrics,
    /// Set once this instance has ended its lease.
    pub(super) left: AtomicBool,
}

/// Entry of the feed that was applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Partition of the entry.
    pub partition: u32,
    /// Number in the partition.
    pub seq: u64,
    /// Id in the stream.
    pub id: Arc<str>,
    /// Revocation, and its state.
    pub entry: Arc<Entry>,
}

/// Position of the replica in the feed.
#[derive(Clone, Debug)]
pub struct Head {
    /// Applied sequence, in the form of [`keyplane_revocation::Sequence::encode`].
    pub sequence: Arc<str>,
    /// Name of the instance, and a count. A new epoch begins when the feed can't be compared with that of before.
    pub epoch: Arc<str>,
    /// Age of memory: everything that was acknowledged this long ago is in `sequence`. `None` at the start, and while
    /// memory and the store are being reconciled.
    pub age: Option<Duration>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(store: Store, settings: Settings) -> Shared {
        let instance: Arc<str> = instance_name().into();
        let count = store.partitions();
        Shared {
            memory: Replica::partitioned(settings.rules, settings.filters, count),
            moments: Moments::new(count),
            coverage: Coverage::new(instance.clone(), count),
            partitions: Partitions::new(count, &settings),
            readiness: Readiness::new(),
            stalls: StallDetector::new(Instant::now(), settings.bound),
            changes: broadcast::Sender::new(settings.backlog.max(1)),
            metrics: Metrics::new(),
            left: AtomicBool::new(false),
            settings,
            instance,
            store,
        }
    }

    pub(super) fn head(&self) -> Head {
        let reading = self.moments.read();
        let (sequence, epoch) = self.coverage.text_and_epoch();
        // A doubt precedes a new epoch, so that its sequence never goes with the age of the one before.
        Head { sequence, epoch, age: self.moments.age(reading) }
    }

    /// Applies entries of a partition's feed, in their order. Live ones are measured, and sent to subscribers.
    pub(super) fn apply(&self, partition: u32, records: Vec<FeedRecord>, live: bool) {
        let now = self.store.unix_time();
        let Some(last) = records.last().map(FeedRecord::link) else { return };
        let subscribed = live && self.changes.receiver_count() > 0;
        let recent = u64::try_from(now.saturating_sub(self.settings.tail).as_micros()).unwrap_or(0);
        let mut progress = self.partitions.lock(partition);
        for record in records {
            let FeedRecord { id, seq, entry, .. } = record;
            self.memory.apply(&entry);
            let moment = entry.version.0;
            progress.newest = progress.newest.max(entry.version);
            if live || moment >= recent {
                progress.recent.push(&entry);
            }
            let id: Arc<str> = id.into();
            // An entry that was appended again is not measured: its moment is long ago.
            if live && feed::moment(&id) == Some(moment) {
                self.metrics.propagated(now.saturating_sub(Duration::from_micros(moment)));
            }
            if subscribed {
                // No subscriber is no error.
                let _ = self.changes.send(Applied { partition, seq, id: id.clone(), entry });
            }
            progress.position.id = id;
        }
        progress.position.link = last;
        drop(progress);
        self.coverage.advance(partition, last.seq, self.moments.doubts(partition));
    }

    /// Moves a partition to a position that the store names, without applying an entry.
    pub(super) fn reposition(&self, partition: u32, position: Position) {
        let seq = position.link.seq;
        self.partitions.lock(partition).position = position;
        self.coverage.advance(partition, seq, self.moments.doubts(partition));
    }

    /// Applies a revocation that this instance wrote itself.
    pub(super) fn apply_own(&self, record: &Record) {
        if record.version.0 == 0 {
            return;
        }
        let Record { target, state, version } = record.clone();
        let partition = target.id().partition(self.store.partitions());
        let entry = Entry { target, state, version };
        self.memory.apply(&entry);
        self.partitions.lock(partition).recent.push(&Arc::new(entry));
    }

    /// Begins a new epoch: the feed of `partition` can't be compared with that of before. The store is distrusted as
    /// well if `distrust`.
    pub(super) fn begin_epoch(&self, partition: u32, distrust: bool) {
        // Before anything else: see `head`.
        self.moments.doubt(partition, distrust);
        self.coverage.begin_epoch();
        self.metrics.epoch_changed();
    }

    /// Notes that memory of `partition` now holds everything that was acknowledged before `moment`.
    pub(super) fn mark_fresh(&self, partition: u32, moment: Instant) {
        self.moments.set(partition, moment);
        self.partitions.lock(partition).recent.fresh(moment);
        if self.moments.doubts(partition) {
            self.moments.believe(partition);
        }
        let age = self.moments.age(self.moments.read());
        if age.is_some() {
            self.readiness.set_caught_up();
        }
        if age.is_some_and(|age| age <= self.settings.bound) {
            self.moments.notify_fresh();
        }
    }

    /// Returns whether an entry that was appended at `moment`, in µs since 1970, is older than the feed's retention.
    pub(in crate::app) fn has_outlived(&self, moment: u64) -> bool {
        let kept = Duration::from_micros(moment).saturating_add(self.store.settings().retention());
        kept < self.store.unix_time()
    }
}

fn instance_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String =
        host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).take(64).collect();
    let host = if host.is_empty() { "host" } else { &host };
    // Without random numbers the process id must do.
    let random = getrandom::u32().unwrap_or_default() & 0xffff;
    format!("{host}-{}-{random:04x}", std::process::id())
}
