//! Texts that were recalled lately: remembering one again would feed the memory with itself.

use std::time::Duration;

use keyplane_valkey::{Arg, Feature, Ttl, script};
use sha2::{Digest as _, Sha256};

use super::Store;
use super::keys::OwnerKeys;
use crate::domain::Owner;
use crate::domain::identity::normalize;
use crate::error::Error;

script!(SEEN_SCRIPT = "memory.seen", ["scripts/seen.lua"]);

/// Time for which a recalled text is recognized.
const SEEN_FOR: Duration = Duration::from_hours(24);
/// Maximum number of recalled texts of an owner that are recognized: the latest ones.
const SEEN: u32 = 2_000;

// === impl Store ===

impl Store {
    /// Records texts that `owner` was given by a recall. O(texts).
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn recalled(&self, owner: &Owner, texts: &[&str], now: i64) -> Result<(), Error> {
        if texts.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> = texts.iter().map(|text| normalize(text)).collect();
        self.seen(owner, "ADD", &texts, now).await?;
        Ok(())
    }

    /// Reports for each text, normalized, whether `owner` was given it by a recall of the last day. O(texts).
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn was_recalled(&self, owner: &Owner, texts: &[String], now: i64) -> Result<Vec<bool>, Error> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let reply = self.seen(owner, "TEST", texts, now).await?;
        let flags = reply.iter().map(|value| value.int().map(|flag| flag == 1).map_err(Error::from));
        flags.collect()
    }

    async fn seen(
        &self,
        owner: &Owner,
        verb: &str,
        texts: &[String],
        now: i64,
    ) -> Result<Vec<keyplane_valkey::Value>, Error> {
        let key = OwnerKeys::new(self.valkey.app(), owner).seen();
        let ttl = Ttl::new(Feature::MEMORY, SEEN_FOR)?;
        let hashes: Vec<[u8; 32]> = texts.iter().map(|text| Sha256::digest(text.as_bytes()).into()).collect();
        let mut args = vec![Arg::from(verb), Arg::Int(now), ttl.as_millis().into(), SEEN.into()];
        args.extend(hashes.iter().map(|hash| Arg::from(&hash[..8])));
        Ok(self.valkey.run(&SEEN_SCRIPT, &[&key], &args).await?.array()?)
    }
}
