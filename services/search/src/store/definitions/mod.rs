//! Definitions of collections: one hash for each tenant, changed by compare-and-set.

mod directory;
mod keys;
mod lease;

use keyplane_contracts::names::{CollectionName, TenantId};
use keyplane_valkey::script;

use super::Store;
use crate::domain::Definition;
use crate::error::Error;

pub use directory::{Claim, Claimed};
pub use lease::{Checkpoint, Lease};

script!(RESERVE = "search.reserve", ["../scripts/definitions/reserve.lua"]);
script!(DEFINE = "search.define", ["../scripts/definitions/define.lua"]);

/// Field of the definitions' hash that counts numbers.
const SEQUENCE: &[u8] = b"#sequence";

/// Number from a tenant's sequence, and the store's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Number that nobody else has: a revision, an epoch or a generation.
    pub number: u64,
    /// Time, in microseconds since 1970.
    pub now: i64,
}

/// Result of a change of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defined {
    /// Changed.
    Done,
    /// Not created, since it exists.
    Exists,
    /// Not changed, since it does not exist.
    Missing,
    /// Not changed, since another caller has changed it.
    Changed {
        /// Current revision.
        revision: u64,
    },
    /// Not created, since the tenant has the maximum of collections.
    Full,
}

// === impl Store ===

impl Store {
    /// Takes the next number of the tenant's sequence. A lost reply leaves a gap.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn reserve(&self, tenant: &TenantId) -> Result<Reserved, Error> {
        let key = keys::definitions(self.valkey.app(), tenant);
        let reply = self.valkey.run(&RESERVE, &[&key], &[]).await?.array()?;
        let [number, now] = reply.as_slice() else { return Err(Error::Corrupt("a reserved number has another form")) };
        Ok(Reserved { number: unsigned(number.int()?)?, now: now.int()? })
    }

    /// Creates a definition, unless the tenant has `maximum` collections. Idempotent.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn define(&self, definition: &Definition, maximum: u64) -> Result<Defined, Error> {
        self.change(definition, "", Some(definition), maximum).await
    }

    /// Replaces the definition of revision `before`. Idempotent.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn redefine(&self, before: u64, definition: &Definition) -> Result<Defined, Error> {
        self.change(definition, &before.to_string(), Some(definition), u64::MAX).await
    }

    /// Removes a definition that has not changed since it was read.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn undefine(&self, definition: &Definition) -> Result<Defined, Error> {
        self.change(definition, &definition.revision.to_string(), None, u64::MAX).await
    }

    async fn change(
        &self,
        definition: &Definition,
        before: &str,
        after: Option<&Definition>,
        maximum: u64,
    ) -> Result<Defined, Error> {
        let json = after.map(serde_json::to_string).transpose();
        let json = json.map_err(|_| Error::Corrupt("a definition can't be encoded"))?.unwrap_or_default();
        let revision = if after.is_some() { definition.revision.to_string() } else { "-".to_owned() };
        let key = keys::definitions(self.valkey.app(), &definition.name.tenant);
        let collection = definition.name.collection.as_str();
        let args = [collection.into(), before.into(), (&revision).into(), (&json).into(), maximum.into()];
        let reply = self.valkey.run(&DEFINE, &[&key], &args).await?.array()?;
        match (reply.first().map(keyplane_valkey::Value::text).transpose()?, reply.get(1)) {
            (Some("OK"), None) => Ok(Defined::Done),
            (Some("EXISTS"), None) => Ok(Defined::Exists),
            (Some("MISSING"), None) => Ok(Defined::Missing),
            (Some("FULL"), None) => Ok(Defined::Full),
            (Some("CHANGED"), Some(revision)) => Ok(Defined::Changed { revision: unsigned(revision.int()?)? }),
            _ => Err(Error::Corrupt("a changed definition has another form")),
        }
    }

    /// Reads a definition; `None` if the collection does not exist.
    ///
    /// # Errors
    ///
    /// Error of the store, or a definition that this service never writes.
    pub async fn definition(&self, name: &CollectionName) -> Result<Option<Definition>, Error> {
        let key = keys::definitions(self.valkey.app(), &name.tenant);
        let fields = self.valkey.hmget(&key, &[name.collection.as_str()]).await?;
        fields.into_iter().next().flatten().map(|stored| decode(&stored)).transpose()
    }

    /// Reads all definitions of a tenant, by collection. O(collections of the tenant).
    ///
    /// # Errors
    ///
    /// Error of the store, or a definition that this service never writes.
    pub async fn definitions(&self, tenant: &TenantId) -> Result<Vec<Definition>, Error> {
        let fields = self.valkey.hgetall(&keys::definitions(self.valkey.app(), tenant)).await?;
        let stored = fields.into_iter().filter(|(name, _)| name != SEQUENCE);
        let mut definitions = stored.map(|(_, stored)| decode(&stored)).collect::<Result<Vec<_>, _>>()?;
        definitions.sort_unstable_by(|a, b| a.name.collection.as_str().cmp(b.name.collection.as_str()));
        Ok(definitions)
    }
}

/// Definition in `<revision> <JSON>`.
fn decode(stored: &[u8]) -> Result<Definition, Error> {
    let space = stored.iter().position(|byte| *byte == b' ').ok_or(Error::Corrupt("a definition has no revision"))?;
    serde_json::from_slice(&stored[space + 1..]).map_err(|_| Error::Corrupt("the JSON of a definition is damaged"))
}

fn unsigned(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::Corrupt("a count is negative"))
}
