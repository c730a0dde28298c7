//! Conversion between the messages of `keyplane.revocation.v1` and this crate's types.

use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::span;
use prost_types::{Duration as PbDuration, Timestamp};
use std::time::Duration;

use crate::rules::{Rule, Rules};
use crate::state::{Entry, Kept, State};
use crate::target::{CutoffBy, Scope, Target, TokenHash};
use crate::time::{Millis, Version};

/// Error of a malformed message. Values are not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {rule}")]
pub struct Invalid {
    /// Field, in proto spelling.
    pub field: &'static str,
    /// Rule that it breaks.
    pub rule: &'static str,
}

// --- times ---

/// Reads a moment, cut to the millisecond, towards the past.
///
/// # Errors
/// [`Invalid`] with `field`, for a moment outside of the years 1 to 9999, or nanoseconds outside of 0 to 999,999,999.
pub fn millis(field: &'static str, timestamp: &Timestamp) -> Result<Millis, Invalid> {
    let millis = keyplane_contracts::timestamp::millis(timestamp);
    millis.map(Millis).ok_or(Invalid { field, rule: keyplane_contracts::timestamp::RULE })
}

/// Reads an optional moment; see [`millis`].
///
/// # Errors
/// [`Invalid`]: see [`millis`].
pub fn optional_millis(field: &'static str, timestamp: Option<&Timestamp>) -> Result<Option<Millis>, Invalid> {
    timestamp.map(|timestamp| millis(field, timestamp)).transpose()
}

/// Writes a moment; one outside of the years 1 to 9999 becomes the nearest of them.
pub fn timestamp(millis: Millis) -> Timestamp {
    keyplane_contracts::timestamp::from_millis(millis.0)
}

// --- rules ---

/// Writes the rules.
pub fn rules(rules: &Rules) -> pb::Rules {
    pb::Rules {
        max_lifetime: Some(span(rules.max_lifetime)),
        leeway: Some(span(rules.leeway)),
        issuer_skew: Some(span(rules.issuer_skew)),
    }
}

/// Reads the rules.
///
/// # Errors
/// [`Invalid`] if a duration is negative or malformed, or `max_lifetime` is missing; the others are zero then.
pub fn rules_of(message: &pb::Rules) -> Result<Rules, Invalid> {
    let read = |field, duration: Option<&PbDuration>| {
        let invalid = Invalid { field, rule: "must be a duration that is not negative" };
        duration.map_or(Ok(Duration::ZERO), |duration| Duration::try_from(*duration).map_err(|_| invalid))
    };
    let missing = Invalid { field: "max_lifetime", rule: "must be set" };
    message.max_lifetime.as_ref().ok_or(missing)?;
    Ok(Rules {
        max_lifetime: read("max_lifetime", message.max_lifetime.as_ref())?,
        leeway: read("leeway", message.leeway.as_ref())?,
        issuer_skew: read("issuer_skew", message.issuer_skew.as_ref())?,
    })
}

/// Writes a rule.
pub fn rule(rule: Rule) -> pb::Rule {
    match rule {
        Rule::NoExpiry => pb::Rule::NoExpiry,
        Rule::Expired => pb::Rule::Expired,
        Rule::LifetimeTooLong => pb::Rule::LifetimeTooLong,
        Rule::IssuedInFuture => pb::Rule::IssuedInFuture,
        Rule::Tenant => pb::Rule::Tenant,
        Rule::Key => pb::Rule::Key,
        Rule::Client => pb::Rule::Client,
        Rule::Subject => pb::Rule::Subject,
        Rule::Session => pb::Rule::Session,
        Rule::Token => pb::Rule::Token,
        Rule::Lost => pb::Rule::Lost,
    }
}

/// Reads a rule; `None` if it is unspecified, or goes with a verdict of its own, so that nothing is revoked.
pub fn rule_of(message: pb::Rule) -> Option<Rule> {
    match message {
        pb::Rule::Unspecified | pb::Rule::KeyUnknown => None,
        pb::Rule::NoExpiry => Some(Rule::NoExpiry),
        pb::Rule::Expired => Some(Rule::Expired),
        pb::Rule::LifetimeTooLong => Some(Rule::LifetimeTooLong),
        pb::Rule::IssuedInFuture => Some(Rule::IssuedInFuture),
        pb::Rule::Tenant => Some(Rule::Tenant),
        pb::Rule::Key => Some(Rule::Key),
        pb::Rule::Client => Some(Rule::Client),
        pb::Rule::Subject => Some(Rule::Subject),
        pb::Rule::Session => Some(Rule::Session),
        pb::Rule::Token => Some(Rule::Token),
        pb::Rule::Lost => Some(Rule::Lost),
    }
}

// --- the feed ---

