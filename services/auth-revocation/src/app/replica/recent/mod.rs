//! Recent changes of a partition, held exactly.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyplane_revocation::{Entry, RevocationId, Version};

/// Most entries that are kept, some 200 bytes each.
const LENGTH: usize = 8192;

/// Last state of each target of a partition that changed lately. It can be given back to a store that lost it, and
/// shows at once whether a token that a filter holds is revoked.
///
/// An entry ages only while the partition is fresh. However long a store is unavailable, its last acknowledged changes
/// are still here when it comes back without them.
#[derive(Debug)]
pub(in crate::app) struct RecentChanges {
    entries: HashMap<RevocationId, Arc<Entry>>,
    /// Entries by the fresh time at which they were added.
    order: VecDeque<(Duration, RevocationId, Version)>,
    clock: FreshTime,
    /// Fresh time for which an entry is kept.
    age: Duration,
}

/// Time for which a partition has been fresh. It stands still in between.
#[derive(Debug)]
struct FreshTime {
    passed: Duration,
    /// Last moment at which the partition was fresh.
    last: Option<Instant>,
    /// Longest step between two moments; a longer one has an outage within it.
    step: Duration,
}

// === impl RecentChanges ===

impl RecentChanges {
    /// Empty changes. Entries are kept for less than `age`; a partition that stays fresh is marked so at least every
    /// `step`.
    pub(super) fn new(age: Duration, step: Duration) -> RecentChanges {
        let clock = FreshTime { passed: Duration::ZERO, last: None, step };
        RecentChanges { entries: HashMap::new(), order: VecDeque::new(), clock, age }
    }

    /// Adds an entry, unless a later one of its target is there.
    pub(super) fn push(&mut self, entry: &Arc<Entry>) {
        let id = entry.target.id();
        if self.entries.get(&id).is_some_and(|known| known.version >= entry.version) {
            return;
        }
        self.entries.insert(id, entry.clone());
        self.order.push_back((self.clock.passed, id, entry.version));
        while self.order.len() > LENGTH {
            self.drop_oldest();
        }
        self.expire();
    }

    /// Notes that the partition was fresh at `moment`, and drops entries that are too old by the fresh time.
    pub(super) fn fresh(&mut self, moment: Instant) {
        self.clock.advance(moment);
        self.expire();
    }

    /// Last state of a target, if it is kept.
    pub(in crate::app) fn get(&self, id: &RevocationId) -> Option<&Arc<Entry>> {
        self.entries.get(id)
    }

    /// Entries, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&RevocationId, &Arc<Entry>)> {
        self.entries.iter()
    }

    fn expire(&mut self) {
        while self.order.front().is_some_and(|(added, _, _)| self.clock.passed.saturating_sub(*added) >= self.age) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, id, version)) = self.order.pop_front()
            && self.entries.get(&id).is_some_and(|entry| entry.version == version)
        {
            self.entries.remove(&id);
        }
    }
}

// === impl FreshTime ===

impl FreshTime {
    fn advance(&mut self, moment: Instant) {
        let passed = self.last.map_or(Duration::ZERO, |last| moment.saturating_duration_since(last));
        self.passed += passed.min(self.step);
        self.last = self.last.max(Some(moment));
    }
}

#[cfg(test)]
mod tests;
