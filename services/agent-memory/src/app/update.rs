//! Changes of memories. Another text supersedes a memory; other fields change in place.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use keyplane_contracts::names::TenantId;

use super::memories::find;
use super::remember::{ATTEMPTS, Entry, Remember, importance};
use crate::domain::identity::normalize;
use crate::domain::memory::State;
use crate::domain::record::Patch;
use crate::domain::text::name_hash;
use crate::domain::{Draft, Item, Memory, MemoryId, MemoryPatch, NewMemory, Scope, SpaceId};
use crate::error::Error;
use crate::store::{Change, Commit, Committed, Operation, Stored};

/// Changes of memories. Cheap to clone.
#[derive(Clone)]
pub struct Update {
    remember: Remember,
}

// === impl Update ===

impl Update {
    /// Changes what `remember` writes.
    #[must_use]
    pub fn new(remember: Remember) -> Update {
        Update { remember }
    }

    /// Changes a memory. With another text it returns the memory that supersedes it; `prepare` makes the draft of that one, in the
    /// space of the changed one.
    ///
    /// # Errors
    ///
    /// [`Error::MemoryNotFound`], [`Error::MemorySuperseded`], [`Error::StaleWrite`], [`Error::WriteConflict`], an embedder that
    /// fails, or an error of the store. Nothing is changed then.
    pub async fn update(
        &self,
        tenant: &TenantId,
        id: MemoryId,
        patch: MemoryPatch,
        prepare: impl Fn(Scope, Option<SpaceId>, NewMemory) -> BoxFuture<'static, Result<Draft, Error>> + Sync,
    ) -> Result<Memory, Error> {
        for _ in 0..ATTEMPTS {
            let now = super::now();
            let stored = find(&self.remember.store, tenant, id, now).await?;
            if let State::Superseded { by, .. } = stored.memory.state {
                return Err(Error::MemorySuperseded { memory: id, by });
            }
            if patch.revision.is_some_and(|revision| revision != stored.memory.revision) {
                return Err(Error::StaleWrite { current: stored.memory.revision.to_string() });
            }
            let text = patch.text.as_ref().filter(|text| normalize(text) != normalize(&stored.memory.text));
            let changed = match text {
                Some(text) => {
                    let new = self.successor(&stored.memory, text, &patch, now);
                    let draft = prepare(stored.memory.scope.clone(), stored.memory.space.clone(), new).await?;
                    self.supersede(stored, draft, now).boxed().await?
                }
                None => self.change(stored, &patch, now).await?,
            };
            if let Some(memory) = changed {
                return Ok(memory);
            }
        }
        Err(Error::WriteConflict)
    }

    /// Memory with another text, to write in place of `memory`.
    fn successor(&self, memory: &Memory, text: &str, patch: &MemoryPatch, now: i64) -> NewMemory {
        let changed = self.changed(memory, patch, now);
        NewMemory {
            kind: changed.kind,
            text: text.to_owned(),
            speaker: changed.speaker,
            subject: changed.subject,
            topics: changed.topics,
            entities: changed.entities,
            tags: changed.tags,
            metadata: changed.metadata,
            importance: changed.importance,
            pinned: changed.pinned,
            event_time: Some(changed.event_time),
            valid_from: Some(now),
            valid_until: changed.valid_until,
            expires: Some(changed.expires),
            reference: changed.source.reference,
            derived_from: changed.source.derived_from,
            vector: patch.vector.clone(),
        }
    }

    /// Writes a draft in place of `stored`; none if the state changed meanwhile.
    async fn supersede(&self, stored: Stored, draft: Draft, now: i64) -> Result<Option<Memory>, Error> {
        let scope = stored.memory.scope.clone();
        let entry = Entry { at: 0, draft, event: None, recalled: false, replaces: Some(stored) };
        let Some(id) = self.remember.replace(&scope, entry, now).boxed().await? else { return Ok(None) };
        find(&self.remember.store, &scope.owner.tenant, id, now).await.map(|stored| Some(stored.memory))
    }

    /// Changes fields in place; none if the state changed meanwhile.
    async fn change(&self, stored: Stored, patch: &MemoryPatch, now: i64) -> Result<Option<Memory>, Error> {
        let store = &self.remember.store;
        let memory = self.changed(&stored.memory, patch, now);
        let owner = memory.scope.owner.clone();
        let directory = store.directory(&owner).await?;
        let rewritten = if memory.entities == stored.memory.entities {
            Vec::new()
        } else {
            let items = store.items(&owner, &stored.place.record, stored.place.sequences()).await?;
            if items.len() != stored.place.pieces() {
                return Err(Error::Corrupt("a memory lacks some of its items"));
            }
            items.into_iter().map(|item| renewed(item, &memory)).collect()
        };
        let patches = vec![
            Patch::pinned(memory.pinned),
            Patch::importance(importance(memory.importance)),
            Patch::valid_until(memory.valid_until.unwrap_or(i64::MAX)),
            Patch::expires(memory.expires),
        ];
        let change = Change { latest: stored.latest, memory: memory.clone(), patches, items: rewritten, stored };
        let commit = Commit {
            owner: &owner,
            large: directory.kept,
            subjects: Vec::new(),
            operations: vec![Operation::Change(Box::new(change))],
            average: directory.average(),
            now,
        };
        Ok(match store.commit(&commit).await? {
            Committed::Done { revision, .. } => Some(Memory { revision, ..memory }),
            Committed::Changed => None,
        })
    }

    /// Memory with the fields of a patch, but for its text.
    fn changed(&self, memory: &Memory, patch: &MemoryPatch, now: i64) -> Memory {
        let mut changed = memory.clone();
        changed.pinned = patch.pinned.unwrap_or(changed.pinned);
        changed.importance = patch.importance.unwrap_or(changed.importance);
        let lists = [
            (&mut changed.topics, &patch.topics),
            (&mut changed.entities, &patch.entities),
            (&mut changed.tags, &patch.tags),
        ];
        for (list, patch) in lists {
            if let Some(values) = patch {
                list.clone_from(values);
            }
        }
        patch.removed_metadata.iter().for_each(|key| drop(changed.metadata.remove(key)));
        changed.metadata.extend(patch.metadata.clone());
        if let Some(expires) = patch.expires {
            changed.expires = expires.unwrap_or_else(|| now.saturating_add(self.remember.ttl()));
        }
        changed.valid_until = patch.valid_until.unwrap_or(changed.valid_until);
        changed
    }
}

/// Item of a memory whose entities changed.
fn renewed(item: Item, memory: &Memory) -> Item {
    Item {
        entities: memory.entities.iter().map(|entity| name_hash(entity)).collect(),
        pinned: memory.pinned,
        importance: importance(memory.importance),
        valid_until: memory.valid_until.unwrap_or(i64::MAX),
        expires: memory.expires,
        ..item
    }
}
