//! Working memory of sessions: events in order, trimmed or replaced by the caller's summary.

use keyplane_contracts::names::Id;

use super::remember::{Remember, items, memory};
use crate::domain::identity::{event_id, memory_id};
use crate::domain::{Draft, Kind, Memory, MemoryId, NewMemory, Outcome, Remembered, Scope};
use crate::error::Error;
use crate::store::{Commit, Committed, Operation, Put, RecordName, Store, Stored};

/// Items that are read at once.
const WINDOW: u32 = 200;
/// Maximum number of replaced events that a summary names: the latest ones.
const NAMED: usize = 1_000;
/// Maximum number of attempts of a summary that meets other writes.
const ATTEMPTS: u32 = 8;

/// Page of a session's events.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPage {
    /// Events in their order, each with its sequence; summaries stand in the place of the last event that they replaced.
    pub events: Vec<(u32, Memory)>,
    /// Sequence from which the next page begins; none on the last one.
    pub next: Option<u32>,
}

/// Result of a summary.
#[derive(Clone, Debug, PartialEq)]
pub struct Summarized {
    /// Summary.
    pub summary: Remembered,
    /// Number of events that it replaced in this call.
    pub replaced: u64,
}

/// Part of a session to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trim {
    /// All but the latest events.
    Keep(u32),
    /// All events up to this one.
    UpTo(Id),
}

/// Working memory of sessions. Cheap to clone. Each call's scope names a session.
#[derive(Clone)]
pub struct Sessions {
    store: Store,
    remember: Remember,
}

// === impl Sessions ===

impl Sessions {
    /// Sessions that `remember` writes.
    #[must_use]
    pub fn new(remember: Remember) -> Sessions {
        Sessions { store: remember.store.clone(), remember }
    }

    /// Appends events in their order, each a message, result of a tool or reasoning step with the caller's id, unique in its
    /// session. An event id that the session has already is a duplicate, and changes nothing.
    ///
    /// # Errors
    ///
    /// As for [`Remember::write`], but that a recalled text is no error: a conversation may quote it.
    pub async fn append(
        &self,
        scope: &Scope,
        events: Vec<Result<(Id, Draft), Error>>,
    ) -> Result<Vec<Result<Remembered, Error>>, Error> {
        self.remember.append(scope, events).await
    }

    /// Lists at most `size` events of a session, from a sequence on. O(size).
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn list(&self, scope: &Scope, size: u32, from: u32) -> Result<EventPage, Error> {
        let (size, now) = (usize::try_from(size).unwrap_or(usize::MAX), super::now());
        let Some(record) = record(scope) else { return Ok(EventPage { events: Vec::new(), next: None }) };
        let end = self.end(scope, &record).await?;
        let (mut events, mut at) = (Vec::new(), from);
        while at < end {
            let until = at.saturating_add(WINDOW).min(end);
            for (sequence, stored) in self.window(scope, &record, at, until).await? {
                if stored.memory.expires <= now {
                    continue;
                }
                if events.len() == size {
                    return Ok(EventPage { events, next: Some(sequence) });
                }
                events.push((sequence, stored.memory));
            }
            at = until;
        }
        Ok(EventPage { events, next: None })
    }

    /// Removes events of a session, and returns their number. A repetition removes what is left. O(events).
    ///
    /// # Errors
    ///
    /// [`Error::MemoryNotFound`] for an event that the session does not have; error of the store.
    pub async fn trim(&self, scope: &Scope, trim: &Trim) -> Result<u64, Error> {
        let Some(record) = record(scope) else { return Ok(0) };
        let end = match trim {
            Trim::Keep(latest) => self.cut(scope, &record, *latest).await?,
            Trim::UpTo(event) => {
                let id = event_id(scope, event.as_str());
                let stored = self.store.load(&scope.owner.tenant, &[id]).await?.pop().flatten();
                let stored = stored.ok_or(Error::MemoryNotFound { memory: id })?;
                stored.place.first.saturating_add(stored.place.count)
            }
        };
        self.remove(scope, &record, end).await
    }

    /// Replaces the events up to one by the caller's summary, which takes that event's place. The summary and the removal of that
    /// event are one write; a repetition after a failure removes the earlier events that are left. O(events).
    ///
    /// # Errors
    ///
    /// [`Error::MemoryNotFound`] for an event that the session does not have; as for [`Remember::write`].
    pub async fn summarize(&self, scope: &Scope, up_to: &Id, summary: Draft) -> Result<Summarized, Error> {
        self.remember.register(scope).await?;
        let event = event_id(scope, up_to.as_str());
        let draft = Draft { memory: NewMemory { kind: Kind::Summary, ..summary.memory }, ..summary };
        let id = memory_id(scope, Kind::Summary, &draft.memory.text, 0);
        let Some(record) = record(scope) else { return Err(Error::MemoryNotFound { memory: event }) };
        for _ in 0..ATTEMPTS {
            let now = super::now();
            let mut loaded = self.store.load(&scope.owner.tenant, &[event, id]).await?.into_iter();
            let (event, present) = (loaded.next().flatten(), loaded.next().flatten());
            let (outcome, place, replaced) = match (event, present) {
                (_, Some(present)) => (super::remember::kept(&present.memory, Outcome::Duplicate, 1), present.place, 0),
                (None, None) => return Err(Error::MemoryNotFound { memory: event_id(scope, up_to.as_str()) }),
                (Some(event), None) => {
                    let place = event.place.clone();
                    let Some(written) = self.put_summary(scope, &record, &draft, id, event, now).await? else {
                        continue;
                    };
                    (written, place, 1)
                }
            };
            let removed = self.remove(scope, &record, place.first).await?;
            return Ok(Summarized { summary: outcome, replaced: removed + replaced });
        }
        Err(Error::WriteConflict)
    }

