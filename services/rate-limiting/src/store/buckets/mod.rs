//! Buckets in Valkey; one script makes every decision on them.

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
pub use reply::{BucketState, Reply, Room, Status};
pub use request::{Bucket, ChargeRecord, End, Flag, Group, Op, Settle, Settlement};
pub use rings::{Emptied, Rings};
pub use script::DECIDE;

/// Version of the stored layout; `scripts/decide.lua` describes it.
const LAYOUT: u32 = 1;

/// Buckets of the service. Cheap to clone.
#[derive(Clone)]
pub struct BucketStore {
    valkey: Valkey,
    bells: Doorbells,
    batcher: Batcher,
}

/// Bucket as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Time of the last write, in microseconds of the server's time.
    pub last: u64,
    /// Level at the last write.
    pub level: Level,
    /// Rate at the last write: `n` hits leak in `p` microseconds.
    pub rate: (u64, u64),
}

// === impl BucketStore ===

impl BucketStore {
    /// Buckets in `valkey`. Needs a tokio runtime.
    #[must_use]
    pub fn new(valkey: Valkey, settings: BatchSettings) -> BucketStore {
        let bells = valkey.doorbells(Feature::RATELIMIT);
        BucketStore { batcher: Batcher::start(valkey.clone(), settings), valkey, bells }
    }

    /// Probes the engine for what the script needs, and checks the stored layout.
    ///
    /// # Errors
    ///
    /// Missing feature, or another layout.
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

    /// Decides on a group; groups that arrive together share a call of the script.
    ///
    /// Dropped before it returns, the operation may still be done if it was sent already.
    ///
    /// # Errors
    ///
    /// [`Error::Overloaded`], [`Error::NoAnswer`] when the request's deadline passes, or the store's.
    pub async fn decide(&self, group: Group) -> Result<Reply, Error> {
        self.batcher.decide(group).await
    }

    /// Channel of a bucket's doorbell.
    #[must_use]
    pub fn channel(&self, key: &BucketKey) -> String {
        self.bells.channel(&key.0)
    }

    /// Rings of all buckets whose level falls otherwise than by leaking.
    #[must_use]
    pub fn rings(&self) -> Rings {
        Rings(self.bells.listen_to_all())
    }

    /// Bucket as stored; none if it is empty.
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
        // An empty bucket may be kept for the places in its queue.
        Ok((level != Level::EMPTY).then_some(stored))
    }
}
