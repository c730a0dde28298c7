//! What instances tell each other of revocations that the store has lost, and nobody could give back to it.
//!
//! Whoever sees the loss keeps its filters, of before it, in the store, unless one that knew as much did. The head names
//! them, so that every beat of an instance that starts later, or was cut off before the loss, shows it what it lacks.

use keyplane_revocation::Version;

use super::follow::{Ended, Follower};
use super::reconcile::{Doubt, Resync};
use super::shared::Shared;
use crate::error::Error;
use crate::store::lost::Lost;

// === impl Follower ===

impl Follower {
    /// Whether what was handed over tells of revocations that memory never knew.
    pub(super) fn lacks(&self, lost: &Lost) -> bool {
        lost.upto > self.informed && lost.until > self.shared.store.now()
    }

    /// Takes over what memory lacks, if it was handed over. Then the feed has to be read anew.
    pub(super) async fn take_over(&mut self) -> Result<(), Ended> {
        let (shared, partition) = (self.shared.clone(), self.partition);
        let Some(lost) = shared.store.handed_over(partition).await?.filter(|lost| self.lacks(lost)) else {
            return Ok(());
        };
        let bytes = shared.store.take_over(partition, &lost).await?;
        // Memory lacks what the feed told since, until that is read again.
        shared.begin_epoch(partition, false);
        let taken = bytes.is_some_and(|bytes| shared.replica.take_over(partition, &bytes));
        if taken {
            tracing::info!(partition, upto = %lost.upto, "took over what the store lost");
        } else {
            tracing::error!(partition, upto = %lost.upto, "what the store lost is not known here, and can't be read");
        }
        self.informed = lost.upto;
        self.resync = self.whole.then(|| Resync::new(Doubt::Uninformed));
        Ok(())
    }
}

// === impl Shared ===

impl Shared {
    /// Hands over what memory, which knew all up to a version, holds of what the store lost.
    pub(super) async fn hand_over(&self, partition: u32, upto: Version) -> Result<(), Error> {
        let Some(handover) = self.replica.hand_over(partition).filter(|handover| handover.until > self.store.now())
        else {
            return Ok(());
        };
        let giver = self.covered.read().epoch.clone();
        let kept = self.store.hand_over(partition, &giver, upto, &handover).await?;
        tracing::debug!(partition, %upto, kept, bytes = handover.bytes.len(), "what the store lost was handed over");
        Ok(())
    }
}
