//! Memories and items of drafts.

use crate::domain::memory::State;
use crate::domain::text::{analyze, name_hash};
use crate::domain::{Draft, Item, Memory, MemoryId, Scope, Source, Vector};
use crate::store::space_hash;
use keyplane_contracts::names::Id;

/// Memory of a draft, current and without a predecessor. `event` is the id of the session's event that it came from.
pub(crate) fn memory(scope: &Scope, draft: &Draft, id: MemoryId, event: Option<&str>, now: i64, ttl: i64) -> Memory {
    let new = &draft.memory;
    Memory {
        id,
        scope: scope.clone(),
        kind: new.kind,
        text: new.text.clone(),
        speaker: new.speaker.clone(),
        subject: new.subject.clone(),
        topics: new.topics.clone(),
        entities: new.entities.clone(),
        tags: new.tags.clone(),
        metadata: new.metadata.clone(),
        importance: new.importance,
        pinned: new.pinned,
        event_time: new.event_time.unwrap_or(now),
        created: now,
        accessed: now,
        access_count: 0,
        valid_from: new.valid_from,
        valid_until: new.valid_until,
        expires: new.expires.unwrap_or_else(|| now.saturating_add(ttl)),
        state: State::Current,
        supersedes: None,
        source: Source {
            reference: new.reference.clone(),
            derived_from: new.derived_from.clone(),
            event: event.map(Into::into),
        },
        space: draft.space.as_ref().map(|space| space.id.clone()),
        tokens: draft.tokens,
        revision: 0,
    }
}

/// Items of a memory, one for each piece of its draft; their sequences are set by the store.
pub(crate) fn items(memory: &Memory, draft: &Draft, now: i64) -> Vec<Item> {
    let hash = |id: &Option<Id>| id.as_ref().map_or(0, |id| name_hash(id.as_str()));
    let space = memory.space.as_ref().map_or(0, space_hash);
    let item = |piece: &crate::domain::DraftPiece| {
        let text = piece.piece.map_or(memory.text.as_str(), |range| range.slice(&memory.text));
        let analysis = analyze(&memory.speaker, text);
        let vector = piece.embedding.as_ref().and_then(|embedding| Vector::quantize(&embedding.vector));
        Item {
            sequence: 0,
            id: memory.id,
            piece: piece.piece,
            kind: memory.kind,
            speaker: memory.speaker.clone(),
            entities: memory.entities.iter().map(|entity| name_hash(entity)).collect(),
            time: memory.event_time,
            agent: hash(&memory.scope.agent),
            workflow: hash(&memory.scope.workflow),
            valid_from: memory.valid_from.unwrap_or(i64::MIN),
            valid_until: memory.valid_until.unwrap_or(i64::MAX),
            expires: memory.expires,
            accessed: memory.accessed,
            importance: importance(memory.importance),
            pinned: memory.pinned,
            superseded: matches!(memory.state, State::Superseded { at, .. } if at <= now),
            tokens: piece.tokens,
            length: analysis.length,
            terms: analysis.terms,
            space: if vector.is_some() { space } else { 0 },
            vector,
            sketch: piece.embedding.as_ref().and_then(|embedding| embedding.sketch.clone()),
        }
    };
    draft.pieces.iter().map(item).collect()
}

/// Importance of 0 to 1 as 0 to 255.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number is within 0 to 255")]
pub(crate) fn importance(importance: f32) -> u8 {
    (importance.clamp(0.0, 1.0) * 255.0).round() as u8
}
