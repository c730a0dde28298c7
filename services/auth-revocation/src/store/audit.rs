//! Audit of a tenant: every revocation and undo, with its cause.

use futures::future::try_join_all;
use keyplane_valkey::StreamEntry;

use super::{Store, codec};
use crate::domain::{AuditPage, AuditToken};
use crate::error::Error;

// === impl Store ===

impl Store {
    /// Reads a page of a tenant's audit, newest first, after the entry `after`. Reads up to `size` entries of each partition,
    /// since any may have the newest.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]; [`Error::Corrupt`]. Cancel safe.
    pub async fn audit(&self, tenant: &str, size: u32, after: Option<&AuditToken>) -> Result<AuditPage, Error> {
        let size = size.max(1) as usize;
        let streams = (0..self.partitions()).map(|partition| self.newest(tenant, partition, size, after));
        let mut rows: Vec<(AuditToken, StreamEntry)> = try_join_all(streams).await?.into_iter().flatten().collect();
        // The newest first; of one millisecond, the later place first, and then the lower partition: see `from`.
        rows.sort_unstable_by(|(a, _), (b, _)| {
            (b.millis, b.place).cmp(&(a.millis, a.place)).then(a.partition.cmp(&b.partition))
        });
        let more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| more).map(|(position, _)| *position);
        let entries = rows.iter().map(|(_, entry)| codec::audit(entry)).collect::<Result<_, _>>()?;
        Ok(AuditPage { entries, next })
    }

    /// Reads one entry more than a page of a partition, which shows whether there is another page.
    async fn newest(
        &self,
        tenant: &str,
        partition: u32,
        size: usize,
        after: Option<&AuditToken>,
    ) -> Result<Vec<(AuditToken, StreamEntry)>, Error> {
        let key = self.keys().audit(tenant, partition);
        let from = after.map_or_else(|| "+".to_owned(), |token| from(token, partition));
        let entries = self.inner.valkey.xrevrange(&key, &from, "-", size as u64 + 1).await?;
        let row = |entry: StreamEntry| {
            let (millis, place) = codec::position(&entry.id)?;
            Ok((AuditToken { millis, place, partition }, entry))
        };
        entries.into_iter().map(row).collect()
    }
}

/// First bound of a partition's range after an entry of any partition.
fn from(after: &AuditToken, partition: u32) -> String {
    let excluded = if partition <= after.partition { "(" } else { "" };
    format!("{excluded}{}-{}", after.millis, after.place)
}