    /// Writes a summary in the place of an event; none if the state changed meanwhile.
    async fn put_summary(
        &self,
        scope: &Scope,
        record: &RecordName,
        draft: &Draft,
        id: MemoryId,
        event: Stored,
        now: i64,
    ) -> Result<Option<Remembered>, Error> {
        let owner = &scope.owner;
        let mut summary = memory(scope, draft, id, None, now, self.remember.ttl());
        let earlier = self.window(scope, record, 0, event.place.first).await?;
        let replaced = earlier.iter().map(|(_, stored)| stored.memory.id).chain([event.memory.id]);
        let replaced: Vec<MemoryId> = replaced.collect();
        summary.source.derived_from.extend(replaced.iter().rev().take(NAMED).rev());
        summary.source.derived_from.dedup();
        let mut items = items(&summary, draft, now);
        // The place of one event has room for the pieces of its own text alone.
        if items.len() > event.place.pieces() {
            items.truncate(event.place.pieces());
            if let Some(last) = items.last_mut() {
                last.piece = last.piece.map(|piece| crate::domain::Piece { end: length(&summary.text), ..piece });
            }
        }
        let directory = self.store.directory(owner).await?;
        let (sequence, pieces) = (Some(event.place.first), items.len());
        let mut operations = self.store.removals(owner, vec![event]).await?;
        let (space, outcome) = (summary.space.clone(), super::remember::kept(&summary, Outcome::Created, pieces));
        let put = Put { memory: summary, items, record: record.clone(), sequence, subject: None, space };
        operations.push(Operation::Put(Box::new(put)));
        let (large, average) = (directory.kept, directory.average());
        let commit = Commit { owner, large, subjects: Vec::new(), operations, average, now };
        Ok(match self.store.commit(&commit).await? {
            Committed::Done { revision, .. } => Some(Remembered { revision, ..outcome }),
            Committed::Changed => None,
        })
    }

    /// Removes the events of a record before a sequence.
    async fn remove(&self, scope: &Scope, record: &RecordName, end: u32) -> Result<u64, Error> {
        let (mut removed, now) = (0, super::now());
        let mut at = 0;
        while at < end {
            let until = at.saturating_add(WINDOW).min(end);
            let events = self.window(scope, record, at, until).await?.into_iter().map(|(_, stored)| stored).collect();
            let gone = self.store.remove(&scope.owner, events, now).await?;
            removed += u64::try_from(gone.len()).unwrap_or(u64::MAX);
            at = until;
        }
        Ok(removed)
    }

    /// Sequence before which all but the latest events stand.
    async fn cut(&self, scope: &Scope, record: &RecordName, latest: u32) -> Result<u32, Error> {
        let end = self.end(scope, record).await?;
        let (mut left, mut until) = (latest, end);
        while until > 0 && left > 0 {
            let from = until.saturating_sub(WINDOW);
            for (sequence, _) in self.window(scope, record, from, until).await?.into_iter().rev() {
                left -= 1;
                if left == 0 {
                    return Ok(sequence);
                }
            }
            until = from;
        }
        Ok(if latest == 0 { end } else { 0 })
    }

    /// Memories whose first items stand between two sequences, in order.
    async fn window(
        &self,
        scope: &Scope,
        record: &RecordName,
        from: u32,
        until: u32,
    ) -> Result<Vec<(u32, Stored)>, Error> {
        let items = self.store.items(&scope.owner, record, from..until).await?;
        let first = items.into_iter().filter(|item| item.piece.is_none_or(|piece| piece.start == 0));
        let (places, ids): (Vec<u32>, Vec<MemoryId>) = first.map(|item| (item.sequence, item.id)).unzip();
        let loaded = self.store.load(&scope.owner.tenant, &ids).await?;
        Ok(places.into_iter().zip(loaded).filter_map(|(sequence, stored)| Some((sequence, stored?))).collect())
    }

    async fn end(&self, scope: &Scope, record: &RecordName) -> Result<u32, Error> {
        Ok(self.store.directory(&scope.owner).await?.records.get(record).copied().unwrap_or(0))
    }
}

fn record(scope: &Scope) -> Option<RecordName> {
    scope.session.clone().map(RecordName::Session)
}

fn length(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}
