//! One job: passes over the subject's memories until one finds none, then what is left around them.

use keyplane_contracts::names::TenantId;
use tokio::sync::mpsc;

use super::Erase;
use crate::app::now;
use crate::app::subjects::{Batch, Leftover};
use crate::domain::erasure::{ErasureId, Removed, Subject};
use crate::error::Error;

/// Most passes of one claim: writers that never stop are met again by the next one.
const PASSES: u32 = 8;

// === impl Erase ===

impl Erase {
    /// Carries a job to its end.
    ///
    /// # Errors
    ///
    /// Error of the store, or [`Error::WriteConflict`] while writers keep adding memories. The job is due again after its lease.
    pub(super) async fn job(&self, tenant: &TenantId, id: ErasureId) -> Result<(), Error> {
        let erasure = self.store.erasure(tenant, id).await?;
        let Some(subject) = erasure.and_then(|erasure| erasure.subject) else {
            // Closed before it was taken off the list, or never written.
            return self.store.unschedule_erasure(tenant, id).await;
        };
        for _ in 0..PASSES {
            Box::pin(self.pass(tenant, id, &subject)).await?;
            if self.clear(tenant, id, &subject).await? {
                return self.store.close_erasure(tenant, id, now()).await;
            }
        }
        Err(Error::WriteConflict)
    }

    /// Removes the memories that are found.
    async fn pass(&self, tenant: &TenantId, id: ErasureId, subject: &Subject) -> Result<(), Error> {
        let (sender, mut batches) = mpsc::channel::<Batch>(1);
        let find = async move { self.subjects.send(tenant, subject, &sender).await };
        let remove = async {
            while let Some(batch) = batches.recv().await {
                self.remove(tenant, id, batch).await?;
            }
            Ok(())
        };
        tokio::try_join!(find, remove).map(drop)
    }

    async fn remove(&self, tenant: &TenantId, id: ErasureId, batch: Batch) -> Result<(), Error> {
        let removed = self.store.remove(&batch.owner, batch.memories, now()).await?;
        let count = removed.len() as u64;
        let removed = match batch.derived {
            true => Removed { summaries: count, ..Removed::default() },
            false => Removed { memories: count, ..Removed::default() },
        };
        self.store.count_erasure(tenant, id, removed, self.lease).await
    }

    /// Removes records, marks of recalled texts, and cached embeddings. False if memories came meanwhile: another pass is needed.
    async fn clear(&self, tenant: &TenantId, id: ErasureId, subject: &Subject) -> Result<bool, Error> {
        let Some(leftovers) = self.subjects.leftovers(tenant, subject).await? else { return Ok(false) };
        for Leftover { owner, records, all } in leftovers {
            if !self.store.wipe(&owner, &records, all).await? {
                return Ok(false);
            }
            let embeddings = match &self.cache {
                Some(cache) => cache.forget(&owner).await?,
                None => 0,
            };
            let removed = Removed { embeddings, ..Removed::default() };
            if removed != Removed::default() {
                self.store.count_erasure(tenant, id, removed, self.lease).await?;
            }
        }
        Ok(true)
    }
}
