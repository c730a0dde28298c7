//! Stream of a watch: reads the feed to its end, and then follows what memory applies.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use keyplane_revocation::{Entry, Rules, Sequence};
use keyplane_server::{Drain, WatchPermit};
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until};

use super::resume::{ResumePoint, ResumeToken, sequence};
use crate::app::replica::{Applied, Mirror};
use crate::error::Error;
use crate::store::Store;

/// Entries of one update.
const BATCH: usize = 256;
/// Entries of one read of the feed.
const PAGE: usize = 2048;
/// Silence after which an empty update is sent.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);
/// Shortest interval at which a watcher of one tenant learns the numbers of other tenants' entries.
const PROGRESS: Duration = Duration::from_millis(20);

/// Changes of memory.
pub(super) struct Subscription {
    epoch: Arc<str>,
    epochs: watch::Receiver<Arc<str>>,
    changes: broadcast::Receiver<Applied>,
}

/// Open watch.
pub(crate) struct Watch {
    pub(super) store: Store,
    /// Tenant whose entries are sent; `None` for all.
    pub(super) tenant: Option<Box<str>>,
    pub(super) subscription: Subscription,
    /// Sequence of memory when the watch subscribed: the feed holds all of it that is not forgotten.
    pub(super) begun: Sequence,
    /// Position that was sent of each partition.
    pub(super) points: Vec<ResumePoint>,
    /// Partition whose feed is being read; past the last one, memory is followed.
    pub(super) reading: u32,
    /// Set once the caller's replica is complete: it came with the token of a complete one, or the snapshot was sent.
    pub(super) complete: bool,
    /// Updates that are ready.
    pub(super) ready: VecDeque<Update>,
    /// Entries of the next update.
    pub(super) entries: Vec<Arc<Entry>>,
    /// Moment at which an update is sent, even an empty one.
    pub(super) due: Instant,
    pub(super) sent_at: Instant,
    /// Rules that go with the first update.
    pub(super) rules: Option<Rules>,
    pub(super) drain: Drain,
    pub(super) _permit: WatchPermit,
}

/// Update of a watcher.
pub(crate) struct Update {
    pub(crate) entries: Vec<Arc<Entry>>,
    /// Sequence that the watcher holds after this update; `None` before its replica is complete.
    pub(crate) sequence: Option<Sequence>,
    pub(crate) epoch: Arc<str>,
    pub(crate) resume_token: String,
    /// Rules that tokens must keep; with the first update alone.
    pub(crate) rules: Option<Rules>,
}

// === impl Subscription ===

impl Subscription {
    /// Subscribes to everything that `mirror` applies from now on.
    pub(super) fn to(mirror: &Mirror) -> Subscription {
        let mut epochs = mirror.epochs();
        let epoch = epochs.borrow_and_update().clone();
        let changes = mirror.subscribe();
        Subscription { epoch, epochs, changes }
    }
}

// === impl Watch ===

impl Watch {
    /// Waits for the next update. An error ends the watch. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Update, Error> {
        loop {
            if self.drain.is_started() {
                return Err(Error::ShuttingDown);
            }
            // Entries of a feed that has broken since may lack those before them.
            if self.subscription.epochs.has_changed().unwrap_or(true) {
                return Err(Error::FeedRestarted);
            }
            if let Some(update) = self.ready.pop_front() {
                self.sent_at = Instant::now();
                self.due = self.sent_at + HEARTBEAT;
                return Ok(update);
            }
            if (self.reading as usize) < self.points.len() {
                self.read_page().await?;
            } else {
                self.follow().await?;
            }
        }
    }

    /// Reads a page of the feed, and moves on to the next partition at the end of one.
    pub(super) async fn read_page(&mut self) -> Result<(), Error> {
        let partition = self.reading;
        let after = self.points.get(partition as usize).and_then(|point| point.at.clone());
        let after = after.as_ref().map(|(id, _)| &**id);
        let page = self.store.feed_page(partition, after, PAGE as u64).await?;
        let ended = page.len() < PAGE;
        let last = page.last().map(|last| (Arc::from(last.id.as_str()), last.seq));
        for record in page {
            if self.is_watched(&record.entry.target.tenant) {
                if self.entries.len() == BATCH {
                    // Still at the page's start: a watcher that resumes here gets some entries again, which changes
                    // nothing.
                    self.push();
                }
                self.entries.push(record.entry);
            }
        }
        if let (Some(point), Some((id, seq))) = (self.points.get_mut(partition as usize), last) {
            *point = ResumePoint { at: Some((id, seq)), seq };
        }
        if ended {
            if let Some(point) = self.points.get_mut(partition as usize) {
                point.seq = point.seq.max(self.begun.get(partition));
            }
            self.reading += 1;
            self.complete |= self.reading as usize == self.points.len();
        }
        // The first update and the one that completes the snapshot are always sent.
        let complete = self.reading as usize == self.points.len();
        if !self.entries.is_empty() || self.rules.is_some() || complete || Instant::now() >= self.due {
            self.push();
        }
        Ok(())
    }

    /// Waits for what memory applies, for the next heartbeat, or for the end.
    async fn follow(&mut self) -> Result<(), Error> {
        tokio::select! {
            biased;
            () = self.drain.started() => return Err(Error::ShuttingDown),
            _ = self.subscription.epochs.changed() => return Err(Error::FeedRestarted),
            () = sleep_until(self.due) => {}
            applied = self.subscription.changes.recv() => match applied {
                Ok(applied) => self.add(applied)?,
                // The watcher reads too slowly, or memory is dropped.
                Err(broadcast::error::RecvError::Lagged(_) | broadcast::error::RecvError::Closed) => {
                    return Err(Error::FeedRestarted);
                }
            },
        }
        for _ in 0..PAGE {
            if self.entries.len() == BATCH {
                break;
            }
            match self.subscription.changes.try_recv() {
                Ok(applied) => self.add(applied)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Lagged(_) | TryRecvError::Closed) => return Err(Error::FeedRestarted),
            }
        }
        if !self.entries.is_empty() || Instant::now() >= self.due {
            self.push();
        }
        Ok(())
    }

    /// Adds an entry that memory has applied.
    fn add(&mut self, applied: Applied) -> Result<(), Error> {
        let Some(point) = self.points.get_mut(applied.partition as usize) else { return Err(Error::FeedRestarted) };
        if applied.seq <= point.seq {
            return Ok(());
        }
        if applied.seq != point.seq + 1 {
            return Err(Error::FeedRestarted);
        }
        *point = ResumePoint { at: Some((applied.id, applied.seq)), seq: applied.seq };
        if self.is_watched(&applied.entry.target.tenant) {
            self.entries.push(applied.entry);
        } else {
            self.due = self.due.min(self.sent_at + PROGRESS);
        }
        Ok(())
    }

    fn is_watched(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|watched| watched == tenant)
    }

    /// Makes an update of the entries that wait.
    fn push(&mut self) {
        self.ready.push_back(Update {
            entries: std::mem::take(&mut self.entries),
            sequence: self.complete.then(|| sequence(&self.points)),
            epoch: self.subscription.epoch.clone(),
            resume_token: ResumeToken::encode(self.complete, &self.points, self.tenant.as_deref()),
            rules: self.rules.take(),
        });
    }
}
