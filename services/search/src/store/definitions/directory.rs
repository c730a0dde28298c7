//! Directory of all collections, by the moment of their next maintenance.

use std::time::Duration;

use keyplane_contracts::names::CollectionName;
use keyplane_valkey::{Arg, Value, script};

use super::{Store, keys};
use crate::error::Error;

script!(CLAIM = "search.claim", ["../scripts/definitions/claim.lua"]);
script!(ALL = "search.all", ["../scripts/definitions/all.lua"]);
script!(SCHEDULE = "search.schedule", ["../scripts/definitions/schedule.lua"]);

/// Collections that are listed at once.
const ALL_PAGE: u32 = 500;

/// Mark of a claim. It expires with the claim's lease, or when another caller brings the maintenance forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim(String);

/// Collections that a caller claimed.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    /// Claim on each of them.
    pub claim: Claim,
    /// Time, in microseconds since 1970.
    pub now: i64,
    /// Collections, the longest due first.
    pub collections: Vec<CollectionName>,
}

// === impl Store ===

impl Store {
    /// Claims at most `maximum` collections whose maintenance is due, for the time of `lease`.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn claim(&self, lease: Duration, maximum: u32) -> Result<Claimed, Error> {
        let key = keys::directory(self.valkey.app());
        let reply = self.valkey.run(&CLAIM, &[&key], &[millis(lease), maximum.into()]).await?.array()?;
        let [claim, now, collections] =
            <[_; 3]>::try_from(reply).map_err(|_| Error::Corrupt("a claim has another form"))?;
        let collections = names(collections)?;
        Ok(Claimed { claim: Claim(claim.text()?.to_owned()), now: now.int()?, collections })
    }

    /// Lists the collections of all tenants; one that is entered or removed meanwhile may be missing. O(collections).
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn collections(&self) -> Result<Vec<CollectionName>, Error> {
        let key = keys::directory(self.valkey.app());
        let (mut all, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let reply = self.valkey.run(&ALL, &[&key], &[(&cursor).into(), ALL_PAGE.into()]).await?.array()?;
            let [next, collections] =
                <[Value; 2]>::try_from(reply).map_err(|_| Error::Corrupt("a list has another form"))?;
            all.extend(names(collections)?);
            next.text()?.clone_into(&mut cursor);
            if cursor == "0" {
                return Ok(all);
            }
        }
    }

    /// Brings the maintenance of a collection forward to `delay` from now, or enters the collection. Idempotent.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn schedule(&self, name: &CollectionName, delay: Duration) -> Result<(), Error> {
        self.set_moment(name, millis(delay), "").await.map(|_| ())
    }

    /// Ends a claim: the next maintenance is due after `delay`, and never without one. `false` if the claim has expired.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn conclude(&self, name: &CollectionName, claim: &Claim, delay: Option<Duration>) -> Result<bool, Error> {
        self.set_moment(name, delay.map_or(Arg::Bytes(b""), millis), &claim.0).await
    }

    async fn set_moment(&self, name: &CollectionName, delay: Arg<'_>, claim: &str) -> Result<bool, Error> {
        let key = keys::directory(self.valkey.app());
        let name = name.to_string();
        let args = [Arg::from(&name), delay, claim.into()];
        Ok(self.valkey.run(&SCHEDULE, &[&key], &args).await?.int()? == 1)
    }
}

fn names(value: Value) -> Result<Vec<CollectionName>, Error> {
    let name = |value: Value| {
        let name = CollectionName::parse(value.text()?, "name");
        name.map_err(|_| Error::Corrupt("the name of a collection breaks its rule"))
    };
    value.array()?.into_iter().map(name).collect()
}

pub(super) fn millis(duration: Duration) -> Arg<'static> {
    Arg::Int(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}
