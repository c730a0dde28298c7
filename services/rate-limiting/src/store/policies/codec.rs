//! Codec of stored policies: JSON, in one form only.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use keyplane_contracts::names::TenantId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::{Entry, Limit, Mode, Origin, Outage, Policy, PolicyId, check_plan};
use crate::error::Error;

/// Stored document of a policy; see `scripts/policies/common.lua`.
#[derive(Deserialize)]
struct Document {
    version: u64,
    updated: u64,
    policy: Stored,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    domain: String,
    entries: Vec<StoredEntry>,
    limit: StoredLimit,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    plans: BTreeMap<String, StoredLimit>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tenants: BTreeMap<String, StoredLimit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outage: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    post_charge: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    lease: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredEntry {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredLimit {
    mode: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    amount: u64,
    /// Period in microseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    period: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    burst: u64,
}

/// Encodes a policy without its id, version, origin and time.
///
/// # Errors
///
/// Never for a valid policy.
pub(super) fn encode(policy: &Policy) -> Result<String, Error> {
    let limits = |limits: &BTreeMap<String, Limit>| limits.iter().map(|(name, l)| (name.clone(), l.into())).collect();
    let entry = |entry: &Entry| StoredEntry { key: entry.key.clone(), value: entry.value.clone() };
    let stored = Stored {
        domain: policy.domain.clone(),
        entries: policy.entries.iter().map(entry).collect(),
        limit: (&policy.limit).into(),
        plans: limits(&policy.plans),
        tenants: limits(&policy.tenants),
        outage: policy.outage.map(|outage| outage.name().to_owned()),
        post_charge: policy.post_charge,
        lease: policy.lease,
    };
    serde_json::to_string(&stored).map_err(|_| Error::Corrupt("a policy can't be encoded"))
}

/// Decodes the policy of the field `p:<id>`.
///
/// # Errors
///
/// [`Error::Corrupt`] if this service never writes such a value.
pub(super) fn decode(id: &[u8], document: &[u8]) -> Result<Policy, Error> {
    let id = std::str::from_utf8(id).ok().and_then(|id| PolicyId::parse(id, "").ok());
    let id = id.ok_or(Error::Corrupt("the id of a policy breaks its rule"))?;
    let Document { version, updated, policy: stored } =
        serde_json::from_slice(document).map_err(|_| Error::Corrupt("the JSON of a policy is damaged"))?;
    let unnamed = || Error::Corrupt("a policy has an unknown outage mode");
    let outage = stored.outage.map(|name| Outage::named(&name).ok_or_else(unnamed)).transpose()?;
    let policy = Policy {
        id,
        domain: stored.domain,
        entries: stored.entries.into_iter().map(|StoredEntry { key, value }| Entry { key, value }).collect(),
        limit: stored.limit.decode()?,
        plans: decode_limits(stored.plans)?,
        tenants: decode_limits(stored.tenants)?,
        outage,
        post_charge: stored.post_charge,
        lease: stored.lease,
        version,
        origin: Origin::Api,
        updated: Some(time(updated)),
    };
    if policy.check().is_empty() { Ok(policy) } else { Err(Error::Corrupt("a policy breaks its rules")) }
}

/// Decodes the tenant of the field `t:<tenant>`, and its plan.
///
/// # Errors
///
/// [`Error::Corrupt`] if this service never writes such a value.
pub(super) fn decode_plan(tenant: &[u8], plan: &[u8]) -> Result<(String, String), Error> {
    let tenant = std::str::from_utf8(tenant).ok().and_then(|tenant| TenantId::parse(tenant, "").ok());
    let plan = std::str::from_utf8(plan).ok().filter(|plan| plan.is_empty() || check_plan(plan, "").is_ok());
    let both = tenant.zip(plan).ok_or(Error::Corrupt("the plan of a tenant breaks its rule"))?;
    Ok((both.0.as_str().to_owned(), both.1.to_owned()))
}

/// Etag of a policy: its version or, for a policy of the file, a digest of its contents.
#[must_use]
pub fn etag(policy: &Policy) -> String {
    match policy.origin {
        Origin::Api => policy.version.to_string(),
        Origin::File => {
            let digest = Sha256::digest(encode(policy).unwrap_or_default());
            format!("f{}", HEXLOWER.encode_display(&digest[..8]))
        }
    }
}

/// Time of microseconds since 1970.
pub(super) fn time(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros)
}

// === impl StoredLimit ===

impl From<&Limit> for StoredLimit {
    fn from(limit: &Limit) -> StoredLimit {
        StoredLimit {
            mode: limit.mode.name().to_owned(),
            amount: limit.amount,
            period: u64::try_from(limit.period.as_micros()).unwrap_or(u64::MAX),
            burst: limit.burst,
        }
    }
}

impl StoredLimit {
    fn decode(self) -> Result<Limit, Error> {
        let modes = [Mode::Enforce, Mode::Shadow, Mode::Unlimited, Mode::Block];
        let mode = modes.into_iter().find(|mode| mode.name() == self.mode);
        let mode = mode.ok_or(Error::Corrupt("a limit has an unknown mode"))?;
        Ok(Limit { mode, amount: self.amount, period: Duration::from_micros(self.period), burst: self.burst })
    }
}

fn decode_limits(stored: BTreeMap<String, StoredLimit>) -> Result<BTreeMap<String, Limit>, Error> {
    stored.into_iter().map(|(name, limit)| limit.decode().map(|limit| (name, limit))).collect()
}

// serde passes references.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn plain(id: &str) -> Policy {
        let entries = ["tenant", "user"].map(|key| Entry { key: key.to_owned(), value: None });
        Policy {
            id: PolicyId::parse(id, "").unwrap(),
            domain: "keyplane".to_owned(),
            entries: entries.into(),
            limit: Limit::per(100, Duration::from_secs(1)),
            plans: BTreeMap::new(),
            tenants: BTreeMap::new(),
            outage: None,
            post_charge: false,
            lease: 0,
            version: 7,
            origin: Origin::Api,
            updated: Some(time(1_700_000_000_000_000)),
        }
    }

    fn document(policy: &Policy) -> String {
        format!(r#"{{"version":{},"updated":1700000000000000,"policy":{}}}"#, policy.version, encode(policy).unwrap())
    }

    fn limits() -> impl Strategy<Value = Limit> {
        let most = Limit::MOST;
        let counted = (1..=most, 1_000_000..=60_000_000_u64, 0..=most, any::<bool>());
        let counted = counted.prop_map(|(amount, micros, burst, shadow)| Limit {
            mode: if shadow { Mode::Shadow } else { Mode::Enforce },
            amount,
            period: Duration::from_micros(micros),
            // No more than leaks away in time.
            burst: burst.min(amount),
        });
        prop_oneof![Just(Limit::UNLIMITED), Just(Limit::BLOCK), counted]
    }

    fn policies() -> impl Strategy<Value = Policy> {
        let text = "[^\\p{Cc}]{1,30}";
        let outage = prop_oneof![Just(Outage::Closed), Just(Outage::Open), Just(Outage::Local)];
        let maps = (btree_map("[a-z0-9][a-z0-9_.-]{0,8}", limits(), 0..4), btree_map("[a-z0-9]{1,8}", limits(), 0..4));
        let parts = (text, vec(option::of(text), 3), limits(), maps, option::of(outage), any::<bool>(), 0..=1_u64);
        parts.prop_map(|(domain, values, limit, (plans, tenants), outage, post_charge, lease)| Policy {
            domain,
            entries: ["tenant", "x_1", "model"]
                .into_iter()
                .zip(values)
                .map(|(key, value)| Entry { key: key.to_owned(), value })
                .collect(),
            limit,
            plans,
            tenants,
            outage,
            post_charge,
            lease: if post_charge { 0 } else { lease },
            ..plain("user:api@x")
        })
    }

    proptest! {
        #[test]
        fn encoded_policy_is_decoded_unchanged(policy in policies()) {
            let document = document(&policy);
            let read = decode(b"user:api@x", document.as_bytes()).expect("what was written");
            prop_assert_eq!(&read, &policy);
            prop_assert_eq!(encode(&read).unwrap(), encode(&policy).unwrap());
        }
    }

    #[test]
    fn stored_form_is_fixed() {
        let mut policy = plain("p");
        policy.entries[1].value = Some("u-42".to_owned());
        policy.tenants.insert("evil".to_owned(), Limit::BLOCK);
        policy.outage = Some(Outage::Local);
        assert_eq!(
            encode(&policy).unwrap(),
            r#"{"domain":"keyplane","entries":[{"key":"tenant"},{"key":"user","value":"u-42"}],"limit":{"mode":"enforce","amount":100,"period":1000000},"tenants":{"evil":{"mode":"block"}},"outage":"local"}"#
        );
    }

    #[test]
    fn damage_is_reported() {
        let good = document(&plain("p"));
        let damaged = |id: &str, document: &str| decode(id.as_bytes(), document.as_bytes()).unwrap_err().to_string();
        for (document, reason) in [
            (String::new(), "the JSON of a policy is damaged"),
            (good[..good.len() - 1].to_owned(), "the JSON of a policy is damaged"),
            (good.replace("enforce", "force"), "a limit has an unknown mode"),
            (good.replace("\"amount\":100", "\"amount\":0"), "a policy breaks its rules"),
            (good.replace("\"version\":7", "\"version\":-7"), "the JSON of a policy is damaged"),
        ] {
            assert_eq!(damaged("p", &document), format!("the stored data is damaged: {reason}"), "{document}");
        }
        assert_eq!(damaged("a b", &good), "the stored data is damaged: the id of a policy breaks its rule");
        assert!(decode_plan(b"acme", b"").is_ok() && decode_plan(b"acme", b"gold").is_ok());
        assert!(decode_plan(b"Acme", b"gold").is_err() && decode_plan(b"acme", b"Gold").is_err());
    }

    #[test]
    fn etag_changes_with_the_policy() {
        let (api, file) = (plain("p"), Policy { origin: Origin::File, version: 0, ..plain("p") });
        assert_eq!(etag(&api), "7");
        let other = Policy { post_charge: true, ..file.clone() };
        assert!(etag(&file) == etag(&file) && etag(&file) != etag(&other) && etag(&file).len() == 17);
    }
}
