//! Store: the only room that talks to Valkey.

pub mod audit;
mod buckets;
mod keys;
pub mod policies;

pub use audit::AuditStore;
pub use buckets::{
    BatchSettings, Bucket, BucketState, BucketStore, ChargeRecord, DECIDE, Emptied, End, Flag, Group, Op, Reply, Rings,
    Room, Settle, Settlement, Status, Stored,
};
pub use keys::{BucketKey, Owner, RecordKey};
pub use policies::PolicyStore;
