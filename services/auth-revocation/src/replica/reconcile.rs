//! What happens when the feed does not go on from what was applied: it is read anew, and what it lost is given back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyplane_revocation::{Entry, RevocationId};
use keyplane_valkey::Dedicated;
use tokio::time::sleep;

use super::follow::{Ended, Follower, LOOK};
use super::shared::{Shared, wall};

/// How often it is tried to give entries back, before the feed is read once more.
const TRIES: u32 = 100;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// What is wrong with a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Entries are gone from it that memory has: memory is whole.
    Trimmed,
    /// It began anew, after everything that was applied had expired.
    Outlived,
    /// Entries are gone from it that memory does not have. The store's records are all there.
    Gap,
    /// The store lost entries that it had acknowledged: neither memory nor the store is believed until it is settled.
    Lost,
}

/// A feed that is to be read anew, or was.
#[derive(Debug)]
pub(super) struct Resync {
    doubt: Doubt,
    /// From when on it is settled; `None` until it was read.
    until: Option<Instant>,
    begun: bool,
}

// === impl Resync ===

impl Resync {
    pub(super) fn new(doubt: Doubt) -> Resync {
        Resync { doubt, until: None, begun: false }
    }

    /// Whether memory must not be believed yet.
    pub(super) fn is_unsettled(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }

    /// Whether the feed is still to be read.
    pub(super) fn is_open(&self) -> bool {
        self.until.is_none()
    }

    /// Whether memory and what is said of it were left alone so far.
    pub(super) fn is_placed(&self) -> bool {
        self.until.is_some() || (self.doubt == Doubt::Trimmed && !self.begun)
    }
}

// === impl Follower ===

impl Follower {
    /// Reads the feed anew and gives it back what it lost and memory holds: what changed within the last minute, and all
    /// cutoffs. Idempotent: instances that do it at the same time do no harm.
    pub(super) async fn reconcile(&mut self, connection: &Dedicated) -> Result<(), Ended> {
        let Some(resync) = &mut self.resync else { return Ok(()) };
        let doubt = resync.doubt;
        resync.begun = true;
        if doubt != Doubt::Trimmed {
            // Its numbers are others from here on.
            self.shared.begin_epoch(self.partition, doubt == Doubt::Lost);
        }
        let mut held = self.shared.held(self.partition);
        self.read_all(connection, |record| {
            let id = record.entry.target.id();
            if held.get(&id).is_some_and(|entry| entry.version <= record.entry.version) {
                held.remove(&id);
            }
        })
        .await?;
        let missing: Vec<Entry> = held.into_values().map(Arc::unwrap_or_clone).collect();
        let count = self.give_back(doubt, &missing).await?;
        self.shared.metrics.reappended(count);
        let settings = &self.shared.settings;
        let settle = match doubt {
            Doubt::Trimmed | Doubt::Outlived => Duration::ZERO,
            // The others must first notice it.
            Doubt::Gap => settings.settle + settings.beat * LOOK,
            Doubt::Lost => settings.settle,
        };
        let (partition, seq) = (self.partition, self.track.last().seq);
        tracing::warn!(partition, ?doubt, seq, given_back = count, "the feed was read anew");
        if let Some(resync) = &mut self.resync {
            resync.until = Some(Instant::now() + settle);
        }
        Ok(())
    }

    async fn give_back(&self, doubt: Doubt, missing: &[Entry]) -> Result<u64, Ended> {
        let (store, partition) = (&self.shared.store, self.partition);
        let mut tries = 0;
        loop {
            let given = match doubt {
                Doubt::Outlived | Doubt::Lost => store.merge(partition, missing).await,
                // The records are there: it is the feed that lacks them.
                Doubt::Trimmed | Doubt::Gap => store.refresh(partition, missing, Duration::ZERO).await,
            };
            tries += 1;
            match given {
                Ok(count) => return Ok(count),
                // The connections for scripts may take longer to come back than this one.
                Err(error) if error.is_retryable() && tries < TRIES => sleep(PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

// === impl Shared ===

impl Shared {
    /// What memory holds exactly of a partition.
    fn held(&self, partition: u32) -> HashMap<RevocationId, Arc<Entry>> {
        let partitions = self.store.partitions();
        let cutoffs = self.replica.persistent(wall()).into_iter().map(|entry| (entry.target.id(), Arc::new(entry)));
        let mut held: HashMap<_, _> = cutoffs.filter(|(id, _)| id.partition(partitions) == partition).collect();
        // What was undone is there as well, so that it stays so.
        let spot = self.spot(partition).lock();
        held.extend(spot.tail.entries().map(|(id, entry)| (*id, entry.clone())));
        held
    }
}
