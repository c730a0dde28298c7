//! Records and replies as the scripts keep them; `scripts/common.lua` describes them.

use keyplane_audit::{Cause, Position};
use keyplane_revocation::{Millis, RevocationId, Scope, State, Target, TokenHash, Version};
use keyplane_valkey::{StreamEntry, Value};

use crate::domain::{AuditEntry, Record};
use crate::error::Error;

/// Decodes a record. A token's record does not name its target: the token is `tenant`'s, and `id` holds its hash.
pub(super) fn record(text: &str, tenant: &str, id: &RevocationId) -> Result<Record, Error> {
    let malformed = Error::Corrupt("a record is malformed");
    let mut head = text.splitn(3, ';');
    let (Some(version), Some(_appended), Some(rest)) = (head.next(), head.next(), head.next()) else {
        return Err(malformed);
    };
    // No part of a state or of a target has a `;` in it.
    let (Some((state, target)), Some(version)) = (rest.rsplit_once(';'), Version::parse(version)) else {
        return Err(malformed);
    };
    let target = if target.is_empty() { token_target(tenant, id) } else { Target::decode(target).ok() };
    let target = target.ok_or(Error::Corrupt("a record's target is malformed"))?;
    let state = State::decode(state).map_err(|_| Error::Corrupt("a record's state is malformed"))?;
    Ok(Record { target, state, version })
}

fn token_target(tenant: &str, id: &RevocationId) -> Option<Target> {
    let hash = TokenHash::from_hex(id.as_str().strip_prefix('t')?)?;
    Some(Target { tenant: tenant.into(), scope: Scope::Token(hash) })
}

/// Decodes an entry of a tenant's audit.
pub(super) fn audit(at: Position, entry: &StreamEntry) -> Result<AuditEntry, Error> {
    let get = |name| keyplane_audit::text(entry, name).map(Option::unwrap_or_default);
    let version = Version::parse(get("v")?).ok_or(Error::Corrupt("a version in the audit is malformed"))?;
    let state = State::decode(get("t")?).map_err(|_| Error::Corrupt("a state in the audit is malformed"))?;
    let target = Target::decode(get("s")?).map_err(|_| Error::Corrupt("a target in the audit is malformed"))?;
    Ok(AuditEntry {
        time: Millis(i64::try_from(at.millis).unwrap_or(i64::MAX)),
        record: Record { target, state, version },
        cause: Cause::read(entry)?,
    })
}

/// Decodes an array of exactly `N` elements.
pub(super) fn exactly<const N: usize>(value: Value) -> Result<[Value; N], Error> {
    <[Value; N]>::try_from(value.array()?).map_err(|_| Error::Corrupt("a reply of another length"))
}

/// Decodes a moment of a reply.
pub(super) fn moment(value: &Value) -> Result<Millis, Error> {
    Ok(Millis(value.int()?))
}

/// Decodes a number of a reply that is never negative.
pub(super) fn count(value: &Value) -> Result<u64, Error> {
    u64::try_from(value.int()?).map_err(|_| Error::Corrupt("a number in a reply is negative"))
}

pub(super) fn text(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| Error::Corrupt("text that is not UTF-8"))
}

pub(super) fn number(bytes: &[u8]) -> Result<u64, Error> {
    text(bytes)?.parse().map_err(|_| Error::Corrupt("a malformed number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_with_its_target_or_by_its_id() {
        let id = RevocationId::parse("t0102030405060708090a0b0c0d0e0f10").expect("an id");
        let token = record("17;;R;9;;5;;", "acme", &id).expect("a token's record");
        assert_eq!((token.version, token.target.id()), (Version(17), id));
        let tenant = record("17;3;U;9;5;;a=,b=4;n acme", "acme", &id).expect("a tenant's record");
        assert_eq!((tenant.target.scope, tenant.state.kept.len(), tenant.state.undone), (Scope::Tenant, 2, true));
    }

    #[test]
    fn a_malformed_record_is_corrupt() {
        let token = RevocationId::parse("t0102030405060708090a0b0c0d0e0f10").expect("an id");
        let session = RevocationId::parse("s0102030405060708090a0b0c0d0e0f10").expect("an id");
        for text in ["", "17", "17;;", "x;;R;9;;;;", "17;;R;9;;;", "17;;X;9;;;;", "17;;R;9;;;;x"] {
            assert!(record(text, "acme", &token).is_err(), "{text:?}");
        }
        assert!(record("17;;R;9;;5;;", "acme", &session).is_err(), "a session's record names the session");
    }
}
