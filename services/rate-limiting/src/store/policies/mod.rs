//! Policies of the API and plans of tenants, in one hash, which `scripts/policies/common.lua` describes.

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

/// Version of the stored layout, which `scripts/policies/common.lua` describes.
const LAYOUT: u32 = 1;

script!(CREATE = "policies.create", ["../scripts/policies/common.lua", "../scripts/policies/create.lua"]);
script!(UPDATE = "policies.update", ["../scripts/policies/common.lua", "../scripts/policies/update.lua"]);
script!(DELETE = "policies.delete", ["../scripts/policies/common.lua", "../scripts/policies/delete.lua"]);
script!(SET_PLAN = "policies.set_plan", ["../scripts/policies/common.lua", "../scripts/policies/set_plan.lua"]);

/// Stored policies and plans. Cheap to clone.
#[derive(Clone)]
pub struct PolicyStore {
    valkey: Valkey,
    bells: Doorbells,
    key: Key,
    checked: Arc<OnceCell<()>>,
}

/// Bell of the stored policies: rings at each change, and when the connection was restored.
pub(crate) struct ChangeBell(Bell);

/// Revision of the hash. Another revision has another number or, if the store has lost changes, another time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Revision {
    /// Number, which grows by one with each change.
    pub(crate) number: u64,
    /// Time of the last change, in microseconds since 1970.
    changed: u64,
}

/// Stored policies and plans, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) revision: Revision,
    pub(crate) policies: BTreeMap<PolicyId, Policy>,
    /// Ids of damaged policies.
    pub(crate) damaged: Vec<String>,
    pub(crate) plans: BTreeMap<String, String>,
}

/// Change that was made, or validated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// Revision of the change: the version of a written policy.
    pub(crate) version: u64,
    /// Time, in microseconds since 1970.
    at: u64,
}

// === impl ChangeBell ===

impl ChangeBell {
    /// Waits for the next ring. Cancel safe.
    pub(crate) async fn rung(&mut self) {
        self.0.rung().await;
    }
}

// === impl PolicyStore ===

impl PolicyStore {
    /// Stored policies in `valkey`.
    #[must_use]
    pub fn new(valkey: Valkey) -> PolicyStore {
        let key = Key::partitioned(valkey.app(), Feature::POLICIES, "_", &["policies"], 0);
        PolicyStore { bells: valkey.doorbells(Feature::POLICIES), key, checked: Arc::default(), valkey }
    }

    /// Probes the engine for what the scripts need, and checks the stored layout, until both succeed once.
    ///
    /// # Errors
    ///
    /// Missing feature, or another layout.
    pub async fn check(&self) -> Result<(), keyplane_valkey::Error> {
        let check = async || {
            self.valkey.probe(&[Need::Scripts, Need::Pubsub]).await?;
            self.valkey.check_layout(Feature::POLICIES, LAYOUT).await
        };
        self.checked.get_or_try_init(check).await.copied()
    }

    /// Doorbell that rings on each change, and when the connection is made.
    pub(crate) fn bell(&self) -> ChangeBell {
        ChangeBell(self.bells.listen(&self.key))
    }

    /// Current revision.
    pub(crate) async fn revision(&self) -> Result<Revision, Error> {
        self.check().await?;
        let [number, changed] = self.fields(["v", "c"]).await?;
        Revision::decode(number.as_deref(), changed.as_deref())
    }

    /// Fields of the hash.
    pub(crate) async fn all(&self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.check().await?;
        Ok(self.valkey.hgetall(&self.key).await?)
    }

    /// Reads a policy.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if it is damaged, or the store's.
    pub(crate) async fn get(&self, id: &PolicyId) -> Result<Option<Policy>, Error> {
        self.check().await?;
        let [document] = self.fields([&format!("p:{id}")]).await?;
        document.map(|document| codec::decode(id.as_str().as_bytes(), &document)).transpose()
    }

    /// Creates a policy, unless `most` exist. With `dry`, validates only.
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

    /// Replaces the policy of the same id and version. With `dry`, validates only.
    pub(crate) async fn update(&self, policy: &Policy, dry: bool) -> Result<Change, Error> {
        let json = codec::encode(policy)?;
        let args = [policy.id.as_str(), &json, &policy.version.to_string(), flag(dry)];
        let (status, rest) = self.run(&UPDATE, &args).await?;
        changed(&policy.id, &status, &rest)
    }

    /// Deletes a policy; with a `version`, only that version.
    pub(crate) async fn delete(&self, id: &PolicyId, version: Option<u64>) -> Result<Change, Error> {
        let version = version.map_or_else(|| "-1".to_owned(), |version| version.to_string());
        let (status, rest) = self.run(&DELETE, &[id.as_str(), &version]).await?;
        changed(id, &status, &rest)
    }

    /// Sets the plan of a tenant; an empty one removes the plan or, with `keep`, notes that the tenant has none.
    pub(crate) async fn set_plan(&self, tenant: &TenantId, plan: &str, keep: bool) -> Result<Change, Error> {
        let (_, rest) = self.run(&SET_PLAN, &[tenant.as_str(), plan, flag(keep)]).await?;
        Change::decode(&rest)
    }

    async fn fields<const N: usize>(&self, names: [&str; N]) -> Result<[Option<Bytes>; N], Error> {
        let values = self.valkey.hmget(&self.key, &names).await?;
        values.try_into().map_err(|_| Error::Corrupt("a reply of another length"))
    }

    /// Runs a script; returns the status of its reply, and the rest.
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
    /// Decodes the hash. Damaged fields are left out and logged.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the revision is damaged.
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
                tracing::error!(%field, %error, "a stored policy or plan is damaged; it is left out");
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

    /// Policy after the change.
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
