//! What the tasks of a replica and its readers share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use keyplane_revocation::{Answer, Claims, Entry, Millis, Replica, RevocationId, Rule, Sequence, Version};
use keyplane_valkey::Valkey;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, OnceCell, broadcast, watch};

use super::chain::Link;
use super::freshness::Moments;
use super::metrics::Metrics;
use super::pulse::Pulse;
use super::tail::Tail;
use super::{Applied, Head, Settings};
use crate::domain::{AfterLoss, Record};
use crate::error::Error;
use crate::store::Store;
use crate::store::feed::{self, FeedRecord};

/// Longest delay of a beat of a partition that stays fresh.
const BEAT_LATE: Duration = Duration::from_secs(1);

/// The id before every other of a stream.
pub(super) const START: &str = "0-0";

pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) instance: String,
    pub(super) valkey: Valkey,
    pub(super) store: Store,
    pub(super) replica: Replica,
    pub(super) moments: Moments,
    /// Rings when memory is young enough to answer, for checks that wait for it.
    pub(super) freshened: Notify,
    pub(super) pulse: Pulse,
    pub(super) covered: RwLock<Covered>,
    pub(super) spots: Box<[Mutex<Spot>]>,
    pub(super) changes: broadcast::Sender<Applied>,
    pub(super) epochs: watch::Sender<Arc<str>>,
    /// Whether memory has caught up once.
    pub(super) whole: watch::Sender<bool>,
    /// Whether the others know of it, too.
    pub(super) ready: watch::Sender<bool>,
    /// That something was applied, for the lease.
    pub(super) progress: Notify,
    pub(super) metrics: Metrics,
    /// Whether the store was found to hold this program's layout.
    pub(super) checked: OnceCell<()>,
    /// When the store's history was last held against memory's, and what came of it.
    pub(super) witnessed: tokio::sync::Mutex<Option<(Instant, bool)>>,
    /// Whether this instance has taken its leave of the others.
    pub(super) left: AtomicBool,
    /// Whether this machine's clock is off by more than clocks may differ.
    pub(super) off: AtomicBool,
}

/// What was applied, as the outside is told.
pub(super) struct Covered {
    pub(super) sequence: Sequence,
    /// The same, encoded: made once for many answers.
    pub(super) text: Arc<str>,
    pub(super) epoch: Arc<str>,
    epochs: u64,
}

/// Where a partition is.
#[derive(Debug)]
pub(super) struct Spot {
    /// The entry that was applied last.
    pub(super) last: Link,
    /// Its id, or [`START`] where no entry is known to have that place.
    pub(super) id: Arc<str>,
    /// The highest version that was applied.
    pub(super) newest: Version,
    pub(super) tail: Tail,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(valkey: Valkey, store: Store, settings: Settings) -> Shared {
        let instance = instance_name();
        let partitions = store.partitions();
        let sequence = Sequence::new(partitions);
        let epoch: Arc<str> = epoch_name(&instance, 0);
        let covered = Covered { text: sequence.encode().into(), sequence, epoch: epoch.clone(), epochs: 0 };
        Shared {
            replica: Replica::partitioned(settings.rules, settings.filters, partitions),
            moments: Moments::new(partitions),
            freshened: Notify::new(),
            pulse: Pulse::new(Instant::now(), settings.bound),
            covered: RwLock::new(covered),
            spots: (0..partitions).map(|_| Mutex::new(Spot::new(&settings))).collect(),
            changes: broadcast::Sender::new(settings.backlog.max(1)),
            epochs: watch::Sender::new(epoch),
            whole: watch::Sender::new(false),
            ready: watch::Sender::new(false),
            progress: Notify::new(),
            metrics: Metrics::new(),
            checked: OnceCell::new(),
            witnessed: tokio::sync::Mutex::new(None),
            left: AtomicBool::new(false),
            off: AtomicBool::new(false),
            settings,
            instance,
            valkey,
            store,
        }
    }

    pub(super) fn head(&self) -> Head {
        let reading = self.moments.read();
        let (sequence, epoch) = {
            let covered = self.covered.read();
            (covered.text.clone(), covered.epoch.clone())
        };
        // A new epoch is preceded by a doubt, so that its sequence never goes with the age of the one before.
        Head { sequence, epoch, age: self.moments.age(reading) }
    }

    pub(super) fn sequence(&self) -> Sequence {
        self.covered.read().sequence.clone()
    }

    pub(super) fn spot(&self, partition: u32) -> &Mutex<Spot> {
        &self.spots[partition as usize]
    }

    /// Takes in entries of a partition's feed, in their order; `live` ones are measured and told to subscribers.
    pub(super) fn apply(&self, partition: u32, records: Vec<FeedRecord>, live: bool) {
        let wall = self.store.since_1970();
        let Some(last) = records.last().map(|record| (record.seq, nonce(&record.nonce))) else { return };
        let told = live && self.changes.receiver_count() > 0;
        let recent = u64::try_from(wall.saturating_sub(self.settings.tail).as_micros()).unwrap_or(0);
        let mut spot = self.spot(partition).lock();
        for record in records {
            let FeedRecord { id, seq, entry, .. } = record;
            self.replica.apply(&entry);
            let moment = entry.version.0;
            spot.newest = spot.newest.max(entry.version);
            let entry = Arc::new(entry);
            if live || moment >= recent {
                spot.tail.push(&entry);
            }
            let id: Arc<str> = id.into();
            // Not of one that was appended again: its moment is long ago.
            if live && micros(&id) == Some(moment) {
                self.metrics.propagated(wall.saturating_sub(Duration::from_micros(moment)));
            }
            if told {
                // No subscriber is no error.
                let _ = self.changes.send(Applied { partition, seq, id: id.clone(), entry });
            }
            spot.id = id;
        }
        spot.last = Link { seq: last.0, nonce: last.1 };
        drop(spot);
        self.publish(partition, last.0);
    }

