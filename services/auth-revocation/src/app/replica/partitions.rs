//! Position of each partition in its feed, and its recent changes.

use std::sync::Arc;
use std::time::Duration;

use keyplane_revocation::Version;
use parking_lot::{Mutex, MutexGuard};

use super::Settings;
use super::recent::RecentChanges;
use crate::domain::Link;
use crate::store::feed::START;

/// Longest delay of a beat of a partition that stays fresh.
const BEAT_LATE: Duration = Duration::from_secs(1);

/// Partitions, each under a lock of its own.
pub(in crate::app) struct Partitions(Box<[Mutex<Partition>]>);

/// Progress in one partition.
#[derive(Debug)]
pub(in crate::app) struct Partition {
    pub(super) position: Position,
    /// Highest version that was applied.
    pub(super) newest: Version,
    pub(in crate::app) recent: RecentChanges,
}

/// Position in a feed.
#[derive(Clone, Debug)]
pub(in crate::app) struct Position {
    /// Entry that was applied last.
    pub(in crate::app) link: Link,
    /// Id of that entry; [`START`] where no entry of the stream is known to have that number.
    pub(in crate::app) id: Arc<str>,
}

// === impl Partitions ===

impl Partitions {
    pub(super) fn new(count: u32, settings: &Settings) -> Partitions {
        let partition = |_| {
            let recent = RecentChanges::new(settings.tail, settings.beat + BEAT_LATE);
            Mutex::new(Partition { position: Position::default(), newest: Version(0), recent })
        };
        Partitions((0..count).map(partition).collect())
    }

    pub(in crate::app) fn lock(&self, partition: u32) -> MutexGuard<'_, Partition> {
        self.0[partition as usize].lock()
    }

    pub(in crate::app) fn position(&self, partition: u32) -> Position {
        self.lock(partition).position.clone()
    }
}

// === impl Position ===

impl Default for Position {
    /// Start of the feed.
    fn default() -> Position {
        Position { link: Link::default(), id: START.into() }
    }
}
