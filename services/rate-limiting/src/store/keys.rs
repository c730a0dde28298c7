use std::borrow::Borrow;

use compact_str::{CompactString, format_compact};
use keyplane_valkey::{App, Feature, Key};

use crate::domain::{Descriptor, PolicyId};

/// The keys of what belongs to one owner, which share the hash tag `{tenant:owner}`:
///
/// | key | holds |
/// |---|---|
/// | `<app>:ratelimit:{<tenant>:<owner>}:b:<policy>[:<entry>.<value>]...` | a bucket |
/// | `<app>:ratelimit:{<tenant>:<owner>}:q:<request id>` | a charge that is remembered |
///
/// The owner is `u.<user>`, else `k.<api key>`, else `d.<values of what else there is>`, else `t`: the tenant itself. Without a
/// tenant, `_` is in its place, which no tenant is called. What the owner does not say stands at the end, with its
/// entry's name, so that no two policies and no two lists of values share a bucket.
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
    /// Where the bucket of what fills a policy belongs.
    #[must_use]
    pub fn of(descriptor: &Descriptor) -> Owner {
        let tenant = descriptor.tenant().unwrap_or("_").into();
        let of = |kind: &str, value: &str| {
            let mut owner = CompactString::from(kind);
            owner.push('.');
            owner.push_str(value);
            owner
        };
        let owner = match (descriptor.get("user"), descriptor.get("api_key")) {
            (Some(user), _) => of("u", user),
            (None, Some(key)) => of("k", key),
            (None, None) => {
                let rest: Vec<&str> = others(descriptor).map(|(_, value)| value).collect();
                if rest.is_empty() { "t".into() } else { of("d", &rest.join("\n")) }
            }
        };
        Owner { tenant, owner }
    }

    /// The bucket of a policy.
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

    /// The record of a charge.
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

/// What the owner does not say.
fn others(descriptor: &Descriptor) -> impl Iterator<Item = (&str, &str)> {
    let by_user = descriptor.get("user").is_some();
    let said = move |key: &str| key == "tenant" || key == "user" || (key == "api_key" && !by_user);
    let entries = descriptor.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    entries.filter(move |(key, _)| !said(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(policy: &str, entries: &[(&str, &str)]) -> String {
        let (app, policy) = (App::new("portal").unwrap(), PolicyId::parse(policy, "").unwrap());
        let descriptor = Descriptor::new(entries.iter().copied());
        Owner::of(&descriptor).bucket(&app, &policy, &descriptor).as_str().to_owned()
    }

    #[test]
    fn a_bucket_belongs_to_its_owner() {
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

    /// What envoyproxy/ratelimit and Gubernator join with `_`, `.` and `|`, so that these pairs meet in one counter.
    #[test]
    fn no_two_lists_share_a_bucket() {
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
