//! Near duplicates: texts that say the same as one that the scope holds.

use crate::domain::text::name_hash;
use crate::domain::veto::differs;
use crate::domain::{Draft, Item, Kind, MemoryId, Owner, Scope};
use crate::error::Error;
use crate::store::{RecordName, Store, space_hash};
use keyplane_contracts::names::Id;

/// Near duplicates that are compared word by word, the nearest first.
const COMPARED: usize = 3;
/// Neighbours that are taken from the index of a large owner.
const NEIGHBOURS: u32 = 16;

/// Memories that drafts of a scope are compared with.
#[derive(Default)]
pub(super) struct Pool {
    items: Vec<Item>,
}

// === impl Pool ===

impl Pool {
    /// Reads the memories that drafts of `scope` may repeat: those of its session, or the owner's without a session. Of a large
    /// owner, the nearest neighbours of each draft.
    pub(super) async fn read(
        store: &Store,
        scope: &Scope,
        drafts: impl Iterator<Item = &Draft>,
        now: i64,
    ) -> Result<Pool, Error> {
        let comparable: Vec<&Draft> = drafts.filter(|draft| is_comparable(draft)).collect();
        if comparable.is_empty() {
            return Ok(Pool::default());
        }
        let owner = &scope.owner;
        let directory = store.directory(owner).await?;
        let names: Vec<RecordName> = match &scope.session {
            Some(session) => vec![RecordName::Session(session.clone())],
            None => directory.records.into_keys().filter(|name| matches!(name, RecordName::Number(_))).collect(),
        };
        let sessions = if directory.large && scope.session.is_none() {
            let mut places = Vec::new();
            for draft in comparable {
                places.extend(neighbours(store, owner, draft).await?);
            }
            store.around(owner, &places, 0).await?
        } else {
            store.records(owner, &names).await?
        };
        let hash = |id: &Option<Id>| id.as_ref().map_or(0, |id| name_hash(id.as_str()));
        let (agent, workflow) = (hash(&scope.agent), hash(&scope.workflow));
        let current = |item: &Item| {
            item.agent == agent
                && item.workflow == workflow
                && item.piece.is_none()
                && !item.superseded
                && item.valid_until > now
                && item.expires > now
        };
        Ok(Pool { items: sessions.into_iter().flat_map(|session| session.items).filter(current).collect() })
    }

    /// Adds items that were written meanwhile.
    pub(super) fn add(&mut self, items: &[Item]) {
        self.items.extend(items.iter().filter(|item| item.piece.is_none() && !item.superseded).cloned());
    }

    /// Takes out a memory that is not current any more.
    pub(super) fn remove(&mut self, id: MemoryId) {
        self.items.retain(|item| item.id != id);
    }

    /// Nearest memories that the draft may repeat, with their cosines, the nearest first.
    pub(super) fn nearest(&self, draft: &Draft) -> Vec<(MemoryId, f32)> {
        let (Some(space), [piece]) = (&draft.space, draft.pieces.as_slice()) else { return Vec::new() };
        let Some(embedding) = piece.embedding.as_ref().filter(|_| is_comparable(draft)) else { return Vec::new() };
        let hash = space_hash(&space.id);
        let cosine = |item: &Item| {
            let vector = item.vector.as_ref().filter(|_| item.space == hash && item.kind == draft.memory.kind)?;
            let cosine = vector.cosine(&embedding.vector);
            (cosine >= space.threshold).then_some((item.id, cosine))
        };
        let mut nearest: Vec<(MemoryId, f32)> = self.items.iter().filter_map(cosine).collect();
        nearest.sort_by(|a, b| b.1.total_cmp(&a.1));
        nearest.truncate(COMPARED);
        nearest
    }
}

/// Returns whether two near texts state the same: no number, negation or name differs, and the subject is the same.
pub(super) fn same(draft: &Draft, text: &str, subject: &str) -> bool {
    draft.memory.subject == subject && !differs(&draft.memory.text, text)
}

/// Messages, steps and parts of documents repeat each other rightly; a split text is compared as a whole by its id alone.
fn is_comparable(draft: &Draft) -> bool {
    let kind = matches!(draft.memory.kind, Kind::Semantic | Kind::Episodic | Kind::Procedural | Kind::Summary);
    kind && draft.space.is_some() && draft.pieces.len() == 1 && draft.pieces[0].embedding.is_some()
}

async fn neighbours(store: &Store, owner: &Owner, draft: &Draft) -> Result<Vec<(RecordName, u32)>, Error> {
    let (Some(space), Some(embedding)) =
        (&draft.space, draft.pieces.first().and_then(|piece| piece.embedding.as_ref()))
    else {
        return Ok(Vec::new());
    };
    store.nearest(owner, space, &embedding.vector, NEIGHBOURS).await
}
