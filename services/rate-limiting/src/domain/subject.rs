use std::collections::BTreeMap;

use compact_str::CompactString;
use keyplane_contracts::names::{Id, TenantId};
use keyplane_contracts::rules::ratelimit as stated;
use keyplane_contracts::{Violation, Violations};

use super::policy::is_text;
use super::{Entry, Policy};

/// Subject of a call: the values that fill the entries of policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    tenant: &'a TenantId,
    values: Vec<(&'a str, &'a str)>,
}

/// Descriptor: keys and values, in an order that matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Entries in Envoy's order. Most texts are short and stored inline.
    pub entries: Vec<(CompactString, CompactString)>,
}

// === impl Subject ===

impl<'a> Subject<'a> {
    /// Subject of a call; empty texts are left out.
    pub fn new(
        tenant: &'a TenantId,
        user: &'a str,
        api_key: &'a str,
        route: &'a str,
        descriptors: BTreeMap<&'a str, &'a str>,
        violations: &mut Violations,
    ) -> Subject<'a> {
        let mut values = Vec::with_capacity(4 + descriptors.len());
        values.push(("tenant", tenant.as_str()));
        for (key, value) in [("user", user), ("api_key", api_key)] {
            if !value.is_empty() && violations.keep(Id::parse(value, key)).is_some() {
                values.push((key, value));
            }
        }
        if !route.is_empty() {
            check_value(route, "route", violations);
            values.push(("route", route));
        }
        if descriptors.len() > stated::DESCRIPTORS {
            violations.add("descriptors", format!("must be at most 8; {} were sent", descriptors.len()));
        }
        for (key, value) in descriptors {
            if ["tenant", "user", "api_key", "route"].contains(&key) {
                violations.add("descriptors", format!("must not hold {key}, which has a field of its own"));
            }
            if key.is_empty() || key.len() > 64 {
                violations.add("descriptors", format!("a key must have 1 to 64 bytes; {} were sent", key.len()));
            }
            check_value(value, "descriptors", violations);
            values.push((key, value));
        }
        Subject { tenant, values }
    }

    /// Tenant of the call.
    #[must_use]
    pub fn tenant(&self) -> &'a TenantId {
        self.tenant
    }

    /// Value by its key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.values.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// Values for the entries of `policy`, in its order; none if an entry names another value than the subject's.
    ///
    /// # Errors
    ///
    /// Entry that the subject has no value for.
    pub fn fill(&self, policy: &Policy) -> Result<Option<Descriptor>, Violation> {
        let mut entries = Vec::with_capacity(policy.entries.len());
        for Entry { key, value } in &policy.entries {
            let Some(own) = self.get(key) else {
                let field = if ["user", "api_key", "route"].contains(&key.as_str()) { key } else { "descriptors" };
                let rule = format!("policy {} needs `{key}`, which is missing", policy.id);
                return Err(Violation::new(field, rule));
            };
            if value.as_ref().is_some_and(|value| value != own) {
                return Ok(None);
            }
            entries.push((key.as_str().into(), own.into()));
        }
        Ok(Some(Descriptor { entries }))
    }
}

// === impl Descriptor ===

impl Descriptor {
    /// Descriptor of keys and their values.
    pub fn new<K: Into<CompactString>, V: Into<CompactString>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Descriptor {
        Descriptor { entries: entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect() }
    }

    /// Tenant of the descriptor.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.get("tenant")
    }

    /// Value by its key; the first, if there are several.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

fn check_value(value: &str, field: &str, violations: &mut Violations) {
    if !is_text(value, stated::VALUE) {
        violations.add(field, format!("must be 1 to 256 bytes without control characters; {} were sent", value.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::tests::policy;

    fn fill(policy: &Policy) -> Result<Option<Descriptor>, Violation> {
        let mut violations = Violations::new();
        let tenant = TenantId::parse("acme", "").unwrap();
        let more = [("model", "small")].into();
        let subject = Subject::new(&tenant, "u-42", "", "/v1/chat", more, &mut violations);
        assert!(violations.is_empty());
        subject.fill(policy)
    }

    #[test]
    fn descriptor_has_the_order_of_the_policy() {
        let filled = fill(&policy("p", &["model", "tenant", "user"])).unwrap().unwrap();
        let values: Vec<&str> = filled.entries.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["small", "acme", "u-42"]);
        assert_eq!(filled.tenant(), Some("acme"));
    }

    #[test]
    fn missing_values_are_named() {
        let missing = |key: &str| fill(&policy("p", &[key])).unwrap_err().to_string();
        assert_eq!(missing("api_key"), "api_key: policy p needs `api_key`, which is missing");
        assert_eq!(missing("region"), "descriptors: policy p needs `region`, which is missing");
    }

    #[test]
    fn another_value_does_not_match() {
        let mut policy = policy("p", &["model"]);
        policy.entries[0].value = Some("large".to_owned());
        assert_eq!(fill(&policy), Ok(None));
    }

    #[test]
    fn every_value_is_checked() {
        let mut violations = Violations::new();
        let tenant = TenantId::parse("acme", "").unwrap();
        let more = [("user", "x"), ("model", "a\tb")].into();
        let route = "x".repeat(257);
        Subject::new(&tenant, "a b", "", &route, more, &mut violations);
        assert_eq!(
            violations.to_string(),
            "user: the id must match [A-Za-z0-9._~@|:+-]{1,128}; 3 bytes were sent; \
             route: must be 1 to 256 bytes without control characters; 257 were sent; \
             descriptors: must be 1 to 256 bytes without control characters; 3 were sent; \
             descriptors: must not hold user, which has a field of its own"
        );
    }
}