/// Writes the kind of a scope.
pub fn scope(scope: &Scope) -> pb::Scope {
    match scope {
        Scope::Token(_) => pb::Scope::Token,
        Scope::Session(_) => pb::Scope::Session,
        Scope::Subject { by: CutoffBy::IssuedAt, .. } => pb::Scope::SubjectIssuedAt,
        Scope::Subject { by: CutoffBy::AuthTime, .. } => pb::Scope::SubjectAuthTime,
        Scope::Client(_) => pb::Scope::Client,
        Scope::Key { .. } => pb::Scope::Key,
        Scope::Tenant => pb::Scope::Tenant,
    }
}

/// Names of a scope, for the fields `target` and `issuer`: the sid, user, client or kid, and the issuer of a key; empty
/// where there is none. A token has none, since only its hash is known.
pub fn names(scope: &Scope) -> (&str, &str) {
    match scope {
        Scope::Token(_) | Scope::Tenant => ("", ""),
        Scope::Session(name) | Scope::Subject { user: name, .. } | Scope::Client(name) => (name, ""),
        Scope::Key { issuer, kid } => (kid, issuer),
    }
}

/// Writes an entry. Times outside of the years 1 to 9999 become the nearest of them.
pub fn feed_entry(entry: &Entry) -> pb::FeedEntry {
    let Entry { target, state, version } = entry;
    let (name, issuer) = names(&target.scope);
    let token_hash = match &target.scope {
        Scope::Token(hash) => hash.as_bytes().to_vec(),
        Scope::Session(_) | Scope::Subject { .. } | Scope::Client(_) | Scope::Key { .. } | Scope::Tenant => Vec::new(),
    };
    let kept =
        |kept: &Kept| pb::feed_entry::Kept { sid: kept.sid.to_string(), cutoff_time: kept.cutoff.map(timestamp) };
    pb::FeedEntry {
        tenant: target.tenant.to_string(),
        scope: scope(&target.scope).into(),
        token_hash,
        target: name.to_owned(),
        issuer: issuer.to_owned(),
        cutoff_time: state.cutoff.map(timestamp),
        kept: state.kept.iter().map(kept).collect(),
        expire_time: Some(timestamp(state.expires)),
        token_expire_time: state.token_expires.map(timestamp),
        undone: state.undone,
        version: i64::try_from(version.0).unwrap_or(i64::MAX),
    }
}

/// Reads an entry.
///
/// # Errors
/// [`Invalid`] with the first field that is missing or malformed. Entries must not be guessed: a replica that can't
/// read one must not answer.
pub fn entry_of(message: &pb::FeedEntry) -> Result<Entry, Invalid> {
    let expires = message.expire_time.as_ref().ok_or(Invalid { field: "expire_time", rule: "must be set" })?;
    let kept = |kept: &pb::feed_entry::Kept| {
        let cutoff = optional_millis("kept.cutoff_time", kept.cutoff_time.as_ref())?;
        Ok(Kept { sid: named("kept.sid", &kept.sid)?, cutoff })
    };
    let state = State {
        undone: message.undone,
        expires: millis("expire_time", expires)?,
        cutoff: optional_millis("cutoff_time", message.cutoff_time.as_ref())?,
        token_expires: optional_millis("token_expire_time", message.token_expire_time.as_ref())?,
        kept: message.kept.iter().map(kept).collect::<Result<_, _>>()?,
    };
    let target = Target { tenant: named("tenant", &message.tenant)?, scope: scope_of(message)? };
    let version =
        u64::try_from(message.version).map_err(|_| Invalid { field: "version", rule: "must not be negative" })?;
    Ok(Entry { target, state, version: Version(version) })
}

fn scope_of(message: &pb::FeedEntry) -> Result<Scope, Invalid> {
    let unknown = Invalid { field: "scope", rule: "is not one that this program knows; it may be too old" };
    let name = || named("target", &message.target);
    Ok(match pb::Scope::try_from(message.scope).map_err(|_| unknown)? {
        pb::Scope::Unspecified => return Err(unknown),
        pb::Scope::Token => Scope::Token(token_hash(&message.token_hash)?),
        pb::Scope::Session => Scope::Session(name()?),
        pb::Scope::SubjectIssuedAt => Scope::Subject { user: name()?, by: CutoffBy::IssuedAt },
        pb::Scope::SubjectAuthTime => Scope::Subject { user: name()?, by: CutoffBy::AuthTime },
        pb::Scope::Client => Scope::Client(name()?),
        pb::Scope::Key => Scope::Key { issuer: named("issuer", &message.issuer)?, kid: name()? },
        pb::Scope::Tenant => Scope::Tenant,
    })
}

fn token_hash(bytes: &[u8]) -> Result<TokenHash, Invalid> {
    let bytes: Result<[u8; TokenHash::BYTES], _> = bytes.try_into();
    bytes.map(TokenHash::from).map_err(|_| Invalid { field: "token_hash", rule: "must have 16 bytes" })
}

fn named(field: &'static str, name: &str) -> Result<Box<str>, Invalid> {
    if name.is_empty() { Err(Invalid { field, rule: "must not be empty" }) } else { Ok(name.into()) }
}

#[cfg(test)]
mod tests;
