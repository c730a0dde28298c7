//! Settings of the replica and of checks.

use std::time::Duration;

use keyplane_revocation::{Filters, Rules};

use crate::domain::{AfterLoss, OutagePolicy};

/// Settings of the replica and of the checks that it answers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Greatest age of memory that an answer may rest on; default 100 ms. Longer than `beat` and a few round trips,
    /// else every check asks the store.
    pub bound: Duration,
    /// Time between two reads of the head of a partition's feed; default 33 ms. The age of memory is at most this, a
    /// round trip, and the scheduler's delay. Each partition costs one small read for each beat.
    pub beat: Duration,
    /// Longest wait of a check for the store; default 100 ms. A shorter deadline of the caller holds as well.
    pub ask: Duration,
    /// Policy while neither memory nor the store can tell; a check may bring its own.
    pub policy: OutagePolicy,
    /// Answer about tokens whose revocation the store may have lost.
    pub after_loss: AfterLoss,
    /// Rules that every token must keep.
    pub rules: Rules,
    /// Shape of the filters that hold revoked tokens.
    pub filters: Filters,
    /// Time for which an instance counts as live after its last report; default 3 s. It reports each advance, at most
    /// every 20 ms, and at least every second.
    pub lease: Duration,
    /// Time for the other instances to give back and hand over what they hold, after the store lost entries; default 2
    /// s. Meanwhile neither memory nor the store is believed. Longer than the others need to connect again (a second
    /// for one attempt, and 0.6 s until the next), to see the loss, and to hand over.
    pub settle: Duration,
    /// Time for which a change can be given back to a store that lost it, counted while the partition is fresh; default
    /// 60 s. Longer than it takes to notice the loss. At most 8192 changes of a partition are kept, some 200 bytes
    /// each.
    pub tail: Duration,
    /// Time between two rounds of forgetting expired entries; default 1 min.
    pub prune: Duration,
    /// Entries that a subscriber may be behind before it misses some; default 8192.
    pub backlog: usize,
}

// === impl Settings ===

impl Settings {
    /// Defaults of everything but the rules and the filters.
    #[must_use]
    pub fn new(rules: Rules, filters: Filters) -> Settings {
        Settings {
            bound: Duration::from_millis(100),
            beat: Duration::from_millis(33),
            ask: Duration::from_millis(100),
            policy: OutagePolicy::Closed,
            after_loss: AfterLoss::Refuse,
            rules,
            filters,
            lease: Duration::from_secs(3),
            settle: Duration::from_secs(2),
            tail: Duration::from_secs(60),
            prune: Duration::from_mins(1),
            backlog: 8192,
        }
    }
}
