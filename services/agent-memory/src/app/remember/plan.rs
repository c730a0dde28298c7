//! Plans of writes: one commit for memories that do not depend on each other.

use std::collections::HashSet;

use super::near::{self, Pool};
use super::{ATTEMPTS, History, Remember, items, kept, memory};
use crate::domain::identity::{event_id, memory_id};
use crate::domain::succession::is_current;
use crate::domain::{Draft, Item, MemoryId, Outcome, Remembered, Scope};
use crate::error::Error;
use crate::store::{Change, Commit, Committed, Directory, Operation, Put, RecordName, Stored, subject_hash};

/// Draft to write, and its place in the call.
pub(crate) struct Entry {
    /// Place in the call.
    pub(crate) at: usize,
    /// Draft.
    pub(crate) draft: Draft,
    /// Id of the session's event that it is.
    pub(crate) event: Option<String>,
    /// True if its text came out of a recall.
    pub(crate) recalled: bool,
    /// Memory that it takes the place of, whatever its subject.
    pub(crate) replaces: Option<Stored>,
}

/// Plan of one chunk.
struct Plan {
    results: Vec<Planned>,
    operations: Vec<Operation>,
    subjects: Vec<(String, Option<MemoryId>)>,
    written: Vec<Item>,
    ended: Vec<MemoryId>,
    touched: Vec<Stored>,
}

/// Result of an entry if the plan is committed.
enum Planned {
    /// Known result.
    Known(Result<Remembered, Error>),
    /// Result whose revision is the commit's.
    Written(Remembered),
}

/// Memories that the store has for an entry.
struct Present {
    /// Memory with the entry's text or event that is current, or the superseded one of it.
    same: Option<Stored>,
    /// First memory with the text, if `same` is a later one.
    first: Option<Stored>,
}

/// Number of leading entries, from 1, that share no id and no subject: one commit can write them.
pub(super) fn independent(scope: &Scope, entries: &[Entry]) -> usize {
    let (mut ids, mut subjects) = (HashSet::new(), HashSet::new());
    let depends = |entry: &Entry| {
        let subject = &entry.draft.memory.subject;
        !ids.insert(id_of(scope, entry)) || (!subject.is_empty() && !subjects.insert(subject.clone()))
    };
    entries.iter().position(depends).unwrap_or(entries.len()).max(1)
}

fn id_of(scope: &Scope, entry: &Entry) -> MemoryId {
    match &entry.event {
        Some(event) => event_id(scope, event),
        None => memory_id(scope, entry.draft.memory.kind, &entry.draft.memory.text, 0),
    }
}

// === impl Remember ===

impl Remember {
    /// Writes a chunk of independent entries with one commit.
    pub(super) async fn chunk(
        &self,
        scope: &Scope,
        entries: &[Entry],
        pool: &mut Pool,
        now: i64,
    ) -> Result<Vec<Result<Remembered, Error>>, Error> {
        for _ in 0..ATTEMPTS {
            let directory = self.store.directory(&scope.owner).await?;
            let plan = self.plan(scope, entries, pool, &directory, now).await?;
            let touched: Vec<&Stored> = plan.touched.iter().collect();
            self.store.touch(&scope.owner.tenant, &touched, now).await?;
            if plan.operations.is_empty() {
                return Ok(plan.results.into_iter().map(|planned| planned.result(0)).collect());
            }
            let commit = Commit {
                owner: &scope.owner,
                large: directory.kept,
                subjects: plan.subjects,
                operations: plan.operations,
                average: directory.average(),
                now,
            };
            if let Committed::Done { revision, .. } = self.store.commit(&commit).await? {
                plan.ended.iter().for_each(|id| pool.remove(*id));
                pool.add(&plan.written);
                return Ok(plan.results.into_iter().map(|planned| planned.result(revision)).collect());
            }
        }
        Err(Error::WriteConflict)
    }

