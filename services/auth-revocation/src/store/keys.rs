//! Keys of the store.

use keyplane_revocation::RevocationId;
use keyplane_revocation::filter::Bucket;
use keyplane_valkey::{App, Feature, Key};

/// Segment in place of the tenant in keys for all tenants: no tenant has this name.
const ALL: &str = "_";

/// Keys of revocations. The keys of one partition share its hash tag, so that a script can touch them together:
///
/// | key | holds |
/// |---|---|
/// | `<app>:revocation:<tenant>:<id>:{p<n>}` | the state of a revocation (string) |
/// | `<app>:revocation:<tenant>:keys:<issuer>:{p<n>}` | ids of the revoked keys of an issuer, by their end (zset) |
/// | `<app>:revocation:<tenant>:audit:{p<n>}` | audit: every revocation and undo, with its cause (stream) |
/// | `<app>:revocation:_:head:{p<n>}` | last entry of the feed, and trusted filters (hash) |
/// | `<app>:revocation:_:feed:{p<n>}` | states, in the order of their writes (stream) |
/// | `<app>:revocation:_:bloom:<bucket>:{p<n>}` | revoked tokens (Bloom filter) |
/// | `<app>:revocation:_:lost:<giver>:{p<n>}` | handover of an instance after a loss (hash) |
/// | `<app>:revocation:_:leases:{p0}` | instances of the service (zset) |
/// | `<app>:revocation:_:positions:{p0}` | sequence that each instance has applied (hash) |
pub(super) struct Keys<'a>(pub(super) &'a App);

// === impl Keys ===

impl Keys<'_> {
    pub(super) fn record(&self, tenant: &str, id: &RevocationId, partition: u32) -> Key {
        self.key(tenant, &[id.as_str()], partition)
    }

    pub(super) fn audit(&self, tenant: &str, partition: u32) -> Key {
        self.key(tenant, &["audit"], partition)
    }

    pub(super) fn keys_of(&self, tenant: &str, issuer: &str, partition: u32) -> Key {
        self.key(tenant, &["keys", issuer], partition)
    }

    pub(super) fn head(&self, partition: u32) -> Key {
        self.key(ALL, &["head"], partition)
    }

    pub(super) fn feed(&self, partition: u32) -> Key {
        self.key(ALL, &["feed"], partition)
    }

    pub(super) fn filter(&self, bucket: Bucket, partition: u32) -> Key {
        self.key(ALL, &["bloom", &bucket.to_string()], partition)
    }

    pub(super) fn lost(&self, giver: &str, partition: u32) -> Key {
        self.key(ALL, &["lost", giver], partition)
    }

    pub(super) fn leases(&self) -> Key {
        self.key(ALL, &["leases"], 0)
    }

    pub(super) fn positions(&self) -> Key {
        self.key(ALL, &["positions"], 0)
    }

    fn key(&self, tenant: &str, parts: &[&str], partition: u32) -> Key {
        Key::partitioned(self.0, Feature::REVOCATION, tenant, parts, partition)
    }
}
