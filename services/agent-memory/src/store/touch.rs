//! Uses of memories: time of the last one, and their number.

use keyplane_contracts::names::TenantId;
use keyplane_valkey::{Arg, Key, script};

use super::keys::{Keys, OwnerKeys};
use super::{Store, Stored};
use crate::domain::record::Patch;
use crate::error::Error;

script!(TOUCH = "memory.touch", ["scripts/touch.lua"]);

/// Shortest time between two counted uses of a memory, in milliseconds.
pub const TOUCH_EVERY: i64 = 15 * 60 * 1_000;

// === impl Store ===

impl Store {
    /// Counts a use of each memory at `now` (ms since 1970), at most one in [`TOUCH_EVERY`]; memories that are gone are left out.
    /// Returns the number of counted uses. O(memories), one script for each owner.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn touch(&self, tenant: &TenantId, memories: &[&Stored], now: i64) -> Result<u64, Error> {
        let mut touched = 0;
        for group in memories.chunk_by(|a, b| a.memory.scope.owner == b.memory.scope.owner) {
            for chunk in group.chunks(super::CHUNK) {
                touched += self.touch_chunk(tenant, chunk, now).await?;
            }
        }
        Ok(touched)
    }

    async fn touch_chunk(&self, tenant: &TenantId, memories: &[&Stored], now: i64) -> Result<u64, Error> {
        let app = self.valkey.app();
        let patch = Patch::accessed(now);
        let mut keys: Vec<Key> = Vec::with_capacity(memories.len() * 2);
        let mut args =
            vec![Arg::Int(now), Arg::Int(TOUCH_EVERY), u32::from(patch.offset).into(), (&patch.bytes).into()];
        for stored in memories {
            let owner = &stored.memory.scope.owner;
            keys.push(Keys::new(app, tenant, stored.memory.id.partition()).memory(stored.memory.id));
            keys.push(OwnerKeys::new(app, owner).record(&stored.place.record));
            args.extend([Arg::from(stored.place.first), Arg::from(stored.place.count)]);
        }
        let keys: Vec<&Key> = keys.iter().collect();
        let touched = self.valkey.run(&TOUCH, &keys, &args).await?.int()?;
        Ok(u64::try_from(touched).unwrap_or(0))
    }
}
