//! What an operator sets about the replica.

use std::time::Duration;

use keyplane_revocation::{Filters, Rules};

use crate::domain::{AfterLoss, OutagePolicy};

/// How the replica follows the feed, and when it may answer.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The oldest knowledge that an answer from memory may rest on; default 100 ms. A longer one than `beat` and a few
    /// round trips, else every check asks the store.
    pub bound: Duration,
    /// Between two questions for the head of a partition's feed; default 33 ms. The age of what is known is at most this,
    /// a round trip, and what the system's scheduler adds. Each partition costs one small read for each beat.
    pub beat: Duration,
    /// How long a check waits for the store; default 100 ms. A caller's deadline that leaves less holds as well.
    pub ask: Duration,
    /// What is answered when neither memory nor the store can tell; a check may bring its own.
    pub policy: OutagePolicy,
    /// Answer about tokens whose revocation the store may have lost.
    pub after_loss: AfterLoss,
    /// What every token must keep to.
    pub rules: Rules,
    /// The shape of the filters that hold revoked tokens.
    pub filters: Filters,
    /// For how long an instance counts as live after it last told where it is; default 3 s. It tells each time that it
    /// went on, at most every 20 ms, and at least every second.
    pub lease: Duration,
    /// Time for which a partition is left to the other instances to give back and hand over what they hold, after the store had lost
    /// entries; default 2 s. Meanwhile neither memory nor the store is believed. Longer than it takes the others to connect
    /// again (a second for one attempt, and 0.6 s until the next), to see the loss, and to hand over: an instance that was cut
    /// off before the loss does not know what they know.
    pub settle: Duration,
    /// Time for which a change can be given back to a store that lost it, counted while the partition is fresh; default 60 s.
    /// Longer than it takes to notice the loss. At most 8192 changes of a partition are kept, some 200 bytes each.
    pub tail: Duration,
    /// Between two rounds of forgetting what has expired; default 1 min.
    pub prune: Duration,
    /// Entries that a subscriber may be behind before it misses some; default 8192.
    pub backlog: usize,
}

// === impl Settings ===

impl Settings {
    /// The defaults of everything but the rules and the filters.
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
