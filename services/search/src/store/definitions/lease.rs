//! Lease of a collection's maintenance: one instance at a time, and the checkpoint that the next one resumes from.

use std::collections::BTreeMap;
use std::time::Duration;

use keyplane_contracts::names::CollectionName;
use keyplane_valkey::{Arg, script};
use tokio::time::Instant;

use super::directory::millis;
use super::{Store, keys};
use crate::error::Error;

script!(LEASE = "search.lease", ["../scripts/definitions/lease.lua"]);

/// Lease of a collection's maintenance. Dropping it without [`Lease::release`] leaves it to expire.
pub struct Lease {
    store: Store,
    name: CollectionName,
    owner: String,
    length: Duration,
    renewed: Instant,
}

/// Progress of the maintenance in the job of a collection, by field.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Checkpoint(BTreeMap<String, String>);

// === impl Store ===

impl Store {
    /// Takes the lease of a collection's maintenance for `owner`; `None` while another owner holds it.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn lease(&self, name: &CollectionName, owner: &str, length: Duration) -> Result<Option<Lease>, Error> {
        let renewed = Instant::now();
        let lease = Lease { store: self.clone(), name: name.clone(), owner: owner.to_owned(), length, renewed };
        Ok(lease.set(length, "", &[]).await?.map(|_| lease))
    }

    /// Reads the checkpoint of a collection's maintenance; empty without one.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn checkpoint(&self, name: &CollectionName) -> Result<Checkpoint, Error> {
        let fields = self.valkey.hgetall(&keys::job(self.valkey.app(), name)).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Checkpoint(fields.iter().map(|(field, value)| (text(field), text(value))).collect()))
    }
}

// === impl Lease ===

impl Lease {
    /// Renews the lease once a third of it has passed; `false` if another owner has it.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn keep(&mut self) -> Result<bool, Error> {
        if self.renewed.elapsed() < self.length / 3 {
            return Ok(true);
        }
        self.renew("", &[]).await
    }

    /// Renews the lease and stores fields of the checkpoint for `generation`; `false` if another owner has the lease. The
    /// checkpoint of another generation is cleared.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn save(&mut self, generation: u32, fields: &[(&str, u64)]) -> Result<bool, Error> {
        self.renew(&generation.to_string(), fields).await
    }

    /// Ends the lease; removes the checkpoint too if the collection is `gone`.
    ///
    /// # Errors
    ///
    /// Error of the store; the lease then expires.
    pub async fn release(self, gone: bool) -> Result<(), Error> {
        self.set(Duration::ZERO, if gone { "0" } else { "" }, &[]).await.map(|_| ())
    }

    async fn renew(&mut self, generation: &str, fields: &[(&str, u64)]) -> Result<bool, Error> {
        let now = Instant::now();
        let held = self.set(self.length, generation, fields).await?.is_some();
        self.renewed = now;
        Ok(held)
    }

    async fn set(&self, length: Duration, generation: &str, fields: &[(&str, u64)]) -> Result<Option<()>, Error> {
        let key = keys::job(self.store.valkey.app(), &self.name);
        let mut args = vec![Arg::from(&self.owner), millis(length), generation.into()];
        args.extend(fields.iter().flat_map(|(field, value)| [Arg::from(*field), Arg::from(*value)]));
        let reply = self.store.valkey.run(&LEASE, &[&key], &args).await?.array()?;
        match reply.first().map(keyplane_valkey::Value::text).transpose()? {
            Some("HELD") => Ok(Some(())),
            Some("BUSY") => Ok(None),
            _ => Err(Error::Corrupt("a lease has another form")),
        }
    }
}

// === impl Checkpoint ===

impl Checkpoint {
    /// Reports whether the checkpoint belongs to `generation`.
    #[must_use]
    pub fn is_for(&self, generation: u32) -> bool {
        self.number("g") == Some(u64::from(generation))
    }

    /// Number in a field.
    #[must_use]
    pub fn number(&self, field: &str) -> Option<u64> {
        self.0.get(field)?.parse().ok()
    }
}
