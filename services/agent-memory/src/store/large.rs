//! Postings and vectors of owners that outgrow a whole read: built once, kept by every commit since.

use keyplane_valkey::{Arg, Key, script};

use super::commit::{f32_bytes, impact};
use super::keys::OwnerKeys;
use super::nearest::tag;
use super::{CHUNK, RecordName, Store};
use crate::domain::record::pack;
use crate::domain::{Item, Owner, Space};
use crate::error::Error;

script!(GROW = "memory.grow", ["scripts/grow.lua"]);
script!(FILL = "memory.fill", ["scripts/fill.lua"]);

// === impl Store ===

impl Store {
    /// Builds the postings and vectors of an owner with more than `limit` items, from its records; `false` if there was nothing
    /// to do. Commits keep them from the first step on, so nothing that is written meanwhile is missed. Idempotent: a repetition
    /// resumes what a crash left. O(items).
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn build(&self, owner: &Owner, spaces: &[Space], limit: u64, now: i64) -> Result<bool, Error> {
        if !self.grow(owner, "b", limit).await? {
            return Ok(false);
        }
        for space in spaces {
            self.ensure_index(space).await?;
        }
        let directory = self.directory(owner).await?;
        for record in directory.records.keys() {
            let sessions = self.records(owner, std::slice::from_ref(record)).await?;
            let items: Vec<&Item> = sessions.iter().flat_map(|session| &session.items).collect();
            for chunk in items.chunks(CHUNK) {
                self.fill(owner, spaces, record, chunk, directory.average(), now).await?;
            }
        }
        self.grow(owner, "1", limit).await
    }

    /// Moves an owner's postings and vectors to a state: `b` begins to keep them, `1` ends the build.
    async fn grow(&self, owner: &Owner, state: &str, limit: u64) -> Result<bool, Error> {
        let key = OwnerKeys::new(self.valkey.app(), owner).directory();
        let done = self.valkey.run(&GROW, &[&key], &[state.into(), limit.into()]).await?.int()?;
        Ok(done == 1)
    }

    /// Writes the postings and vectors of items that still stand in their record, at most [`CHUNK`]. Returns the number of those
    /// that were missing.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn fill(
        &self,
        owner: &Owner,
        spaces: &[Space],
        record: &RecordName,
        items: &[&Item],
        average: f32,
        now: i64,
    ) -> Result<u64, Error> {
        let names = OwnerKeys::new(self.valkey.app(), owner);
        let mut keys: Vec<Key> = vec![names.record(record), names.directory()];
        let mut args: Vec<Vec<u8>> = vec![tag(owner).into_bytes(), record.to_string().into_bytes()];
        args.push(now.to_string().into_bytes());
        let mut piece = 0;
        let mut before = None;
        for item in items {
            // Pieces of one memory follow each other; a chunk may begin within one.
            let number = match item.piece {
                None => 0,
                Some(_) if before == Some(item.id) => piece + 1,
                Some(_) => self.piece(owner, record, item).await?,
            };
            (piece, before) = (number, Some(item.id));
            args.extend([item.sequence.to_string().into_bytes(), pack(item), item.expires.to_string().into_bytes()]);
            args.push(item.terms.len().to_string().into_bytes());
            for term in &item.terms {
                args.push(impact(term.frequency, item.length, average).to_string().into_bytes());
                keys.push(names.postings(term.hash));
            }
            let space = spaces.iter().find(|space| super::space_hash(&space.id) == item.space);
            match (&item.vector, space) {
                (Some(vector), Some(space)) => {
                    args.push(f32_bytes(vector));
                    keys.push(names.partition().vector(&space.id, item.id, number));
                }
                _ => args.push(Vec::new()),
            }
        }
        let keys: Vec<&Key> = keys.iter().collect();
        let args: Vec<Arg<'_>> = args.iter().map(Arg::from).collect();
        let missing = self.valkey.run(&FILL, &keys, &args).await?.int()?;
        Ok(u64::try_from(missing).unwrap_or(0))
    }

    /// Number of a piece among those of its memory.
    async fn piece(&self, owner: &Owner, record: &RecordName, item: &Item) -> Result<usize, Error> {
        let stored = self.load(&owner.tenant, &[item.id]).await?.pop().flatten();
        let first = stored.filter(|stored| stored.place.record == *record).map_or(item.sequence, |s| s.place.first);
        Ok(usize::try_from(item.sequence.saturating_sub(first)).unwrap_or(0))
    }
}
