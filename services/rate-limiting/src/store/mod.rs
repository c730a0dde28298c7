//! Valkey: the only room that talks to it.

pub mod audit;
mod buckets;
mod keys;
pub mod policies;

pub use audit::AuditStore;
pub use buckets::{
    BatchSettings, Bucket, BucketStore, DECIDE, Emptied, End, Flag, Found, Group, Op, Remember, Reply, Rings, Room,
    Settle, Settlement, Status, Stored,
};
pub use keys::{BucketKey, Owner, RecordKey};
pub use policies::PolicyStore;
