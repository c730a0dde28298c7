use std::borrow::Borrow;

use compact_str::{CompactString, format_compact};
use keyplane_valkey::{App, Feature, Key};

use crate::domain::{Descriptor, PolicyId};

/// Owner of buckets and of charges, whose keys share the hash tag `{tenant:owner}`:
///
/// | key | holds |
/// |---|---|
/// | `<app>:ratelimit:{<tenant>:<owner>}:b:<policy>[:<entry>.<value>]...` | a bucket |
/// | `<app>:ratelimit:{<tenant>:<owner>}:q:<request id>` | the record of a charge |
///
/// Owner is `u.<user>`, else `k.<api key>`, else `d.<values of the other entries>`, else `t`: the tenant itself. `_` stands
/// for a missing tenant, since no tenant has this name. Entries that the owner does not name follow at the end, each with its key,
/// so that no two policies and no two lists of values share a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    tenant: CompactString,
    owner: CompactString,
}

/// Key of a bucket. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BucketKey(pub(super) Key);

/// Key of a charge's record. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordKey(pub(super) Key);

// === impl Owner ===

impl Owner {
    /// Owner of the buckets that a descriptor fills.
    #[must_use]
    pub fn new(descriptor: &Descriptor) -> Owner {
        let tenant = descriptor.tenant().unwrap_or("_").into();
        let named = |kind: &str, value: &str| {
            let mut owner = CompactString::from(kind);
            owner.push('.');
            owner.push_str(value);
            owner
        };
        let owner = match (descriptor.get("user"), descriptor.get("api_key")) {
            (Some(user), _) => named("u", user),
            (None, Some(key)) => named("k", key),
            (None, None) => {
                let rest: Vec<&str> = others(descriptor).map(|(_, value)| value).collect();
                if rest.is_empty() { "t".into() } else { named("d", &rest.join("\n")) }
            }
        };
        Owner { tenant, owner }
    }

    /// Key of the bucket of a policy.
    #[must_use]
    pub fn bucket(&self, app: &App, policy: &PolicyId, descriptor: &Descriptor) -> BucketKey {
        let rest: Vec<_> = others(descriptor).map(|(key, value)| format_compact!("{key}.{value}")).collect();
        if rest.is_empty() {
            return BucketKey(self.key(app, &["b", policy.as_str()]));
        }
        let parts: Vec<&str> =
            ["b", policy.as_str()].into_iter().chain(rest.iter().map(|part| part.as_str())).collect();
        BucketKey(self.key(app, &parts))
    }

    /// Key of the record of a charge.
    #[must_use]
    pub fn record(&self, app: &App, request: &str) -> RecordKey {
        RecordKey(self.key(app, &["q", request]))
    }

    fn key(&self, app: &App, parts: &[&str]) -> Key {
        Key::tagged(app, Feature::RATELIMIT, &self.tenant, &self.owner, parts)
    }
}

// === impl BucketKey ===

impl BucketKey {
    /// Name in the store: ASCII only.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Borrow<str> for BucketKey {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

// === impl RecordKey ===

impl RecordKey {
    /// Name in the store: ASCII only.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Entries that the owner does not name.
fn others(descriptor: &Descriptor) -> impl Iterator<Item = (&str, &str)> {
    let by_user = descriptor.get("user").is_some();
    let is_named = move |key: &str| key == "tenant" || key == "user" || (key == "api_key" && !by_user);
    let entries = descriptor.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    entries.filter(move |(key, _)| !is_named(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(policy: &str, entries: &[(&str, &str)]) -> String {
        let (app, policy) = (App::new("portal").unwrap(), PolicyId::parse(policy, "").unwrap());
        let descriptor = Descriptor::new(entries.iter().copied());
        Owner::new(&descriptor).bucket(&app, &policy, &descriptor).as_str().to_owned()
    }

    #[test]
    fn bucket_key_names_its_owner() {
        for (entries, expected) in [
            (&[("tenant", "acme")][..], "portal:ratelimit:{acme:t}:b:p"),
            (&[("tenant", "acme"), ("user", "u-42")], "portal:ratelimit:{acme:u.u-42}:b:p"),
            (&[("user", "u-42"), ("tenant", "acme"), ("route", "/a")], "portal:ratelimit:{acme:u.u-42}:b:p:route.%2Fa"),
            (&[("tenant", "acme"), ("api_key", "k")], "portal:ratelimit:{acme:k.k}:b:p"),
            (&[("tenant", "acme"), ("api_key", "k"), ("user", "u")], "portal:ratelimit:{acme:u.u}:b:p:api_key.k"),
            (&[("tenant", "acme"), ("route", "/a")], "portal:ratelimit:{acme:d.%2Fa}:b:p:route.%2Fa"),
            (&[("remote_address", "::1")], "portal:ratelimit:{_:d.%3A%3A1}:b:p:remote_address.%3A%3A1"),
        ] {
            assert_eq!(key("p", entries), expected);
        }
    }

    /// Pairs that share a counter in envoyproxy/ratelimit and Gubernator, which join values with `_`, `.` and `|`.
    #[test]
    fn different_entries_never_share_a_bucket() {
        let lists: &[&[(&str, &str)]] = &[
            &[("a", "b_c_d")],
            &[("a", "b"), ("c", "d")],
            &[("a", "b.c.d")],
            &[("a.b", "c"), ("d", "e")],
            &[("a", "b:c")],
            &[("a", "b|c.d")],
            &[("a", "b"), ("c", "")],
            &[("tenant", "t"), ("user", "x"), ("a", "b")],
            &[("tenant", "t"), ("api_key", "x"), ("a", "b")],
            &[("tenant", "t"), ("a", "x"), ("b", "b")],
        ];
        let keys: std::collections::BTreeSet<String> = lists.iter().map(|list| key("p", list)).collect();
        assert_eq!(keys.len(), lists.len());
        assert_ne!(key("p", lists[0]), key("q", lists[0]));
    }
}
