//! Cache of embeddings on the `kv` store: one hash for each user, so that erasure finds all of it.

mod codec;

use keyplane_valkey::{Arg, Feature, Key, Ttl, Valkey, script};
use sha2::{Digest as _, Sha256};

use super::keys::segment;
use crate::domain::{Embedding, Owner, Space};
use crate::error::Error;

script!(PUT = "memory.cache_embeddings", ["../scripts/cache_embeddings.lua"]);
script!(FORGET = "memory.forget_embeddings", ["../scripts/forget_embeddings.lua"]);

/// Cache of embeddings. Cheap to clone.
///
/// `<app>:memory:{<tenant>:<user, or *>}:emb` is a hash of `<space>:<hash of the text>` → packed embedding. It lives for the
/// cache's TTL after its last write: an embedding of a text never changes, since a space never does. Beyond the most
/// entries of a user, random ones go.
#[derive(Clone)]
pub struct Embeddings {
    valkey: Valkey,
    ttl: Ttl,
    most: u32,
}

/// Name of an embedding in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextHash(String);

// === impl Embeddings ===

impl Embeddings {
    /// Cache in `valkey` of at most `most` entries a user.
    #[must_use]
    pub fn new(valkey: Valkey, ttl: Ttl, most: u32) -> Embeddings {
        Embeddings { valkey, ttl, most }
    }

    /// Embeddings of texts, by their hashes; none for each text that is not cached. One read.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]. Cancel safe.
    pub async fn get(&self, owner: &Owner, space: &Space, texts: &[TextHash]) -> Result<Vec<Option<Embedding>>, Error> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let fields: Vec<&str> = texts.iter().map(|hash| hash.0.as_str()).collect();
        let values = self.valkey.hmget(&self.key(owner), &fields).await?;
        let unpack = |value: Option<bytes::Bytes>| codec::unpack(&value?, space.dimension);
        Ok(values.into_iter().map(unpack).collect())
    }

    /// Caches embeddings.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]. Safe to repeat.
    pub async fn put(&self, owner: &Owner, entries: &[(TextHash, &Embedding)]) -> Result<(), Error> {
        let packed: Vec<(&str, Vec<u8>)> =
            entries.iter().filter_map(|(hash, embedding)| Some((hash.0.as_str(), codec::pack(embedding)?))).collect();
        if packed.is_empty() {
            return Ok(());
        }
        let mut args = vec![Arg::from(self.ttl.as_millis()), Arg::from(self.most)];
        for (field, value) in &packed {
            args.extend([Arg::from(*field), Arg::from(value.as_slice())]);
        }
        self.valkey.run(&PUT, &[&self.key(owner)], &args).await?;
        Ok(())
    }

    /// Removes all entries of `owner`, and returns their number.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]. Safe to repeat; entries that an earlier try removed are not counted then.
    pub async fn forget(&self, owner: &Owner) -> Result<u64, Error> {
        let removed = self.valkey.run(&FORGET, &[&self.key(owner)], &[]).await?.int()?;
        Ok(u64::try_from(removed).unwrap_or_default())
    }

    fn key(&self, owner: &Owner) -> Key {
        Key::tagged(self.valkey.app(), Feature::MEMORY, owner.tenant.as_str(), segment(owner), &["emb"])
    }
}

// === impl TextHash ===

impl TextHash {
    /// Hash of `text`, prefix included, in `space`: 128 bits of its SHA-256.
    #[must_use]
    pub fn new(space: &Space, prefix: &str, text: &str) -> TextHash {
        let mut hash = Sha256::new();
        hash.update(prefix);
        hash.update(text);
        let hash = data_encoding::BASE64URL_NOPAD.encode(&hash.finalize()[..16]);
        TextHash(format!("{}:{hash}", space.id.as_str()))
    }
}
