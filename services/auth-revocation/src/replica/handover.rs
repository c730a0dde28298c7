//! Handover of revocations that the store has lost, and nobody could give back to it.
//!
//! An instance that sees the loss keeps its filters of before it in the store, unless another one that knew as much did. The
//! head names them: each beat of an instance that starts later, or was cut off before the loss, shows what it lacks.

use bytes::Bytes;
use keyplane_revocation::Version;
use keyplane_valkey::Dedicated;

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

    /// Takes over what memory lacks, if it was handed over; or hands over what the store does not hold, since it was lost
    /// again before anything else was.
    pub(super) async fn exchange(&mut self, connection: &Dedicated) -> Result<(), Ended> {
        let named = named(&connection.hmget(&self.head, &[Lost::FIELD]).await?);
        match named {
            Some(lost) if self.lacks(&lost) => self.take_over(&lost).await,
            Some(lost) if lost.upto >= self.informed => Ok(()),
            _ => {
                self.hand_over().await;
                Ok(())
            }
        }
    }

    /// Takes over what was handed over. Then the feed has to be read anew.
    async fn take_over(&mut self, lost: &Lost) -> Result<(), Ended> {
        let (shared, partition) = (self.shared.clone(), self.partition);
        let bytes = shared.store.take_over(partition, lost).await?;
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

/// Handover that the last of a head's fields names.
pub(super) fn named(fields: &[Option<Bytes>]) -> Option<Lost> {
    Lost::parse(fields.last()?.as_ref()?)
}
