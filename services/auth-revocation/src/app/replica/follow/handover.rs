//! Handover of revocations that the store has lost, and nobody could give back to it.
//!
//! An instance that sees the loss keeps its filters of before it in the store, unless another one that knew as much
//! did. The head names them. Each beat shows an instance that starts later, or was cut off before the loss, what it
//! lacks.

use super::doubt::{Doubt, Resync};
use super::follower::{Ended, Follower};
use super::retry::retried;
use crate::error::Error;
use crate::store::{FeedReader, HandoverNotice};

// === impl Follower ===

impl Follower {
    /// Takes over what memory lacks, if it was handed over. Else hands over what the store does not hold, if the store
    /// lost that once more before.
    pub(super) async fn exchange(&mut self, reader: &FeedReader) -> Result<(), Ended> {
        match reader.head().await?.handover {
            Some(handover) if self.lacks(&handover) => self.take_over(&handover).await,
            Some(handover) if handover.upto >= self.informed => Ok(()),
            _ => {
                self.hand_over().await;
                Ok(())
            }
        }
    }

    /// Hands over what memory holds of what the store lost, if it is anything. After a failure, instances that lack it
    /// go without until the next connection.
    pub(super) async fn hand_over(&self) {
        if let Err(error) = retried(|| self.keep_handover()).await {
            tracing::warn!(partition = self.partition, %error, "what the store lost could not be handed over");
        }
    }

    /// Takes over what was handed over. Then the feed has to be read anew.
    async fn take_over(&mut self, handover: &HandoverNotice) -> Result<(), Ended> {
        let (shared, partition) = (self.shared.clone(), self.partition);
        let bytes = shared.store.take_over(partition, handover).await?;
        // Memory lacks what the feed brought since, until that is read again.
        shared.begin_epoch(partition, false);
        let taken = bytes.is_some_and(|bytes| shared.memory.take_over(partition, &bytes));
        if taken {
            tracing::info!(partition, upto = %handover.upto, "took over what the store lost");
        } else {
            tracing::error!(partition, upto = %handover.upto, "what the store lost is not known here, and cannot be read");
        }
        self.informed = handover.upto;
        self.resync = self.complete.then(|| Resync::new(Doubt::Uninformed));
        Ok(())
    }

    async fn keep_handover(&self) -> Result<(), Error> {
        let (shared, partition, upto) = (&self.shared, self.partition, self.informed);
        let handover = shared.memory.hand_over(partition);
        let Some(handover) = handover.filter(|handover| handover.until > shared.store.now()) else { return Ok(()) };
        let giver = shared.coverage.epoch();
        let kept = shared.store.hand_over(partition, &giver, upto, &handover).await?;
        tracing::debug!(partition, %upto, kept, bytes = handover.bytes.len(), "what the store lost was handed over");
        Ok(())
    }
}
