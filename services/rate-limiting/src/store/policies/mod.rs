//! Policies that the API made, and tenants' plans: in one hash, which `scripts/common.lua` describes.

mod codec;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use keyplane_contracts::names::TenantId;
use keyplane_valkey::{Bell, Doorbells, Feature, Key, Need, Script, Valkey, Value, script};
use tokio::sync::OnceCell;

use crate::domain::{Origin, Policy, PolicyId};
use crate::error::Error;
pub use codec::etag;

/// The version of the layout that `scripts/common.lua` describes.
const LAYOUT: u32 = 1;

script!(CREATE = "policies.create", ["../scripts/policies/common.lua", "../scripts/policies/create.lua"]);
script!(UPDATE = "policies.update", ["../scripts/policies/common.lua", "../scripts/policies/update.lua"]);
script!(DELETE = "policies.delete", ["../scripts/policies/common.lua", "../scripts/policies/delete.lua"]);
script!(SET_PLAN = "policies.set_plan", ["../scripts/policies/common.lua", "../scripts/policies/set_plan.lua"]);

/// The hash. Cheap to clone.
#[derive(Clone)]
pub struct PolicyStore {
    valkey: Valkey,
    bells: Doorbells,
    key: Key,
    checked: Arc<OnceCell<()>>,
}

/// Which state the hash is in: another one has another number, or, if the store has lost changes, another time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Revision {
    /// Grows by one with each change.
    pub(crate) number: u64,
    /// When the last change was, in microseconds.
    changed: u64,
}

/// All that is stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) revision: Revision,
    pub(crate) policies: BTreeMap<PolicyId, Policy>,
    /// The ids of policies that are damaged.
    pub(crate) damaged: Vec<String>,
    pub(crate) plans: BTreeMap<String, String>,
}

/// A change that was made, or would be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// The revision that it made: the version of a policy that was written.
    pub(crate) version: u64,
    /// When, in microseconds.
    at: u64,
}

// === impl PolicyStore ===

impl PolicyStore {
    /// The policies in `valkey`.
    #[must_use]
    pub fn new(valkey: Valkey) -> PolicyStore {
        let key = Key::partitioned(valkey.app(), Feature::POLICIES, "_", &["policies"], 0);
        PolicyStore { bells: valkey.doorbells(Feature::POLICIES), key, checked: Arc::default(), valkey }
    }

    /// Probes the engine for what the scripts need, and checks the stored layout, until both succeed once.
    ///
    /// # Errors
    ///
    /// The missing feature, or another layout.
    pub async fn check(&self) -> Result<(), keyplane_valkey::Error> {
        let check = async || {
            self.valkey.probe(&[Need::Scripts, Need::Pubsub]).await?;
            self.valkey.check_layout(Feature::POLICIES, LAYOUT).await
        };
        self.checked.get_or_try_init(check).await.copied()
    }

    /// Rings when there is a change, and when the connection was made.
    pub(crate) fn bell(&self) -> Bell {
        self.bells.listen(&self.key)
    }

    /// Which state it is in now.
    pub(crate) async fn revision(&self) -> Result<Revision, Error> {
        self.check().await?;
        let [number, changed] = self.fields(["v", "c"]).await?;
        Revision::decode(number.as_deref(), changed.as_deref())
    }

    /// All that there is.
    pub(crate) async fn all(&self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.check().await?;
        Ok(self.valkey.hgetall(&self.key).await?)
    }

    /// A policy, as it is now.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if it is damaged, or the store's.
    pub(crate) async fn get(&self, id: &PolicyId) -> Result<Option<Policy>, Error> {
        self.check().await?;
        let [document] = self.fields([&format!("p:{id}")]).await?;
        document.map(|document| codec::decode(id.as_str().as_bytes(), &document)).transpose()
    }

    /// Makes a policy, unless there are `most`. With `dry`, only says what would come of it.
    pub(crate) async fn create(&self, policy: &Policy, most: usize, dry: bool) -> Result<Change, Error> {
        let json = codec::encode(policy)?;
        let args = [policy.id.as_str(), &json, &most.to_string(), flag(dry)];
        let (status, rest) = self.run(&CREATE, &args).await?;
        match status.as_str() {
            "EXISTS" => Err(Error::PolicyExists { id: policy.id.to_string() }),
            "FULL" => Err(Error::TooManyPolicies { limit: most }),
            _ => Change::decode(&rest),
        }
    }

    /// Puts a policy in the place of the one that has its id and version. With `dry`, only says what would come of it.
    pub(crate) async fn update(&self, policy: &Policy, dry: bool) -> Result<Change, Error> {
        let json = codec::encode(policy)?;
        let args = [policy.id.as_str(), &json, &policy.version.to_string(), flag(dry)];
        let (status, rest) = self.run(&UPDATE, &args).await?;
        changed(&policy.id, &status, &rest)
    }

