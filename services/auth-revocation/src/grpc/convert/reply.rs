//! Responses about revocations, and how fresh an answer is.

use keyplane_contracts::audit::v1 as audit;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_server::SERVICE_NAME;
use keyplane_contracts::span;
use keyplane_revocation::{RevocationId, Rules, Scope, Sequence, wire};
use keyplane_server::item_error;

use crate::app::check::{Freshness, Source};
use crate::domain::{AuditEntry, Durability, Outcome, Record, Written};
use crate::error::Error;

/// Name of a revocation.
pub(super) fn name(tenant: &str, id: &RevocationId) -> String {
    ["tenants/", tenant, "/revocations/", id.as_str()].concat()
}

/// Revocation that was read.
pub(in crate::grpc) fn revocation(record: &Record, rules: &Rules) -> pb::Revocation {
    let Record { target, state, version } = record;
    let (named, issuer) = wire::names(&target.scope);
    let live = if state.undone { pb::revocation::State::Undone } else { pb::revocation::State::Revoked };
    let stored = version.0 != 0;
    pb::Revocation {
        name: name(&target.tenant, &target.id()),
        scope: wire::scope(&target.scope).into(),
        target: named.to_owned(),
        issuer: issuer.to_owned(),
        cutoff_time: state.cutoff.map(wire::timestamp),
        keep_sids: state.kept.iter().map(|kept| kept.sid.to_string()).collect(),
        expire_time: Some(wire::timestamp(state.expires)),
        state: live.into(),
        etag: if stored { version.to_string() } else { String::new() },
        update_time: stored.then(|| wire::timestamp(version.time())),
        sequence: String::new(),
        durability: pb::Durability::Unspecified.into(),
        reissue_time: state.cutoff.map(|cutoff| wire::timestamp(rules.reissue_time(cutoff))),
    }
}

/// Revocation that was made or undone.
pub(in crate::grpc) fn written(written: &Written, rules: &Rules) -> pb::Revocation {
    let mut message = revocation(&written.record, rules);
    if written.outcome == Outcome::Expired {
        message.set_state(pb::revocation::State::AlreadyExpired);
    }
    let sequence = written.sequence.encode();
    pb::Revocation { sequence, durability: durability(written.durability).into(), ..message }
}

/// Result of one revocation among many.
pub(in crate::grpc) fn result(made: &Result<Written, Error>, rules: &Rules) -> pb::RevokeResult {
    match made {
        Ok(made) => pb::RevokeResult { revocation: Some(written(made, rules)), ..pb::RevokeResult::default() },
        Err(error) => pb::RevokeResult { error: Some(item_error(error)), ..pb::RevokeResult::default() },
    }
}

/// Results of a batch, with the sequence that covers all of them, and the weakest durability.
pub(in crate::grpc) fn batch_revoked(
    results: &[Result<Written, Error>],
    partitions: u32,
    rules: &Rules,
) -> pb::BatchRevokeResponse {
    let made = || results.iter().flatten();
    let mut sequence = Sequence::new(partitions);
    for written in made() {
        sequence.merge(&written.sequence);
    }
    let weakest = made().filter(|written| written.outcome != Outcome::Expired).map(|written| written.durability).min();
    pb::BatchRevokeResponse {
        results: results.iter().map(|made| result(made, rules)).collect(),
        sequence: sequence.encode(),
        durability: weakest.map_or(pb::Durability::Unspecified, durability).into(),
    }
}

/// Entry of the audit.
pub(in crate::grpc) fn audit_entry(entry: AuditEntry) -> audit::AuditEntry {
    let Record { target, state, version } = &entry.record;
    let method = match &target.scope {
        _ if state.undone => "UndoRevocation",
        Scope::Token(_) => "RevokeToken",
        Scope::Session(_) => "RevokeSession",
        Scope::Subject { .. } => "RevokeSubject",
        Scope::Client(_) => "RevokeClient",
        Scope::Key { .. } => "RevokeKey",
        Scope::Tenant => "RevokeTenant",
    };
    let (named, issuer) = wire::names(&target.scope);
    let kept: Vec<&str> = state.kept.iter().map(|kept| &*kept.sid).collect();
    let details = [
        ("scope", wire::scope(&target.scope).as_str_name().to_owned()),
        ("target", named.to_owned()),
        ("issuer", issuer.to_owned()),
        ("cutoff_time", state.cutoff.map_or_else(String::new, |cutoff| wire::timestamp(cutoff).to_string())),
        ("keep_sids", kept.join("\n")),
        ("expire_time", wire::timestamp(state.expires).to_string()),
        ("etag", version.to_string()),
    ];
    let details = details.into_iter().filter(|(_, value)| !value.is_empty());
    audit::AuditEntry {
        time: Some(wire::timestamp(entry.time)),
        action: format!("{SERVICE_NAME}/{method}"),
        resource: name(&target.tenant, &target.id()),
        outcome: audit::audit_entry::Outcome::Succeeded.into(),
        cause: Some(entry.cause.into()),
        details: details.map(|(name, value)| (name.to_owned(), value)).collect(),
        ..audit::AuditEntry::default()
    }
}

fn durability(durability: Durability) -> pb::Durability {
    match durability {
        Durability::PrimaryOnly => pb::Durability::PrimaryOnly,
        Durability::Replicated => pb::Durability::Replicated,
    }
}

/// Freshness of an answer.
pub(in crate::grpc) fn freshness(freshness: &Freshness) -> pb::Freshness {
    let source = match freshness.source {
        Source::Local => pb::Source::Local,
        Source::Store => pb::Source::Store,
        Source::Policy => pb::Source::Outage,
    };
    pb::Freshness { sequence: freshness.sequence.to_string(), age: Some(span(freshness.age)), source: source.into() }
}
