//! Engine: what it has, and which one it is.

use keyplane_valkey::{ErrorKind, Feature, Need};

use super::Store;
use crate::error::Error;

/// Version of the layout of keys and hashes, as `keys.rs` and `scripts/common.lua` describe it.
const LAYOUT: u32 = 1;

/// Engine of the search indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// RediSearch, in development.
    Local,
    /// valkey-search, in production.
    ValkeySearch,
}

// === impl Store ===

impl Store {
    /// Checks that the engine has what this service needs, that it evicts nothing, and that the stored layout is this program's.
    ///
    /// # Errors
    ///
    /// Missing feature of the engine, an eviction policy that loses documents, or another layout.
    pub async fn check(&self) -> Result<(), keyplane_valkey::Error> {
        self.valkey.probe(&[Need::Scripts, Need::Streams, Need::Search]).await?;
        if !self.valkey.check_eviction().await? {
            tracing::warn!("the search store hides its eviction policy; see that maxmemory-policy is noeviction");
        }
        self.valkey.check_layout(Feature::SEARCH, LAYOUT).await
    }

    /// Reports whether a full store evicts documents: its policy has changed since [`Store::check`]. `None` if it hides its policy.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn evicts(&self) -> Result<Option<bool>, Error> {
        match self.valkey.check_eviction().await {
            Ok(known) => Ok(known.then_some(false)),
            Err(error) if error.kind() == ErrorKind::FeatureMissing => Ok(Some(true)),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks up which engine this is, by a command that only one of them has.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn engine(&self) -> Result<Engine, Error> {
        let local = self.valkey.knows("FT.EXPLAIN").await?;
        Ok(if local { Engine::Local } else { Engine::ValkeySearch })
    }
}
