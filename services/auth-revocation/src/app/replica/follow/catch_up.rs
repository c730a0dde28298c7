//! Catching up after a new connection: compares the feed with what was applied, and reads it to its end.

use super::doubt::{Doubt, Resync};
use super::follower::{Ended, Follower};
use crate::domain::Relation;
use crate::store::FeedReader;
use crate::store::feed;

// === impl Follower ===

impl Follower {
    /// Finds the relation of the feed to what was applied, and reads the feed to its end. One connection serves all
    /// reads, so that one node answers them.
    pub(super) async fn catch_up(&mut self, reader: &FeedReader) -> Result<(), Ended> {
        if self.complete && self.resync.as_ref().is_none_or(Resync::has_position) {
            let doubt = match Box::pin(self.relation(reader)).await? {
                Relation::Continues => None,
                Relation::Outlived => Some(Doubt::Outlived),
                Relation::Gap => Some(Doubt::Gap),
                Relation::Lost => Some(Doubt::Lost),
            };
            // Memory that was in doubt before the loss may lack what others knew.
            if doubt == Some(Doubt::Lost) && self.resync.is_none() {
                self.informed = self.informed.max(self.shared.partitions.lock(self.partition).newest);
            }
            self.resync = doubt.map(Resync::new).or_else(|| self.resync.take());
        }
        // After a loss, the others are left time to hand over what they know.
        if !self.is_unsettled() {
            self.exchange(reader).await?;
        }
        if self.resync.as_ref().is_some_and(Resync::is_open) {
            self.reconcile(reader).await?;
        } else if self.complete {
            match self.read_on(reader).await {
                // The chain is broken further on, so that the missing entries can't be known.
                Err(Ended::Break) => self.bridge(reader).await?,
                read => read?,
            }
        } else if !self.read_all(reader, |_| {}).await? {
            self.bridge(reader).await?;
        }
        self.complete = true;
        Ok(())
    }

    /// Reads over a break within the feed.
    async fn bridge(&mut self, reader: &FeedReader) -> Result<(), Ended> {
        self.resync = Some(Resync::new(Doubt::Gap));
        self.reconcile(reader).await
    }

    async fn relation(&self, reader: &FeedReader) -> Result<Relation, Ended> {
        let position = self.position();
        let view = reader.view(&position.id).await?;
        let outlived = self.shared.has_outlived(feed::moment(&position.id).unwrap_or(0));
        let relation = position.link.relation(&view, outlived);
        if relation != Relation::Continues {
            let (partition, last) = (self.partition, position.link);
            tracing::warn!(partition, ?last, ?view, ?relation, "the feed is not as it was left");
        }
        Ok(relation)
    }
}
