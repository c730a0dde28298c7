//! Memories, and results of writes, as messages.

use keyplane_contracts::memory::v1 as pb;
use keyplane_contracts::names::{Id, MemoryName, TenantId};
use keyplane_contracts::{page as pages, timestamp};
use keyplane_server::item_error;

use super::list::list_of;
use crate::domain::{Forgotten, Kind, Memory, MemoryId, Outcome, Page, Remembered, State};
use crate::error::Error;

/// Memory as a message.
pub(in crate::grpc) fn memory(memory: Memory) -> pb::Memory {
    use pb::memory::State as Sent;
    let tenant = memory.scope.owner.tenant;
    let named = |id: MemoryId| name(&tenant, id);
    let optional = |id: Option<Id>| id.map(|id| id.as_str().to_owned()).unwrap_or_default();
    let (state, superseded_by) = match memory.state {
        State::Current => (Sent::Current, String::new()),
        State::Superseded { by, .. } => (Sent::Superseded, named(by)),
    };
    pb::Memory {
        name: named(memory.id),
        memory_id: memory.id.to_string(),
        user: optional(memory.scope.owner.user),
        agent: optional(memory.scope.agent),
        workflow: optional(memory.scope.workflow),
        session: optional(memory.scope.session),
        kind: kind(memory.kind).into(),
        text: memory.text,
        speaker: memory.speaker.into(),
        subject: memory.subject.into(),
        topics: memory.topics.into_iter().map(Into::into).collect(),
        entities: memory.entities.into_iter().map(Into::into).collect(),
        tags: memory.tags.into_iter().map(Into::into).collect(),
        metadata: memory.metadata.into_iter().collect(),
        importance: Some(memory.importance),
        pinned: Some(memory.pinned),
        event_time: Some(timestamp::from_millis(memory.event_time)),
        valid_from_time: memory.valid_from.map(timestamp::from_millis),
        valid_until_time: memory.valid_until.map(timestamp::from_millis),
        expire_time: Some(timestamp::from_millis(memory.expires)),
        ttl: None,
        reference: memory.source.reference,
        derived_from: memory.source.derived_from.into_iter().map(named).collect(),
        vector: None,
        etag: memory.revision.to_string(),
        state: state.into(),
        superseded_by,
        supersedes: memory.supersedes.map(named).unwrap_or_default(),
        space: memory.space.map(|space| space.as_str().to_owned()).unwrap_or_default(),
        create_time: Some(timestamp::from_millis(memory.created)),
        access_time: Some(timestamp::from_millis(memory.accessed)),
        access_count: count(memory.access_count.into()),
        token_count: count(memory.tokens.into()),
        event_id: memory.source.event.map(Into::into).unwrap_or_default(),
    }
}

/// Page as a message, whose token is valid for its list alone.
pub(in crate::grpc) fn page(request: &pb::ListMemoriesRequest, page: Page) -> pb::ListMemoriesResponse {
    let next_page_token = page.next.map_or_else(String::new, |next| pages::encode(&list_of(request), next));
    pb::ListMemoriesResponse { memories: page.memories.into_iter().map(memory).collect(), next_page_token }
}

/// Result of one memory of a batch.
pub(in crate::grpc) fn result(
    tenant: &TenantId,
    index: usize,
    result: Result<Remembered, Error>,
) -> pb::RememberResult {
    let index = i32::try_from(index).unwrap_or(i32::MAX);
    match result {
        Ok(written) => pb::RememberResult {
            index,
            outcome: outcome(written.outcome).into(),
            name: name(tenant, written.id),
            superseded: written.superseded.map(|id| name(tenant, id)).unwrap_or_default(),
            similarity: written.similarity.unwrap_or_default(),
            piece_count: count(written.pieces.into()),
            token_count: count(written.tokens.into()),
            expire_time: Some(timestamp::from_millis(written.expires)),
            etag: written.revision.to_string(),
            error: None,
        },
        Err(error) => pb::RememberResult { index, error: Some(item_error(&error)), ..pb::RememberResult::default() },
    }
}

/// Result of a deletion.
pub(in crate::grpc) fn forgotten(tenant: &TenantId, forgotten: Forgotten) -> pb::ForgetResponse {
    let names = forgotten.ids.into_iter().map(|id| name(tenant, id)).collect();
    pb::ForgetResponse { names, more: forgotten.more }
}

/// Count as a number of 32 bits, which JSON prints as a number. More memories fit no scope.
pub(super) fn count(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn name(tenant: &TenantId, id: MemoryId) -> String {
    MemoryName::new(tenant.clone(), id).to_string()
}

fn kind(kind: Kind) -> pb::memory::Kind {
    use pb::memory::Kind as Sent;
    match kind {
        Kind::Semantic => Sent::Semantic,
        Kind::Episodic => Sent::Episodic,
        Kind::Procedural => Sent::Procedural,
        Kind::Step => Sent::Step,
        Kind::Summary => Sent::Summary,
        Kind::Chunk => Sent::Chunk,
        Kind::Message => Sent::Message,
    }
}

fn outcome(outcome: Outcome) -> pb::remember_result::Outcome {
    use pb::remember_result::Outcome as Sent;
    match outcome {
        Outcome::Created => Sent::Created,
        Outcome::Duplicate => Sent::Duplicate,
        Outcome::NearDuplicate => Sent::NearDuplicate,
        Outcome::Superseded => Sent::Superseded,
    }
}
