//! Request of Remember.

use keyplane_contracts::memory::v1 as pb;
use keyplane_contracts::names::TenantId;
use keyplane_contracts::rules::memory as stated;
use keyplane_contracts::{Violation, Violations};
use prost::Message as _;

use super::scope::{Sent, space};
use super::times::{expires, moment, now, span};
use super::vector::vector;
use super::{checked, content, named};
use crate::domain::{Kind, MemoryId, NewMemory, Scope, SpaceId};
use crate::error::Error;

/// Importance of a memory without one.
pub(super) const IMPORTANCE: f32 = 0.5;

/// Memories of a batch; one that is invalid leaves the others alone.
pub(in crate::grpc) struct Batch {
    /// Scope of all memories.
    pub(in crate::grpc) scope: Scope,
    /// Space; none for the default.
    pub(in crate::grpc) space: Option<SpaceId>,
    /// Memories, or the errors of their fields, in the order of the request.
    pub(in crate::grpc) memories: Vec<Result<NewMemory, Error>>,
}

/// Checks the size of a batch of `count` memories in `bytes`.
pub(super) fn check_batch(field: &str, count: usize, bytes: usize, violations: &mut Violations) {
    let most = stated::BATCH;
    if !(1..=most).contains(&count) {
        violations.add(field, format!("must be 1 to {most} memories; {count} were sent"));
    }
    let most = stated::BATCH_BYTES;
    if bytes > most {
        violations.add(field, format!("must be at most {most} bytes; {bytes} were sent"));
    }
}

/// Memories to write.
pub(in crate::grpc) fn remember(request: pb::RememberRequest) -> Result<Batch, Error> {
    let mut violations = Violations::new();
    let pb::RememberRequest { parent, user, agent, workflow, session, .. } = &request;
    let scope = Sent { parent, user, agent, workflow, session, at: "" }.read(&mut violations);
    let space = space(&request.space, &mut violations);
    check_batch("memories", request.memories.len(), request.encoded_len(), &mut violations);
    let scope = checked(scope, violations)?;
    let now = now();
    let convert =
        |(index, memory)| new_memory(&scope.owner.tenant, memory, &format!("memories[{index}]"), now, Kind::Semantic);
    let memories = request.memories.into_iter().enumerate().map(convert).collect();
    Ok(Batch { scope, space, memories })
}

/// Error of the memory whose path is `at`; `app` numbers the valid ones alone.
pub(in crate::grpc) fn at(error: Error, at: &str) -> Error {
    let Error::Invalid(violations) = error else { return error };
    let renamed = violations.into_iter().map(|violation| match violation.field.split_once(']') {
        Some((_, rest)) => Violation::new(format!("{at}{rest}"), violation.description.clone()),
        None => violation,
    });
    Error::Invalid(renamed.collect())
}

pub(super) fn new_memory(
    tenant: &TenantId,
    memory: pb::Memory,
    at: &str,
    now: i64,
    unset: Kind,
) -> Result<NewMemory, Error> {
    let mut violations = Violations::new();
    let field = |name: &str| format!("{at}.{name}");
    content::text(&memory.text, stated::TEXT, &field("text"), &mut violations);
    let expires = expires(&memory, at, now, &mut violations);
    let validity = [memory.valid_from_time, memory.valid_until_time];
    let fields = [field("valid_from_time"), field("valid_until_time")];
    let [valid_from, valid_until] = span(validity, [&fields[0], &fields[1]], &mut violations);
    let reference = content::label(&memory.reference, stated::REFERENCE, &field("reference"), &mut violations);
    let new = NewMemory {
        kind: content::kind(memory.kind, &field("kind"), &mut violations).unwrap_or(unset),
        speaker: content::label(&memory.speaker, stated::LABEL, &field("speaker"), &mut violations),
        subject: content::label(&memory.subject, stated::SUBJECT, &field("subject"), &mut violations),
        topics: content::labels(&memory.topics, stated::TOPICS, &field("topics"), &mut violations),
        entities: content::labels(&memory.entities, stated::ENTITIES, &field("entities"), &mut violations),
        tags: content::labels(&memory.tags, stated::ENTITIES, &field("tags"), &mut violations),
        metadata: content::metadata(memory.metadata, &field("metadata"), &mut violations),
        importance: content::importance(memory.importance, &field("importance"), &mut violations).unwrap_or(IMPORTANCE),
        pinned: memory.pinned.unwrap_or_default(),
        event_time: moment(memory.event_time, &field("event_time"), &mut violations),
        valid_from,
        valid_until,
        expires,
        reference: reference.into(),
        derived_from: derived_from(tenant, &memory.derived_from, &field("derived_from"), &mut violations),
        vector: vector(memory.vector, &field("vector"), &mut violations),
        text: memory.text,
    };
    checked(Some(new), violations)
}

fn derived_from(tenant: &TenantId, sent: &[String], field: &str, violations: &mut Violations) -> Vec<MemoryId> {
    if sent.len() > stated::DERIVED_FROM {
        let (most, sent) = (stated::DERIVED_FROM, sent.len());
        violations.add(field, format!("must be at most {most} names; {sent} were sent"));
        return Vec::new();
    }
    let read = |(index, name): (usize, &String)| {
        let field = format!("{field}[{index}]");
        violations.keep(of_tenant(tenant, name, &field))
    };
    sent.iter().enumerate().filter_map(read).collect()
}

/// Id of a memory of `tenant`, by its name.
pub(super) fn of_tenant(tenant: &TenantId, name: &str, field: &str) -> Result<MemoryId, Violation> {
    let (named, id) = named(name, field)?;
    if named == *tenant { Ok(id) } else { Err(Violation::new(field, "must be a memory of the tenant in `parent`")) }
}
