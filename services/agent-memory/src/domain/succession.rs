//! Succession of facts: the newer of two about the same subject ends the older.

use super::memory::{Memory, MemoryId, State};

/// Place of a new fact among those of its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// After the current one, if there is one.
    Newest,
    /// Before the given one: a late fact, history from its first moment.
    Before(MemoryId),
}

/// First moment at which a fact holds: of its validity, else of its event.
#[must_use]
pub fn start(memory: &Memory) -> i64 {
    memory.valid_from.unwrap_or(memory.event_time)
}

/// Place of `new` beside `next`, a fact of the same subject. Of two with the same first moment, the one written later is newer.
#[must_use]
pub fn position(new: &Memory, next: &Memory) -> Position {
    if start(new) >= start(next) { Position::Newest } else { Position::Before(next.id) }
}

/// Ends `old` at the first moment of `new`. A validity that ends earlier stays. Returns that moment.
pub fn supersede(old: &mut Memory, new: &Memory) -> i64 {
    let at = start(new);
    old.valid_until = Some(old.valid_until.map_or(at, |until| until.min(at)));
    old.state = State::Superseded { by: new.id, at };
    at
}

/// Returns whether a memory is current at `now`: not ended, not expired.
#[must_use]
pub fn is_current(memory: &Memory, now: i64) -> bool {
    let ended = memory.valid_until.is_some_and(|until| until <= now);
    let superseded = matches!(memory.state, State::Superseded { at, .. } if at <= now);
    !ended && !superseded && memory.expires > now
}
