//! Engine: what this service needs of it.

use keyplane_valkey::{Feature, Need};

use super::Store;

/// Version of the layout of keys, hashes and packed items.
const LAYOUT: u32 = 1;

// === impl Store ===

impl Store {
    /// Checks that the engine has what this service needs, that it evicts nothing, and that the stored layout is this program's.
    ///
    /// # Errors
    ///
    /// Missing feature of the engine, or another layout.
    pub async fn check(&self) -> Result<(), keyplane_valkey::Error> {
        self.valkey.probe(&[Need::Scripts, Need::Search]).await?;
        match self.valkey.eviction_policy().await? {
            Some(policy) if policy == "noeviction" => {}
            Some(policy) => tracing::warn!(
                policy,
                "the search store evicts keys when its memory is full, and would lose memories; set maxmemory-policy to noeviction"
            ),
            None => {
                tracing::warn!("the search store hides its eviction policy; see that maxmemory-policy is noeviction")
            }
        }
        self.valkey.check_layout(Feature::MEMORY, LAYOUT).await
    }
}
