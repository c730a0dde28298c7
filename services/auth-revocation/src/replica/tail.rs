//! What was applied last, exactly.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyplane_revocation::{Entry, RevocationId, Version};

/// How long an entry is kept. Longer than it takes to notice that a store lost what it had acknowledged.
pub(super) const AGE: Duration = Duration::from_secs(60);
/// Entries that are kept at most, some 200 bytes each.
const LENGTH: usize = 8192;

/// The last state of each target that changed within the last minute: what can be given back to a store that lost it, and
/// what tells at once whether a token that a filter holds is revoked.
#[derive(Debug, Default)]
pub(super) struct Tail {
    entries: HashMap<RevocationId, Arc<Entry>>,
    order: VecDeque<(Instant, RevocationId, Version)>,
}

// === impl Tail ===

impl Tail {
    /// Takes an entry in that came at `now`, unless a later one of the target is there.
    pub(super) fn push(&mut self, now: Instant, entry: &Arc<Entry>) {
        let id = entry.target.id();
        if self.entries.get(&id).is_some_and(|known| known.version >= entry.version) {
            return;
        }
        self.entries.insert(id, entry.clone());
        self.order.push_back((now, id, entry.version));
        while self.order.len() > LENGTH {
            self.drop_oldest();
        }
        self.expire(now);
    }

    /// Lets go of what came more than a minute ago.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(came, _, _)| now.saturating_duration_since(*came) > AGE) {
            self.drop_oldest();
        }
    }

    /// The last state of a target, if it is remembered.
    pub(super) fn get(&self, id: &RevocationId) -> Option<&Arc<Entry>> {
        self.entries.get(id)
    }

    /// All that is remembered, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&RevocationId, &Arc<Entry>)> {
        self.entries.iter()
    }

    fn drop_oldest(&mut self) {
        if let Some((_, id, version)) = self.order.pop_front()
            && self.entries.get(&id).is_some_and(|entry| entry.version == version)
        {
            self.entries.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use keyplane_revocation::{Millis, Scope, State, Target};

    use super::*;

    fn entry(sid: usize, version: u64) -> Arc<Entry> {
        let target = Target { tenant: "acme".into(), scope: Scope::Session(sid.to_string().into()) };
        let state =
            State { undone: false, expires: Millis(i64::MAX), cutoff: None, token_expires: None, kept: Vec::new() };
        Arc::new(Entry { target, state, version: Version(version) })
    }

    #[test]
    fn the_last_version_is_kept_whatever_comes_first() {
        let (now, mut tail) = (Instant::now(), Tail::default());
        let id = entry(1, 1).target.id();
        for version in [2, 3, 1] {
            tail.push(now, &entry(1, version));
        }
        assert_eq!(tail.get(&id).map(|entry| entry.version), Some(Version(3)));
        assert_eq!(tail.entries().count(), 1);
    }

    #[test]
    fn an_entry_is_kept_for_a_minute_after_its_last_change() {
        let (now, mut tail) = (Instant::now(), Tail::default());
        let id = entry(1, 1).target.id();
        tail.push(now, &entry(1, 1));
        tail.push(now + AGE, &entry(1, 2));
        tail.expire(now + AGE + Duration::from_secs(1));
        assert!(tail.get(&id).is_some());
        tail.expire(now + 2 * AGE + Duration::from_secs(1));
        assert!(tail.get(&id).is_none() && tail.order.is_empty());
    }

    #[test]
    fn its_length_is_bounded() {
        let (now, mut tail) = (Instant::now(), Tail::default());
        for sid in 0..LENGTH + 10 {
            tail.push(now, &entry(sid, 1));
        }
        assert_eq!((tail.entries().count(), tail.order.len()), (LENGTH, LENGTH));
        assert!(tail.get(&entry(9, 1).target.id()).is_none() && tail.get(&entry(10, 1).target.id()).is_some());
    }
}
