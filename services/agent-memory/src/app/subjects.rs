//! Memories of a subject: a user's, an agent's, a session's, and the summaries that were derived from them.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use keyplane_contracts::names::TenantId;
use tokio::sync::mpsc::Sender;

use crate::domain::erasure::Subject;
use crate::domain::{MemoryId, Owner, Partition};
use crate::error::Error;
use crate::store::{Due, RecordName, Store, Stored};

/// Memories that are read at once.
const BATCH: usize = 256;
/// Longest chain of summaries of summaries that is followed.
const DEPTH: u32 = 4;

/// Memories of one owner that are a subject's.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) owner: Owner,
    pub(super) memories: Vec<Stored>,
    /// True for summaries that were derived from the subject's memories.
    pub(super) derived: bool,
}

/// Record of a subject, and the number of its items without a memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leftover {
    pub(super) owner: Owner,
    pub(super) records: Vec<(RecordName, usize)>,
    /// True if all memories of the owner are the subject's.
    pub(super) all: bool,
}

/// Finds memories of subjects. Cheap to clone.
#[derive(Clone)]
pub(super) struct Subjects {
    store: Store,
}

// === impl Subjects ===

impl Subjects {
    pub(super) fn new(store: Store) -> Subjects {
        Subjects { store }
    }

    /// Owners whose memories may be the subject's, or derived from them.
    pub(super) async fn owners(&self, tenant: &TenantId, subject: &Subject) -> Result<Vec<Owner>, Error> {
        let owner = |user| Owner { tenant: tenant.clone(), user };
        match subject {
            Subject::User(user) => Ok(vec![owner(Some(user.clone())), owner(None)]),
            Subject::Session { user: None, .. } => Ok(vec![owner(None)]),
            Subject::Session { user, .. } => Ok(vec![owner(user.clone()), owner(None)]),
            Subject::Agent(_) => {
                let mut owners = Vec::new();
                for partition in Partition::all() {
                    let due = Due { tenant: tenant.clone(), partition };
                    owners.extend(self.store.owners(&due, u32::MAX).await?);
                }
                Ok(owners)
            }
        }
    }

    /// Sends summaries derived from the subject's memories, then the subject's own memories: the origin of a summary is known only
    /// while its memories exist. Ends early when the receiver is gone.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub(super) async fn send(
        &self,
        tenant: &TenantId,
        subject: &Subject,
        batches: &Sender<Batch>,
    ) -> Result<(), Error> {
        let owners = self.owners(tenant, subject).await?;
        for owner in &owners {
            if !all_of(subject, owner) {
                self.send_derived(subject, owner, batches).await?;
            }
        }
        for owner in &owners {
            for record in self.records(subject, owner).await? {
                for ids in self.ids(owner, &record).await?.chunks(BATCH) {
                    let found = self.store.load(tenant, ids).await?.into_iter().flatten();
                    let memories: Vec<Stored> = found.filter(|stored| subject.made(&stored.memory)).collect();
                    let batch = Batch { owner: owner.clone(), memories, derived: false };
                    if !batch.memories.is_empty() && batches.send(batch).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Records that only the subject's memories fill, once all of those are gone; none if one of them is not.
    pub(super) async fn leftovers(&self, tenant: &TenantId, subject: &Subject) -> Result<Option<Vec<Leftover>>, Error> {
        let mut leftovers = Vec::new();
        for owner in self.owners(tenant, subject).await? {
            let mut leftover = Leftover { owner: owner.clone(), records: Vec::new(), all: all_of(subject, &owner) };
            let owns = !matches!(subject, Subject::Agent(_));
            for record in if owns { self.records(subject, &owner).await? } else { Vec::new() } {
                let session = self.store.records(&owner, std::slice::from_ref(&record)).await?;
                let items: Vec<MemoryId> =
                    session.iter().flat_map(|session| session.items.iter().map(|item| item.id)).collect();
                for ids in items.chunks(BATCH) {
                    if self.store.load(tenant, ids).await?.iter().any(Option::is_some) {
                        return Ok(None);
                    }
                }
                leftover.records.push((record, items.len()));
            }
            leftovers.push(leftover);
        }
        Ok(Some(leftovers))
    }

    /// Records that may hold memories of the subject.
    async fn records(&self, subject: &Subject, owner: &Owner) -> Result<Vec<RecordName>, Error> {
        let directory = self.store.directory(owner).await?;
        let may_hold = |record: &RecordName| match subject {
            Subject::User(user) => owner.user.as_ref() == Some(user),
            Subject::Agent(_) => true,
            Subject::Session { user, session } => {
                owner.user == *user && matches!(record, RecordName::Session(id) if id == session)
            }
        };
        Ok(directory.records.into_keys().filter(may_hold).collect())
    }

    async fn ids(&self, owner: &Owner, record: &RecordName) -> Result<Vec<MemoryId>, Error> {
        let sessions = self.store.records(owner, std::slice::from_ref(record)).await?;
        let ids: BTreeSet<MemoryId> =
            sessions.iter().flat_map(|session| session.items.iter().map(|item| item.id)).collect();
        Ok(ids.into_iter().collect())
    }

    /// Sends an owner's memories that were derived from the subject's, and are not the subject's own. All of them are found before
    /// the first is sent, so that a summary of a summary still knows its origin.
    async fn send_derived(&self, subject: &Subject, owner: &Owner, batches: &Sender<Batch>) -> Result<(), Error> {
        let mut derived = Vec::new();
        for record in self.store.directory(owner).await?.records.into_keys() {
            for ids in self.ids(owner, &record).await?.chunks(BATCH) {
                for stored in self.store.load(&owner.tenant, ids).await?.into_iter().flatten() {
                    let memory = &stored.memory;
                    if !subject.made(memory) && self.derives(subject, owner, &memory.source.derived_from, DEPTH).await?
                    {
                        derived.push(stored);
                    }
                }
            }
        }
        for memories in derived.chunks(BATCH) {
            if batches.send(Batch { owner: owner.clone(), memories: memories.to_vec(), derived: true }).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns whether one of `sources` is the subject's, or derived from the subject's.
    fn derives<'a>(
        &'a self,
        subject: &'a Subject,
        owner: &'a Owner,
        sources: &'a [MemoryId],
        depth: u32,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            if sources.is_empty() || depth == 0 {
                return Ok(false);
            }
            for stored in self.store.load(&owner.tenant, sources).await?.into_iter().flatten() {
                let memory = &stored.memory;
                if subject.made(memory) || self.derives(subject, owner, &memory.source.derived_from, depth - 1).await? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }
}

/// Returns whether all memories of `owner` are the subject's.
fn all_of(subject: &Subject, owner: &Owner) -> bool {
    matches!(subject, Subject::User(user) if owner.user.as_ref() == Some(user))
}