    /// Places a partition at `last` without an entry, where the store says that it is.
    pub(super) fn place(&self, partition: u32, last: Link, id: Arc<str>) {
        let mut spot = self.spot(partition).lock();
        (spot.last, spot.id) = (last, id);
        drop(spot);
        self.publish(partition, last.seq);
    }

    /// Takes in what this instance wrote itself.
    pub(super) fn apply_own(&self, record: &Record) {
        if record.version.0 == 0 {
            return;
        }
        let Record { target, state, version } = record.clone();
        let partition = target.id().partition(self.store.partitions());
        let entry = Entry { target, state, version };
        self.replica.apply(&entry);
        self.spot(partition).lock().tail.push(&Arc::new(entry));
    }

    /// Tells the outside how far a partition is.
    fn publish(&self, partition: u32, seq: u64) {
        let mut covered = self.covered.write();
        // While nothing is doubted, what was applied stays so, also while the feed is read once more.
        if seq < covered.sequence.get(partition) && !self.moments.doubts(partition) {
            return;
        }
        covered.sequence.set(partition, seq);
        covered.text = covered.sequence.encode().into();
        drop(covered);
        self.progress.notify_one();
    }

    /// Begins a new epoch: `partition` can't be compared with what was before.
    pub(super) fn begin_epoch(&self, partition: u32, distrust: bool) {
        // Before anything else: see `head`.
        self.moments.doubt(partition, distrust);
        let epoch = {
            let mut covered = self.covered.write();
            covered.epochs += 1;
            covered.epoch = epoch_name(&self.instance, covered.epochs);
            covered.epoch.clone()
        };
        self.epochs.send_replace(epoch);
        self.metrics.epoch_changed();
    }

    /// Notes that memory of `partition` now holds everything that was acknowledged before `moment`.
    pub(super) fn fresh(&self, partition: u32, moment: Instant) {
        self.moments.set(partition, moment);
        self.spot(partition).lock().tail.fresh(moment);
        if self.moments.doubts(partition) {
            self.moments.believe(partition);
        }
        let age = self.moments.age(self.moments.read());
        if !*self.whole.borrow() && age.is_some() {
            self.whole.send_replace(true);
        }
        if age.is_some_and(|age| age <= self.settings.bound) {
            self.freshened.notify_waiters();
        }
    }

    /// Makes a suspect certain, if it was revoked or taken back lately, and that holds `now`.
    pub(super) fn recall_token(&self, claims: &Claims<'_>, answer: Answer, now: Millis) -> Answer {
        let Answer::Suspect(token) = answer else { return answer };
        let id = RevocationId::from(token);
        match self.spot(id.partition(self.store.partitions())).lock().tail.get(&id) {
            Some(entry) if entry.state.undone => self.replica.cleared(claims, now),
            Some(entry) if entry.state.holds(now) => Answer::Revoked { rule: Rule::Token, revocation: Some(id) },
            Some(_) | None => answer,
        }
    }

    /// Answer about a token that the store, which is believed, does not hold to be revoked.
    pub(super) fn unless_lost(&self, claims: &Claims<'_>) -> Answer {
        let refuses = self.settings.after_loss == AfterLoss::Refuse && self.replica.may_be_lost(claims);
        let Some(token) = claims.token().filter(|_| refuses) else { return Answer::Active };
        self.metrics.refused_after_loss();
        Answer::Revoked { rule: Rule::Lost, revocation: Some(token.into()) }
    }

    /// Whether the feed need not have an entry with this id any more, since it is older than the feed remembers.
    pub(super) fn outlived(&self, id: &str) -> bool {
        let kept = Duration::from_micros(micros(id).unwrap_or(0)).saturating_add(self.store.settings().retention());
        kept < self.store.since_1970()
    }

    pub(super) async fn feed_page(
        &self,
        partition: u32,
        after: Option<&str>,
        count: u64,
    ) -> Result<Vec<FeedRecord>, Error> {
        let from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let page = self.valkey.xrange(&self.store.feed_key(partition), &from, "+", count).await?;
        page.iter().map(feed::decode).collect()
    }
}

// === impl Spot ===

impl Spot {
    fn new(settings: &Settings) -> Spot {
        let tail = Tail::new(settings.tail, settings.beat + BEAT_LATE);
        Spot { last: Link::default(), id: START.into(), newest: Version(0), tail }
    }
}

/// A nonce as a number; 0 for the empty one of before the first entry. Nonces are 16 hex digits; any other text, which the
/// service does not write, is a number that no nonce is likely to be.
pub(super) fn nonce(text: &str) -> u64 {
    if text.is_empty() { 0 } else { u64::from_str_radix(text, 16).unwrap_or(u64::MAX) }
}

/// The moment in the id of an entry, in µs.
fn micros(id: &str) -> Option<u64> {
    let (millis, rest) = id.split_once('-')?;
    millis.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(rest.parse().ok()?)
}

fn epoch_name(instance: &str, count: u64) -> Arc<str> {
    format!("{instance}.{count}").into()
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