    /// Deletes a policy; with a `version`, only if it has that.
    pub(crate) async fn delete(&self, id: &PolicyId, version: Option<u64>) -> Result<Change, Error> {
        let version = version.map_or_else(|| "-1".to_owned(), |version| version.to_string());
        let (status, rest) = self.run(&DELETE, &[id.as_str(), &version]).await?;
        changed(id, &status, &rest)
    }

    /// Puts a tenant on a plan; with an empty one and `keep`, notes that it is on none.
    pub(crate) async fn set_plan(&self, tenant: &TenantId, plan: &str, keep: bool) -> Result<Change, Error> {
        let (_, rest) = self.run(&SET_PLAN, &[tenant.as_str(), plan, flag(keep)]).await?;
        Change::decode(&rest)
    }

    async fn fields<const N: usize>(&self, names: [&str; N]) -> Result<[Option<Bytes>; N], Error> {
        let values = self.valkey.hmget(&self.key, &names).await?;
        values.try_into().map_err(|_| Error::Corrupt("a reply of another length"))
    }

    /// The status of a script's reply, and the rest.
    async fn run(&self, script: &'static Script, own: &[&str]) -> Result<(String, Vec<Value>), Error> {
        self.check().await?;
        let channel = self.bells.channel(&self.key);
        let args: Vec<_> = std::iter::once(channel.as_str()).chain(own.iter().copied()).map(Into::into).collect();
        let mut reply = self.valkey.run(script, &[&self.key], &args).await?.array()?.into_iter();
        let status = reply.next().ok_or(Error::Corrupt("an empty reply"))?.text()?.to_owned();
        Ok((status, reply.collect()))
    }
}

// === impl Revision ===

impl Revision {
    fn decode(number: Option<&[u8]>, changed: Option<&[u8]>) -> Result<Revision, Error> {
        let decode = |text: Option<&[u8]>| match text {
            None => Ok(0),
            Some(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(()),
        };
        match (decode(number), decode(changed)) {
            (Ok(number), Ok(changed)) => Ok(Revision { number, changed }),
            (Err(()), _) | (_, Err(())) => Err(Error::Corrupt("the policies' revision is no number")),
        }
    }
}

// === impl Rows ===

impl Rows {
    /// What the hash says. What of it is damaged is left out, and told in the log.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if its revision is not to be read.
    pub(crate) fn decode(fields: &[(Bytes, Bytes)]) -> Result<Rows, Error> {
        let find = |name: &[u8]| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_ref());
        let mut rows = Rows { revision: Revision::decode(find(b"v"), find(b"c"))?, ..Rows::default() };
        for (field, value) in fields {
            let taken = match (field.strip_prefix(b"p:"), field.strip_prefix(b"t:")) {
                (Some(id), _) => rows.take_policy(id, value),
                (None, Some(tenant)) => codec::decode_plan(tenant, value).map(|row| rows.plans.extend([row])),
                (None, None) => Ok(()),
            };
            if let Err(error) = taken {
                let field = String::from_utf8_lossy(field);
                tracing::error!(%field, %error, "a stored policy or plan is damaged and left out");
            }
        }
        Ok(rows)
    }

    fn take_policy(&mut self, id: &[u8], document: &[u8]) -> Result<(), Error> {
        match codec::decode(id, document) {
            Ok(policy) => {
                self.policies.insert(policy.id.clone(), policy);
                Ok(())
            }
            Err(error) => {
                self.damaged.push(String::from_utf8_lossy(id).into_owned());
                Err(error)
            }
        }
    }
}

// === impl Change ===

impl Change {
    fn decode(rest: &[Value]) -> Result<Change, Error> {
        let number = |value: Option<&Value>| {
            let number = value.ok_or(Error::Corrupt("a reply that is too short"))?.int()?;
            u64::try_from(number).map_err(|_| Error::Corrupt("a revision below zero"))
        };
        Ok(Change { version: number(rest.first())?, at: number(rest.get(1))? })
    }

    /// The policy that the change made.
    pub(crate) fn applied(self, policy: Policy) -> Policy {
        Policy { version: self.version, origin: Origin::Api, updated: Some(codec::time(self.at)), ..policy }
    }
}

fn changed(id: &PolicyId, status: &str, rest: &[Value]) -> Result<Change, Error> {
    match status {
        "MISSING" => Err(Error::PolicyNotFound { id: id.to_string() }),
        "VERSION" => {
            let current = rest.first().ok_or(Error::Corrupt("a reply that is too short"))?.int()?;
            Err(Error::StaleWrite { current: current.to_string() })
        }
        _ => Change::decode(rest),
    }
}

fn flag(set: bool) -> &'static str {
    if set { "1" } else { "0" }
}
