//! Doubts about a feed, and the reading anew that settles them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use keyplane_revocation::{Entry, RevocationId};

use crate::app::replica::shared::Shared;

/// Fault of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Loss of entries that memory has: memory is complete.
    Trimmed,
    /// New start, after everything that was applied had expired.
    Outlived,
    /// Handover: the feed is intact, but memory lacked what the store had lost before, and took it over.
    Uninformed,
    /// Loss of entries that memory does not have. The store's records are all there.
    Gap,
    /// Loss of acknowledged entries by the store: neither memory nor the store is believed until it is settled.
    Lost,
}

/// Reading anew of a feed, due or done.
#[derive(Debug)]
pub(super) struct Resync {
    pub(super) doubt: Doubt,
    /// Moment from which it is settled; `None` until the feed was read.
    pub(super) until: Option<Instant>,
    /// Memory when the doubt arose; `None` before the feed is first read for it.
    pub(super) before: Option<Before>,
}

/// Memory of a partition, before its feed was read anew.
#[derive(Clone, Debug)]
pub(super) struct Before {
    /// Entries that are held exactly.
    pub(super) exact: HashMap<RevocationId, Arc<Entry>>,
    /// Number of revoked tokens in its filters.
    pub(super) tokens: usize,
}

// === impl Resync ===

impl Resync {
    pub(super) fn new(doubt: Doubt) -> Resync {
        Resync { doubt, until: None, before: None }
    }

    /// Returns whether memory must not be believed yet.
    pub(super) fn is_unsettled(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }

    /// Returns whether the feed is still to be read.
    pub(super) fn is_open(&self) -> bool {
        self.until.is_none()
    }

    /// Returns whether memory's position is that of the feed: the feed was read anew, or memory was left alone so far.
    pub(super) fn has_position(&self) -> bool {
        self.until.is_some() || (self.doubt == Doubt::Trimmed && self.before.is_none())
    }
}

// === impl Before ===

impl Before {
    /// Copies the memory of a partition.
    pub(super) fn copy(shared: &Shared, partition: u32) -> Before {
        let partitions = shared.store.partitions();
        let cutoffs = shared.memory.persistent(shared.store.now()).into_iter();
        let cutoffs = cutoffs.map(|entry| (entry.target.id(), Arc::new(entry)));
        let mut exact: HashMap<_, _> = cutoffs.filter(|(id, _)| id.partition(partitions) == partition).collect();
        // Undone revocations are among the recent changes, so that they stay undone.
        let progress = shared.partitions.lock(partition);
        exact.extend(progress.recent.entries().map(|(id, entry)| (*id, entry.clone())));
        Before { exact, tokens: shared.memory.revoked_tokens(partition) }
    }
}
