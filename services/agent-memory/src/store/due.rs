//! Maintenance that is due: partitions with memories, expired memories, and owners.

use std::time::Duration;

use keyplane_contracts::names::TenantId;
use keyplane_valkey::{Arg, Value, script};

use super::Store;
use super::keys::{self, Keys};
use crate::domain::{MemoryId, Owner, Partition};
use crate::error::Error;

script!(REGISTER = "memory.register", ["scripts/register.lua"]);
script!(CLAIM = "memory.claim", ["scripts/claim.lua"]);
script!(EXPIRED = "memory.expired", ["scripts/expired.lua"]);

/// Partition whose maintenance is due.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Due {
    /// Tenant.
    pub tenant: TenantId,
    /// Partition.
    pub partition: Partition,
}

// === impl Store ===

impl Store {
    /// Registers a partition for maintenance. Writers do so before they write, so that no memory is left unswept. Idempotent.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn register(&self, due: &Due) -> Result<(), Error> {
        self.valkey.run(&REGISTER, &[&keys::due(self.valkey.app())], &[(&due.member()).into()]).await?;
        Ok(())
    }

    /// Claims at most `count` partitions whose maintenance is due; each is due again after `every`. Instances share the work, since
    /// each claim moves the next visit.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn claim(&self, count: u32, every: Duration) -> Result<Vec<Due>, Error> {
        let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        let key = keys::due(self.valkey.app());
        let members = self.valkey.run(&CLAIM, &[&key], &[count.into(), every.into()]).await?.array()?;
        members.iter().map(|member| Due::parse(member.text()?)).collect()
    }

    /// Ids of at most `count` memories of a partition that expired by `now`.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn expired(&self, due: &Due, now: i64, count: u32) -> Result<Vec<MemoryId>, Error> {
        let key = Keys::new(self.valkey.app(), &due.tenant, due.partition).expiry();
        let args = [Arg::from("READ"), Arg::Int(now), count.into()];
        let ids = self.valkey.run(&EXPIRED, &[&key], &args).await?.array()?;
        let id = |value: &Value| MemoryId::parse(value.text()?).ok_or(Error::Corrupt("an expiry has no memory's id"));
        ids.iter().map(id).collect()
    }

    /// Removes the expiries of memories that no longer exist.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn forget_expiries(&self, due: &Due, ids: &[MemoryId]) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let keys = Keys::new(self.valkey.app(), &due.tenant, due.partition);
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let args: Vec<Arg<'_>> =
            std::iter::once("FORGET").chain(ids.iter().map(String::as_str)).map(Arg::from).collect();
        self.valkey.run(&EXPIRED, &[&keys.expiry()], &args).await?;
        Ok(())
    }

    /// Owners of a partition, at most `count`, those that were written last first.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn owners(&self, due: &Due, count: u32) -> Result<Vec<Owner>, Error> {
        let key = Keys::new(self.valkey.app(), &due.tenant, due.partition).owners();
        let names = self.valkey.run(&EXPIRED, &[&key], &[Arg::from("LAST"), count.into()]).await?.array()?;
        let owner = |value: &Value| {
            keys::owner(&due.tenant, value.text()?).ok_or(Error::Corrupt("an owner's name breaks its rule"))
        };
        names.iter().map(owner).collect()
    }
}

// === impl Due ===

impl Due {
    /// Partition of an owner.
    #[must_use]
    pub fn new(owner: &Owner) -> Due {
        Due { tenant: owner.tenant.clone(), partition: owner.partition() }
    }

    fn member(&self) -> String {
        format!("{} {}", self.tenant.as_str(), self.partition.number())
    }

    fn parse(member: &str) -> Result<Due, Error> {
        let parse = || {
            let (tenant, number) = member.split_once(' ')?;
            let partition = Partition::new(number.parse().ok()?)?;
            Some(Due { tenant: TenantId::parse(tenant, "tenant").ok()?, partition })
        };
        parse().ok_or(Error::Corrupt("a partition's name breaks its rule"))
    }
}
