//! What was applied last, exactly.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyplane_revocation::{Entry, RevocationId, Version};

/// Entries that are kept at most, some 200 bytes each.
const LENGTH: usize = 8192;

/// The last state of each target of a partition that changed lately: what can be given back to a store that lost it, and
/// what tells at once whether a token that a filter holds is revoked.
///
/// An entry ages only while the partition is fresh. However long a store is away, what it had acknowledged just before is
/// still there when it comes back without it.
#[derive(Debug)]
pub(super) struct Tail {
    entries: HashMap<RevocationId, Arc<Entry>>,
    /// Entries by the fresh time at which they came.
    order: VecDeque<(Duration, RevocationId, Version)>,
    clock: FreshTime,
    /// Fresh time for which an entry is kept.
    age: Duration,
}

/// Time for which a partition has been fresh. It stands still in between.
#[derive(Debug)]
struct FreshTime {
    passed: Duration,
    /// The last moment at which the partition was fresh.
    last: Option<Instant>,
    /// Two moments that are further apart have an outage between them.
    step: Duration,
}

// === impl Tail ===

impl Tail {
    /// An empty tail, which keeps entries for less than `age`, of a partition that is found to be fresh at least every `step`
    /// while it is.
    pub(super) fn new(age: Duration, step: Duration) -> Tail {
        let clock = FreshTime { passed: Duration::ZERO, last: None, step };
        Tail { entries: HashMap::new(), order: VecDeque::new(), clock, age }
    }

    /// Takes an entry in, unless a later one of the target is there.
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

    /// Notes that the partition was fresh at `moment`, and lets go of what is too old by the fresh time.
    pub(super) fn fresh(&mut self, moment: Instant) {
        self.clock.advance(moment);
        self.expire();
    }

    /// The last state of a target, if it is remembered.
    pub(super) fn get(&self, id: &RevocationId) -> Option<&Arc<Entry>> {
        self.entries.get(id)
    }

    /// All that is remembered, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&RevocationId, &Arc<Entry>)> {
        self.entries.iter()
    }

    fn expire(&mut self) {
        while self.order.front().is_some_and(|(came, _, _)| self.clock.passed.saturating_sub(*came) >= self.age) {
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
