//! Reads of memories: one by id, and lists of a scope.

use keyplane_contracts::names::{Id, TenantId};

use crate::domain::memory::State;
use crate::domain::text::name_hash;
use crate::domain::{Filter, Item, ListRequest, Memory, MemoryId, Page, Scope, States};
use crate::error::Error;
use crate::store::{RecordName, Store, Stored};

/// Items that are read at once.
const WINDOW: u32 = 200;

/// Reads of memories. Cheap to clone.
#[derive(Clone)]
pub struct Memories {
    store: Store,
}

/// Position in a list: an item, from which the next page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    record: RecordName,
    sequence: u32,
}

// === impl Memories ===

impl Memories {
    /// Reads from `store`.
    #[must_use]
    pub fn new(store: Store) -> Memories {
        Memories { store }
    }

    /// Reads a memory.
    ///
    /// # Errors
    ///
    /// [`Error::MemoryNotFound`], or an error of the store.
    pub async fn get(&self, tenant: &TenantId, id: MemoryId) -> Result<Memory, Error> {
        Ok(find(&self.store, tenant, id, super::now()).await?.memory)
    }

    /// Lists at most `size` memories of a scope, in the order in which they were written within each record, from the position
    /// `after`. An absent user means shared memories; another absent part of the scope, any.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] for a position that no page gave; error of the store.
    pub async fn list(&self, request: &ListRequest, size: u32, after: Option<&str>) -> Result<Page, Error> {
        let after = after.map(|text| Position::parse(text).ok_or(Error::Corrupt("a position has another form")));
        let (found, next) = self.page(request, size, after.transpose()?).await?;
        let memories = found.into_iter().map(|stored| stored.memory).collect();
        Ok(Page { memories, next: next.map(|position| position.text()) })
    }

    /// Page of a list with the places of the memories, and the position of the next one.
    pub(super) async fn page(
        &self,
        request: &ListRequest,
        size: u32,
        after: Option<Position>,
    ) -> Result<(Vec<Stored>, Option<Position>), Error> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let (owner, now) = (&request.scope.owner, super::now());
        let directory = self.store.directory(owner).await?;
        let mut found: Vec<Stored> = Vec::new();
        for (record, end) in &directory.records {
            let excluded = request.scope.session.as_ref().is_some_and(|session| !is_session(record, session));
            if excluded || after.as_ref().is_some_and(|after| *record < after.record) {
                continue;
            }
            let mut at = after.as_ref().filter(|after| after.record == *record).map_or(0, |after| after.sequence);
            while at < *end {
                let until = at.saturating_add(WINDOW).min(*end);
                let items = self.store.items(owner, record, at..until).await?;
                let first = items.into_iter().filter(|item| is_first(item) && may_match(item, request));
                let (places, ids): (Vec<u32>, Vec<MemoryId>) = first.map(|item| (item.sequence, item.id)).unzip();
                for (sequence, stored) in places.into_iter().zip(self.store.load(&owner.tenant, &ids).await?) {
                    let Some(stored) = stored.filter(|stored| matches(&stored.memory, request, now)) else { continue };
                    if found.len() == size {
                        return Ok((found, Some(Position { record: record.clone(), sequence })));
                    }
                    found.push(stored);
                }
                at = until;
            }
        }
        Ok((found, None))
    }
}

/// Memory that has not expired.
pub(super) async fn find(store: &Store, tenant: &TenantId, id: MemoryId, now: i64) -> Result<Stored, Error> {
    let stored = store.load(tenant, &[id]).await?.pop().flatten();
    stored.filter(|stored| stored.memory.expires > now).ok_or(Error::MemoryNotFound { memory: id })
}

fn is_session(record: &RecordName, session: &Id) -> bool {
    matches!(record, RecordName::Session(name) if name == session)
}

/// One item stands for a memory in several pieces.
fn is_first(item: &Item) -> bool {
    item.piece.is_none_or(|piece| piece.start == 0)
}

/// Tests what an item tells of its memory; saves the read of most that don't match.
fn may_match(item: &Item, request: &ListRequest) -> bool {
    let is = |wanted: &Option<Id>, hash: u32| wanted.as_ref().is_none_or(|id| name_hash(id.as_str()) == hash);
    let filter = &request.filter;
    is(&request.scope.agent, item.agent)
        && is(&request.scope.workflow, item.workflow)
        && (filter.kinds.is_empty() || filter.kinds.contains(&item.kind))
        && (!filter.pinned || item.pinned)
}

/// Returns whether a memory belongs to a list at `now`.
pub(super) fn matches(memory: &Memory, request: &ListRequest, now: i64) -> bool {
    let state = match request.states {
        States::All => true,
        States::Current => memory.state == State::Current,
        States::Superseded => memory.state != State::Current,
    };
    state && memory.expires > now && within(&memory.scope, &request.scope) && passes(memory, &request.filter)
}

/// Returns whether `scope` has the owner and all parts of `wanted` that are present.
pub(super) fn within(scope: &Scope, wanted: &Scope) -> bool {
    let part = |wanted: &Option<Id>, part: &Option<Id>| wanted.is_none() || wanted == part;
    scope.owner == wanted.owner
        && part(&wanted.agent, &scope.agent)
        && part(&wanted.workflow, &scope.workflow)
        && part(&wanted.session, &scope.session)
}

/// Returns whether a memory passes a filter.
#[must_use]
pub fn passes(memory: &Memory, filter: &Filter) -> bool {
    let any = |wanted: &[compact_str::CompactString], own: &[compact_str::CompactString]| {
        wanted.is_empty() || wanted.iter().any(|value| own.contains(value))
    };
    (filter.kinds.is_empty() || filter.kinds.contains(&memory.kind))
        && any(&filter.topics, &memory.topics)
        && any(&filter.entities, &memory.entities)
        && filter.tags.iter().all(|tag| memory.tags.contains(tag))
        && filter.event_from.is_none_or(|from| memory.event_time >= from)
        && filter.event_until.is_none_or(|until| memory.event_time < until)
        && (!filter.pinned || memory.pinned)
}

// === impl Position ===

impl Position {
    fn text(&self) -> String {
        format!("{}:{}", self.sequence, self.record)
    }

    fn parse(text: &str) -> Option<Position> {
        let (sequence, record) = text.split_once(':')?;
        Some(Position { sequence: sequence.parse().ok()?, record: RecordName::parse(record)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_round_trip() {
        let session = RecordName::Session(Id::parse("a:b", "session").expect("an id"));
        for record in [session, RecordName::Number(3)] {
            let position = Position { record, sequence: 7 };
            assert_eq!(Position::parse(&position.text()), Some(position));
        }
        for text in ["", "x:#1", "1:#x", "1"] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }
}
