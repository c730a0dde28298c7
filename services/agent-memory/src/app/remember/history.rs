//! History of a subject: where a new fact stands, and which facts it ends.

use crate::domain::memory::State;
use crate::domain::record::Patch;
use crate::domain::succession::{Position, position, start, supersede};
use crate::domain::{Memory, MemoryId, Scope};
use crate::error::Error;
use crate::store::{Change, Operation, Store, Stored};

/// Longest chain of facts that a late one is placed in; an earlier place is that of the first fact seen.
const LONGEST: usize = 256;

/// Changes that a new fact makes to those of its subject.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Changes of other memories.
    pub(crate) operations: Vec<Operation>,
    /// Memory whose place the new one takes as the current one.
    pub(crate) superseded: Option<MemoryId>,
    /// True if the new one is the current memory of its subject.
    pub(crate) newest: bool,
}

// === impl History ===

impl History {
    /// Places `new` among the facts of its subject, whose last one is `current`, and sets its validity and links. A fact holds
    /// from the moment that it states, not before.
    pub(crate) async fn place(
        store: &Store,
        scope: &Scope,
        new: &mut Memory,
        current: Option<Stored>,
        now: i64,
    ) -> Result<History, Error> {
        let at = start(new);
        new.valid_from.get_or_insert(at);
        let Some(current) = current else { return Ok(History { newest: true, ..History::default() }) };
        if position(new, &current.memory) == Position::Newest {
            new.supersedes = Some(current.memory.id);
            let superseded = Some(current.memory.id);
            return Ok(History { operations: vec![ended(current, new, now)], superseded, newest: true });
        }
        let (mut next, mut before) = (current, None);
        for _ in 0..LONGEST {
            let Some(earlier) = next.memory.supersedes else { break };
            let loaded = store.load(&scope.owner.tenant, &[earlier]).await?.pop().flatten();
            let Some(earlier) = loaded else { break };
            if position(new, &earlier.memory) == Position::Newest {
                before = Some(earlier);
                break;
            }
            next = earlier;
        }
        let mut operations = Vec::with_capacity(2);
        let at = start(&next.memory);
        new.valid_until = Some(new.valid_until.map_or(at, |until| until.min(at)));
        new.state = State::Superseded { by: next.memory.id, at };
        if let Some(before) = before {
            new.supersedes = Some(before.memory.id);
            operations.push(ended(before, new, now));
        }
        let memory = Memory { supersedes: Some(new.id), ..next.memory.clone() };
        let patches = Vec::new();
        operations.push(Operation::Change(Box::new(Change {
            latest: next.latest,
            memory,
            patches,
            items: Vec::new(),
            stored: next,
        })));
        Ok(History { operations, superseded: None, newest: false })
    }

    /// Puts `new` in the place of `old`; `current` is the last memory of its subject, if it has one.
    pub(crate) fn replace(new: &mut Memory, old: Stored, current: Option<MemoryId>, now: i64) -> History {
        let id = old.memory.id;
        new.supersedes = Some(id);
        let newest = current.is_none_or(|current| current == id);
        History { operations: vec![ended(old, new, now)], superseded: Some(id), newest }
    }

    /// Ends `old` at `now`, for a memory that says what it should have said.
    pub(crate) fn end(old: Stored, same: &Memory, now: i64) -> Operation {
        let same = Memory { valid_from: Some(now), ..same.clone() };
        ended(old, &same, now)
    }
}

/// Change that ends a fact at the first moment of a newer one.
fn ended(stored: Stored, new: &Memory, now: i64) -> Operation {
    let mut memory = stored.memory.clone();
    let at = supersede(&mut memory, new);
    let mut patches = vec![Patch::valid_until(memory.valid_until.unwrap_or(at))];
    if at <= now {
        patches.push(Patch::superseded());
    }
    Operation::Change(Box::new(Change { latest: stored.latest, memory, patches, items: Vec::new(), stored }))
}