    /// Writes an entry in place of the memory that it replaces. If the scope holds its text already, that memory takes the place.
    /// Returns the memory with the text; none if the state changed meanwhile.
    pub(crate) async fn replace(&self, scope: &Scope, entry: Entry, now: i64) -> Result<Option<MemoryId>, Error> {
        let directory = self.store.directory(&scope.owner).await?;
        let entries = [entry];
        let mut plan = self.plan(scope, &entries, &Pool::default(), &directory, now).await?;
        let id = match plan.results.pop() {
            Some(Planned::Written(remembered)) => remembered.id,
            Some(Planned::Known(known)) => {
                let id = known?.id;
                let replaced = entries.into_iter().find_map(|entry| entry.replaces);
                let same = self.store.load(&scope.owner.tenant, &[id]).await?.pop().flatten();
                let (Some(replaced), Some(same)) = (replaced, same) else { return Ok(None) };
                plan.operations.push(History::end(replaced, &same.memory, now));
                id
            }
            None => return Ok(None),
        };
        let commit = Commit {
            owner: &scope.owner,
            large: directory.kept,
            subjects: plan.subjects,
            operations: plan.operations,
            average: directory.average(),
            now,
        };
        Ok(matches!(self.store.commit(&commit).await?, Committed::Done { .. }).then_some(id))
    }

    async fn plan(
        &self,
        scope: &Scope,
        entries: &[Entry],
        pool: &Pool,
        directory: &Directory,
        now: i64,
    ) -> Result<Plan, Error> {
        let present = self.present(scope, entries, now).await?;
        let mut plan = Plan::new(entries.len());
        let hash = |entry: &Entry| subject_hash(scope, &entry.draft.memory.subject);
        let subjects: Vec<String> = entries.iter().filter_map(hash).collect();
        let mut currents = self.store.subjects(&scope.owner, &subjects).await?.into_iter();
        for (entry, present) in entries.iter().zip(present) {
            let subject = hash(entry);
            let current = if subject.is_some() { currents.next().flatten() } else { None };
            let result = match self.existing(scope, entry, &present, pool, now, &mut plan).await? {
                Some(result) => result,
                None => self.put(scope, entry, present, (subject, current), directory, now, &mut plan).await?,
            };
            plan.results.push(result);
        }
        Ok(plan)
    }

    /// Memories with the texts or events of the entries. Expired ones are removed first, so that their ids are free.
    async fn present(&self, scope: &Scope, entries: &[Entry], now: i64) -> Result<Vec<Present>, Error> {
        let tenant = &scope.owner.tenant;
        let ids: Vec<MemoryId> = entries.iter().map(|entry| id_of(scope, entry)).collect();
        let mut present = Vec::with_capacity(entries.len());
        for (entry, same) in entries.iter().zip(self.store.load(tenant, &ids).await?) {
            let Some(same) = self.live(scope, same, now).await? else {
                present.push(Present { same: None, first: None });
                continue;
            };
            if same.latest == 0 || entry.event.is_some() || is_current(&same.memory, now) {
                present.push(Present { same: Some(same), first: None });
                continue;
            }
            let draft = &entry.draft.memory;
            let later = memory_id(scope, draft.kind, &draft.text, same.latest);
            let later = self.store.load(tenant, &[later]).await?.pop().flatten();
            let later = self.live(scope, later, now).await?;
            present.push(Present { same: later, first: Some(same) });
        }
        Ok(present)
    }

    /// The memory, unless it has expired: then it is removed.
    async fn live(&self, scope: &Scope, stored: Option<Stored>, now: i64) -> Result<Option<Stored>, Error> {
        match stored {
            Some(stored) if stored.memory.expires <= now => {
                self.store.remove(&scope.owner, vec![stored], now).await?;
                Ok(None)
            }
            stored => Ok(stored),
        }
    }

