//! The buckets in Valkey: whatever is decided about them is decided by one script.

mod batch;
mod reply;
mod request;
mod rings;
mod script;

use keyplane_valkey::{Doorbells, Feature, Need, Valkey};

use super::{BucketKey, Owner, RecordKey};
use crate::domain::{Descriptor, Level, PolicyId};
use crate::error::Error;
pub use batch::BatchSettings;
use batch::Batcher;
pub use reply::{Found, Reply, Room, Status};
pub use request::{Bucket, End, Flag, Group, Op, Remember, Settle, Settlement};
pub use rings::{Emptied, Rings};
pub use script::DECIDE;

/// The version of the layout that `scripts/decide.lua` describes.
const LAYOUT: u32 = 1;

/// The buckets. Cheap to clone.
#[derive(Clone)]
pub struct BucketStore {
    valkey: Valkey,
    bells: Doorbells,
    batcher: Batcher,
}

/// A bucket as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// When it was last written, in microseconds of the server's time.
    pub last: u64,
    /// Its level then.
    pub level: Level,
    /// The rate that it was written under: `n` in `p` microseconds.
    pub rate: (u64, u64),
}

// === impl BucketStore ===

impl BucketStore {
    /// The buckets in `valkey`. Needs a tokio runtime.
    #[must_use]
    pub fn new(valkey: Valkey, settings: BatchSettings) -> BucketStore {
        let bells = valkey.doorbells(Feature::RATELIMIT);
        BucketStore { batcher: Batcher::start(valkey.clone(), settings), valkey, bells }
    }

    /// Asks the engine for what the script needs, and holds the stored layout against this program's.
    ///
    /// # Errors
    ///
    /// What is missing, or which layout was found.
    pub async fn check(&self) -> Result<(), keyplane_valkey::Error> {
        self.valkey.probe(&[Need::Scripts, Need::Streams, Need::Pubsub]).await?;
        self.valkey.check_layout(Feature::RATELIMIT, LAYOUT).await
    }

    /// Key of an owner's bucket under a policy.
    #[must_use]
    pub fn bucket_key(&self, owner: &Owner, policy: &PolicyId, descriptor: &Descriptor) -> BucketKey {
        owner.bucket(self.valkey.app(), policy, descriptor)
    }

    /// Key of the record of an owner's charge under a request id.
    #[must_use]
    pub fn record_key(&self, owner: &Owner, request: &str) -> RecordKey {
        owner.record(self.valkey.app(), request)
    }

    /// Decides about a group; groups that arrive together share a call of the script.
    ///
    /// Dropped while it waits, it may be done nonetheless, unless it has not been sent.
    ///
    /// # Errors
    ///
    /// [`Error::Overloaded`], [`Error::NoAnswer`] when the request's deadline passes, or the store's.
    pub async fn decide(&self, group: Group) -> Result<Reply, Error> {
        self.batcher.decide(group).await
    }

    /// The channel of a bucket's doorbell.
    #[must_use]
    pub fn channel(&self, key: &BucketKey) -> String {
        self.bells.channel(&key.0)
    }

    /// Hears of each bucket whose level fell otherwise than by leaking.
    #[must_use]
    pub fn rings(&self) -> Rings {
        Rings(self.bells.listen_to_all())
    }

    /// A bucket as it is stored; none if it is empty.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], or the store's.
    pub async fn stored(&self, key: &BucketKey) -> Result<Option<Stored>, Error> {
        let Some(bytes) = self.valkey.get(&key.0).await? else { return Ok(None) };
        let mut bytes = &bytes[..];
        let mut next = || reply::number(&mut bytes);
        let (last, level) = (next()?, Level { micros: next()?, part: next()? });
        let stored = Stored { last, level, rate: (next()?, next()?) };
        // One that is empty may be kept for the places in its queue.
        Ok((level != Level::EMPTY).then_some(stored))
    }
}
