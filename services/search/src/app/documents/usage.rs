//! Room of each tenant: documents and bytes of all its collections.
//!
//! Sums are at most a second old, so that a tenant may pass its maximum by what is written within a second, and by the batches in
//! flight.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use keyplane_contracts::names::TenantId;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::Error;
use crate::store::Store;
use crate::store::documents::Room;

/// Longest age of a tenant's sums.
const AGE: Duration = Duration::from_secs(1);
/// Maximum of tenants in memory.
const MAX_KNOWN: usize = 4_096;

/// Maximums of one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentLimits {
    /// Documents.
    pub documents: u64,
    /// Bytes of the documents, as JSON.
    pub bytes: u64,
}

/// Sums of the tenants that write.
#[derive(Clone)]
pub(super) struct Usage {
    store: Store,
    limits: DocumentLimits,
    tenants: Arc<Mutex<HashMap<TenantId, Arc<Tenant>>>>,
}

#[derive(Default)]
struct Tenant {
    /// Locked during a read, so that calls at the same time share it.
    reading: tokio::sync::Mutex<()>,
    known: Mutex<Option<Sums>>,
}

#[derive(Clone, Copy)]
struct Sums {
    at: Instant,
    documents: u64,
    bytes: u64,
}

// === impl Usage ===

impl Usage {
    pub(super) fn new(store: Store, limits: DocumentLimits) -> Usage {
        Usage { store, limits, tenants: Arc::default() }
    }

    /// Room that a tenant has.
    pub(super) async fn room(&self, tenant: &TenantId) -> Result<Room, Error> {
        let sums = self.sums(tenant).await?;
        Ok(if sums.bytes >= self.limits.bytes {
            Room::NoLarger
        } else if sums.documents >= self.limits.documents {
            Room::NoNew
        } else {
            Room::Any
        })
    }

    /// Counts a new document until the next read.
    pub(super) fn add(&self, tenant: &TenantId, bytes: usize) {
        if let Some(sums) = self.tenant(tenant).known.lock().as_mut() {
            sums.documents += 1;
            sums.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        }
    }

    /// Error of a document for which `room` had no place.
    pub(super) fn full(&self, room: Room) -> Error {
        match room {
            Room::NoLarger => Error::TooManyBytes { limit: self.limits.bytes },
            Room::NoNew | Room::Any => Error::TooManyDocuments { limit: self.limits.documents },
        }
    }

    async fn sums(&self, tenant: &TenantId) -> Result<Sums, Error> {
        let slot = self.tenant(tenant);
        if let Some(sums) = slot.fresh() {
            return Ok(sums);
        }
        let _reading = slot.reading.lock().await;
        if let Some(sums) = slot.fresh() {
            return Ok(sums);
        }
        let at = Instant::now();
        let definitions = self.store.definitions(tenant).await?;
        let sizes = definitions.iter().map(|one| self.store.size(&one.name, one.live.generation.number));
        let sizes = try_join_all(sizes).await?;
        let sum = |of: fn(&crate::store::generations::Size) -> u64| sizes.iter().map(of).sum();
        let sums = Sums { at, documents: sum(|size| size.documents), bytes: sum(|size| size.bytes) };
        *slot.known.lock() = Some(sums);
        Ok(sums)
    }

    fn tenant(&self, tenant: &TenantId) -> Arc<Tenant> {
        let mut tenants = self.tenants.lock();
        if tenants.len() >= MAX_KNOWN && !tenants.contains_key(tenant) {
            tenants.retain(|_, tenant| tenant.fresh().is_some());
            if tenants.len() >= MAX_KNOWN {
                tenants.clear();
            }
        }
        tenants.entry(tenant.clone()).or_default().clone()
    }
}

// === impl Tenant ===

impl Tenant {
    fn fresh(&self) -> Option<Sums> {
        self.known.lock().filter(|sums| sums.at.elapsed() < AGE)
    }
}
