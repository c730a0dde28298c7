//! Follower of one partition, and the reasons to connect again.

use std::sync::Arc;

use keyplane_revocation::{Millis, Version};

use super::doubt::{Doubt, Resync};
use super::track::Track;
use crate::app::replica::partitions::Position;
use crate::app::replica::shared::Shared;
use crate::domain::{Link, Step};
use crate::error::Error;
use crate::store::HandoverNotice;
use crate::store::feed::FeedRecord;

/// Entries of one read.
pub(super) const PAGE: u64 = 1000;
/// Beats between two looks at the first entry of the stream.
pub(super) const LOOK: u32 = 30;

/// Follower of one partition.
pub(super) struct Follower {
    pub(super) shared: Arc<Shared>,
    pub(super) partition: u32,
    pub(super) track: Track,
    /// Set once the feed was read from its start to its end.
    pub(super) complete: bool,
    /// Id of the stream's first entry when it was last read.
    pub(super) first: Option<String>,
    /// Moment at which the last of its entries expires, and the stream with it.
    pub(super) expires: Millis,
    /// Reading anew that is due, or done and not settled: memory is in doubt.
    pub(super) resync: Option<Resync>,
    /// Version up to which memory knew everything when the store lost something, or took over from an instance that
    /// did.
    pub(super) informed: Version,
    /// Handover that the last beat showed.
    pub(super) handover: Option<HandoverNotice>,
}

/// Reason to give up the connections.
#[derive(Debug)]
pub(super) enum Ended {
    /// Error of the store, or damaged data in it.
    Failed(Error),
    /// Silence: no answer in time.
    Silent,
    /// Break: the feed does not, or seems not to, go on from the entry that was applied last.
    Break,
    /// Loss of entries that the feed should still have.
    Trimmed,
    /// Handover by another instance of revocations that the store has lost, and this instance never knew.
    Uninformed,
}

// === impl Follower ===

impl Follower {
    pub(super) fn new(shared: Arc<Shared>, partition: u32) -> Follower {
        Follower {
            shared,
            partition,
            track: Track::new(Link::default()),
            complete: false,
            first: None,
            expires: Millis(i64::MIN),
            resync: None,
            informed: Version(0),
            handover: None,
        }
    }

    pub(super) fn position(&self) -> Position {
        self.shared.partitions.position(self.partition)
    }

    /// Returns whether a handover has revocations that memory never knew.
    pub(super) fn lacks(&self, handover: &HandoverNotice) -> bool {
        handover.upto > self.informed && handover.until > self.shared.store.now()
    }

    /// Returns whether memory must not be believed yet.
    pub(super) fn is_unsettled(&self) -> bool {
        self.resync.as_ref().is_some_and(Resync::is_unsettled)
    }

    /// Applies entries, if they go on from the last one.
    pub(super) fn apply(&mut self, records: Vec<FeedRecord>) -> Result<(), Ended> {
        let mut next = Vec::with_capacity(records.len());
        let mut result = Ok(());
        for record in records {
            match record.step_from(self.track.last()) {
                Step::Next => {
                    self.note(&record);
                    next.push(record);
                }
                Step::Known => {}
                Step::Break => {
                    // Entries before the break are complete.
                    result = Err(Ended::Break);
                    break;
                }
            }
        }
        self.shared.apply(self.partition, next, true);
        result
    }

    /// Notes that an entry is applied, and what it shows of the stream.
    pub(super) fn note(&mut self, record: &FeedRecord) {
        self.track.applied(record.link());
        self.first.get_or_insert_with(|| record.id.clone());
        self.expires = self.expires.max(record.entry.state.expires);
    }

    /// Logs why the connections were given up, and notes what the next ones have to do.
    pub(super) fn ended(&mut self, ended: &Ended) {
        let partition = self.partition;
        match ended {
            Ended::Failed(error) => tracing::debug!(partition, %error, "the feed cannot be followed, trying again"),
            Ended::Silent => tracing::debug!(partition, "the store does not answer, connecting again"),
            Ended::Break => {
                tracing::warn!(partition, "the feed does not go on from what was applied, finding out why");
            }
            Ended::Trimmed => {
                tracing::warn!(partition, "the feed has lost entries that it should still have, giving them back");
                self.resync = Some(Resync::new(Doubt::Trimmed));
            }
            Ended::Uninformed => {
                tracing::info!(partition, "another instance knows what the store lost, taking it over")
            }
        }
    }
}

// === impl Ended ===

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        Ended::Failed(error)
    }
}
