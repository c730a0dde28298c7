//! Rules of single fields. A violation names the rule and the length of the value, never the value.

use keyplane_contracts::names::{Id, TenantId};
use keyplane_contracts::{Violation, Violations, timestamp};
use keyplane_revocation::{Millis, RevocationId, Sequence};

use crate::domain::names::LONGEST;

/// Reads the tenant of `tenants/{tenant}`.
pub(in crate::grpc) fn tenant<'a>(name: &'a str, field: &str) -> Result<&'a str, Violation> {
    match name.strip_prefix("tenants/").filter(|tenant| !tenant.contains('/')) {
        Some(tenant) => TenantId::parse(tenant, field).map(|_| tenant),
        None => Err(Violation::of_text(field, "must have the form tenants/{tenant}", name)),
    }
}

/// Reads the tenant and the id of `tenants/{tenant}/revocations/{revocation}`.
pub(super) fn revocation_name<'a>(name: &'a str, field: &str) -> Result<(&'a str, RevocationId), Violation> {
    let mismatch = || Violation::of_text(field, "must have the form tenants/{tenant}/revocations/{revocation}", name);
    let (parent, id) = name.split_once("/revocations/").ok_or_else(mismatch)?;
    let tenant = tenant(parent, field)?;
    let rule = "the revocation must be a letter of t, s, i, a, c, k and n, and 32 hexadecimal digits in lower case";
    Ok((tenant, RevocationId::parse(id).ok_or_else(|| Violation::of_text(field, rule, name))?))
}

/// Rule that a text breaks which is not [nameable](is_nameable).
pub(super) fn unnameable(text: &str) -> String {
    match text.len() {
        0 => "must be set".to_owned(),
        sent => format!("must be 1 to {LONGEST} bytes without control characters; {sent} bytes were sent"),
    }
}

/// Reads a required user.
pub(super) fn user(text: &str, field: &str, violations: &mut Violations) -> Option<Box<str>> {
    violations.keep(Id::parse(text, field)).map(|_| text.into())
}

/// Reads a moment, cut to milliseconds: since 1970, up to the year 9999.
pub(super) fn moment(time: &prost_types::Timestamp) -> Option<Millis> {
    timestamp::millis(time).filter(|millis| *millis >= 0).map(Millis)
}

/// Rule of a [`moment`].
pub(super) const NO_MOMENT: &str = "must be a time between the years 1970 and 9999";

/// Reads a sequence of this store.
pub(super) fn sequence(text: &str, field: &str, partitions: u32) -> Result<Sequence, Violation> {
    let sequence = Sequence::parse(text).ok().filter(|sequence| sequence.partitions() == partitions);
    sequence.ok_or_else(|| Violation::of_text(field, "must be the sequence of a revocation", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed() {
        let id = format!("t{}", "0f".repeat(16));
        let name = format!("tenants/acme/revocations/{id}");
        assert_eq!(revocation_name(&name, "name").map(|(tenant, id)| (tenant, id.to_string())), Ok(("acme", id)));
        for name in
            ["", "tenants/acme", "tenants/acme/revocations/", "tenants/acme/revocations/x", "tenants/a/b/revocations/x"]
        {
            assert!(revocation_name(name, "name").is_err(), "{name}");
        }
        assert_eq!(tenant("tenants/acme", "parent"), Ok("acme"));
        for name in ["", "acme", "tenants/", "tenants/ACME", "tenants/a/b", "tenants/-"] {
            let violation = tenant(name, "parent").expect_err(name);
            assert_eq!(violation.field, "parent");
            assert!(name.is_empty() || !violation.description.contains("ACME"), "the value is never repeated");
        }
    }

    #[test]
    fn times_are_cut_to_milliseconds() {
        let time = |seconds, nanos| moment(&prost_types::Timestamp { seconds, nanos });
        assert_eq!(time(1, 999_999_999), Some(Millis(1999)));
        assert_eq!(time(253_402_300_799, 0), Some(Millis(253_402_300_799_000)));
        for bad in [time(-1, 0), time(253_402_300_800, 0), time(1, -1), time(1, 1_000_000_000)] {
            assert_eq!(bad, None);
        }
    }
}
