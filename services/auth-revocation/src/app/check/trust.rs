//! Trust in the store: whether its feed goes on from what memory holds, so that its answers can be believed.
//!
//! A store that was restarted empty, or failed over to a replica that lagged, answers at once, and has lost revocations
//! that it had acknowledged. So the store has to show that it still has the entry that memory applied last, in each
//! partition, before its word makes a token active.

use std::time::Instant;

use futures::future::try_join_all;
use tokio::sync::Mutex;

use crate::app::replica::{Position, Shared};
use crate::domain::Relation;
use crate::error::Error;
use crate::store::feed;

/// Last comparison of all partitions, shared by checks at the same time.
#[derive(Debug, Default)]
pub(super) struct StoreTrust {
    /// Moment at which the comparison began, and its result.
    last: Mutex<Option<(Instant, bool)>>,
}

// === impl StoreTrust ===

impl StoreTrust {
    /// Returns whether the store, when asked from now on, goes on from what memory holds in each partition. Callers at
    /// the same time share the comparison: of many, most wait for one that another has begun.
    pub(super) async fn continues(&self, shared: &Shared) -> Result<bool, Error> {
        let called = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((begun, continues)) = *last
            && begun >= called
        {
            return Ok(continues);
        }
        let begun = Instant::now();
        // An error is not shared: it may be this caller's deadline alone.
        let all = try_join_all((0..shared.store.partitions()).map(|partition| continues(shared, partition))).await?;
        let continues = all.into_iter().all(|continues| continues);
        *last = Some((begun, continues));
        Ok(continues)
    }
}

/// Returns whether the store goes on from what memory holds of one partition.
pub(super) async fn continues(shared: &Shared, partition: u32) -> Result<bool, Error> {
    let Position { link: last, id } = shared.partitions.position(partition);
    let head = shared.store.feed_head(partition).await?.link;
    if head == last || last.seq == 0 {
        return Ok(true);
    }
    if &*id == feed::START {
        // No entry is known to have that number, so none can be asked for.
        return Ok(false);
    }
    let view = shared.store.feed_view(partition, head, &id).await?;
    // A gap is memory's, not the store's: its records are all there.
    let outlived = shared.has_outlived(feed::moment(&id).unwrap_or(0));
    Ok(last.relation(&view, outlived) != Relation::Lost)
}
