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
    /// Missing feature of the engine, an eviction policy that loses memories, or another layout.
    pub async fn check(&self) -> Result<(), keyplane_valkey::Error> {
        self.valkey.probe(&[Need::Scripts, Need::Search]).await?;
        if !self.valkey.check_eviction().await? {
            tracing::warn!("the search store hides its eviction policy; see that maxmemory-policy is noeviction");
        }
        self.valkey.check_layout(Feature::MEMORY, LAYOUT).await
    }
}