    /// Result of an entry that the scope holds already, or that is refused; none for a new memory.
    async fn existing(
        &self,
        scope: &Scope,
        entry: &Entry,
        present: &Present,
        pool: &Pool,
        now: i64,
        plan: &mut Plan,
    ) -> Result<Option<Planned>, Error> {
        if let Some(same) = &present.same
            && (entry.event.is_some() || is_current(&same.memory, now))
        {
            plan.touched.push(same.clone());
            return Ok(Some(Planned::Known(Ok(kept(&same.memory, Outcome::Duplicate, same.place.pieces())))));
        }
        if entry.replaces.is_some() {
            return Ok(None);
        }
        if entry.recalled {
            return Ok(Some(Planned::Known(Err(Error::RecalledText))));
        }
        let nearest = pool.nearest(&entry.draft);
        let ids: Vec<MemoryId> = nearest.iter().map(|(id, _)| *id).collect();
        let loaded = self.store.load(&scope.owner.tenant, &ids).await?;
        for (stored, (_, cosine)) in loaded.into_iter().zip(nearest) {
            let Some(stored) = stored.filter(|stored| stored.memory.scope == *scope) else { continue };
            let memory = &stored.memory;
            if is_current(memory, now) && near::same(&entry.draft, &memory.text, &memory.subject) {
                let mut result = kept(memory, Outcome::NearDuplicate, stored.place.pieces());
                result.similarity = Some(cosine);
                plan.touched.push(stored);
                return Ok(Some(Planned::Known(Ok(result))));
            }
        }
        Ok(None)
    }

    /// Plans the write of a new memory.
    #[expect(clippy::too_many_arguments, reason = "a step of one plan, split for its length")]
    async fn put(
        &self,
        scope: &Scope,
        entry: &Entry,
        present: Present,
        (subject, current): (Option<String>, Option<MemoryId>),
        directory: &Directory,
        now: i64,
        plan: &mut Plan,
    ) -> Result<Planned, Error> {
        let draft = &entry.draft;
        let mut id = id_of(scope, entry);
        let first = present.first.or(present.same);
        if let Some(first) = &first {
            let latest = first.latest + 1;
            id = memory_id(scope, draft.memory.kind, &draft.memory.text, latest);
        }
        let mut memory = memory(scope, draft, id, entry.event.as_deref(), now, self.ttl());
        let history = match &entry.replaces {
            Some(replaced) => History::replace(&mut memory, replaced.clone(), current, now),
            None if subject.is_some() => {
                let known: Vec<MemoryId> = current.into_iter().collect();
                let current = self.store.load(&scope.owner.tenant, &known).await?.pop().flatten();
                History::place(&self.store, scope, &mut memory, current, now).await?
            }
            None => History::default(),
        };
        let mut operations = history.operations;
        if let Some(first) = first {
            number(&mut operations, first);
        }
        let items = items(&memory, draft, now);
        let result = Remembered {
            superseded: history.superseded,
            ..kept(
                &memory,
                if history.superseded.is_some() { Outcome::Superseded } else { Outcome::Created },
                items.len(),
            )
        };
        plan.ended.extend(history.superseded);
        plan.written.extend(items.iter().cloned());
        let record = match &scope.session {
            Some(session) => RecordName::Session(session.clone()),
            None => RecordName::Number(directory.open),
        };
        let space = memory.space.clone();
        let owned = subject.clone().filter(|_| history.newest);
        plan.subjects.extend(subject.map(|subject| (subject, current)));
        operations.push(Operation::Put(Box::new(Put { memory, items, record, sequence: None, subject: owned, space })));
        plan.operations.extend(operations);
        Ok(Planned::Written(result))
    }
}

/// Counts one more memory with the text of `first`, within its change if there is one.
fn number(operations: &mut Vec<Operation>, first: Stored) {
    let latest = first.latest + 1;
    for operation in operations.iter_mut() {
        if let Operation::Change(change) = operation
            && change.stored.memory.id == first.memory.id
        {
            change.latest = latest;
            return;
        }
    }
    let memory = first.memory.clone();
    operations.push(Operation::Change(Box::new(Change {
        stored: first,
        memory,
        patches: Vec::new(),
        items: Vec::new(),
        latest,
    })));
}

// === impl Plan ===

impl Plan {
    fn new(entries: usize) -> Plan {
        Plan {
            results: Vec::with_capacity(entries),
            operations: Vec::new(),
            subjects: Vec::new(),
            written: Vec::new(),
            ended: Vec::new(),
            touched: Vec::new(),
        }
    }
}

// === impl Planned ===

impl Planned {
    fn result(self, revision: i64) -> Result<Remembered, Error> {
        match self {
            Planned::Known(result) => result,
            Planned::Written(remembered) => Ok(Remembered { revision, ..remembered }),
        }
    }
}
