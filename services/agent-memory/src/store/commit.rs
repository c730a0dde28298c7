//! Commits: writes, changes and removals of one owner's memories by one script, all of them or none.

use keyplane_valkey::{Arg, Feature, Key, Ttl, Value, script};

use super::body::{self, Stored};
use super::keys::{OwnerKeys, segment};
use super::{Place, RecordName, Store};
use crate::domain::record::{self, Patch};
use crate::domain::{Item, Memory, MemoryId, Owner, SpaceId, Vector};
use crate::error::Error;

script!(COMMIT = "memory.commit", ["scripts/commit.lua"]);

/// Maximum number of operations of one commit: its script must not block the engine for long.
pub const CHUNK: usize = 16;
/// Maximum number of items in a record of memories without a session.
pub const RECORD: u32 = 500;
/// Time between the expiry of a memory and that of its keys.
const BEHIND: std::time::Duration = std::time::Duration::from_hours(24);

/// Operation of a commit.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Writes a memory that does not exist.
    Put(Box<Put>),
    /// Changes a memory.
    Change(Box<Change>),
    /// Removes a memory.
    Remove(Box<Removal>),
}

/// Memory to write.
#[derive(Clone, Debug)]
pub struct Put {
    /// Memory. Its revision is set by the commit.
    pub memory: Memory,
    /// Items, at least one; the commit sets their sequences.
    pub items: Vec<Item>,
    /// Record.
    pub record: RecordName,
    /// Sequence of the first item; none for the next of the record.
    pub sequence: Option<u32>,
    /// Hash of the subject whose current memory this becomes.
    pub subject: Option<String>,
    /// Space of the items' vectors.
    pub space: Option<SpaceId>,
}

/// Change of a memory.
#[derive(Clone, Debug)]
pub struct Change {
    /// Memory before the change.
    pub stored: Stored,
    /// Memory after the change.
    pub memory: Memory,
    /// Changes of its items' heads.
    pub patches: Vec<Patch>,
    /// Items in place of the present ones, all of them; empty to keep those.
    pub items: Vec<Item>,
    /// Number of the last memory with the same text.
    pub latest: u32,
}

/// Memory to remove.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Memory.
    pub stored: Stored,
    /// Its items, those that exist.
    pub items: Vec<Item>,
    /// Memory that its subject falls back to, as the last one of its history.
    pub heir: Option<MemoryId>,
}

/// Commit: operations that expect the state that they were planned from.
#[derive(Clone, Debug)]
pub struct Commit<'a> {
    /// Owner of all memories.
    pub owner: &'a Owner,
    /// True if the owner's postings and vectors are kept.
    pub large: bool,
    /// Hashes of subjects, each with the memory that must be its current one.
    pub subjects: Vec<(String, Option<MemoryId>)>,
    /// Operations, at most [`CHUNK`].
    pub operations: Vec<Operation>,
    /// Average number of words of the owner's items, for postings.
    pub average: f32,
    /// Time of this instance, in milliseconds since 1970.
    pub now: i64,
}

/// Result of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Done.
    Done {
        /// Revision of all memories that were written or changed.
        revision: i64,
        /// Number of the owner's items.
        items: u64,
        /// First sequence of each put.
        sequences: Vec<u32>,
    },
    /// Nothing was done: the state is another than the one that the commit was planned from.
    Changed,
}

/// Keys and arguments of a commit.
struct Call<'a> {
    names: OwnerKeys<'a>,
    keys: Vec<Key>,
    args: Vec<Vec<u8>>,
}

// === impl Store ===

impl Store {
    /// Runs a commit. A repetition after an unknown outcome finds another state, so it never writes twice.
    ///
    /// # Errors
    ///
    /// Expiry past the feature's maximum, or an error of the store.
    pub async fn commit(&self, commit: &Commit<'_>) -> Result<Committed, Error> {
        let mut call = Call::new(self, commit);
        for operation in &commit.operations {
            match operation {
                Operation::Put(put) => call.put(commit, put)?,
                Operation::Change(change) => call.change(commit, change)?,
                Operation::Remove(removal) => call.remove(commit, removal),
            }
        }
        let keys: Vec<&Key> = call.keys.iter().collect();
        let args: Vec<Arg<'_>> = call.args.iter().map(Arg::from).collect();
        reply(self.valkey.run(&COMMIT, &keys, &args).await?)
    }
}

fn reply(reply: Value) -> Result<Committed, Error> {
    let reply = reply.array()?;
    match (reply.first().map(Value::text).transpose()?, reply.as_slice()) {
        (Some("OK"), [_, revision, items, sequences]) => {
            let sequences = sequences.clone().array()?;
            let sequence = |value: &Value| u32::try_from(value.int()?).map_err(|_| Error::Corrupt("a sequence"));
            Ok(Committed::Done {
                revision: revision.int()?,
                items: u64::try_from(items.int()?).unwrap_or(0),
                sequences: sequences.iter().map(sequence).collect::<Result<_, Error>>()?,
            })
        }
        (Some("CHANGED" | "FULL"), _) => Ok(Committed::Changed),
        _ => Err(Error::Corrupt("a commit has another reply")),
    }
}

// === impl Call ===

impl<'a> Call<'a> {
    fn new(store: &'a Store, commit: &Commit<'a>) -> Call<'a> {
        let names = OwnerKeys::new(store.valkey.app(), commit.owner);
        let partition = names.partition();
        let keys = vec![names.directory(), partition.expiry(), names.subjects(), partition.owners()];
        let mut call = Call { keys, names, args: Vec::with_capacity(8 + commit.operations.len() * 32) };
        call.texts(&[segment(commit.owner), &commit.now.to_string(), if commit.large { "1" } else { "" }]);
        call.text(super::nearest::tag(commit.owner).as_str());
        call.number(commit.subjects.len() * 2);
        for (subject, current) in &commit.subjects {
            call.texts(&[subject, &current.map(|id| id.to_string()).unwrap_or_default()]);
        }
        call
    }

    fn put(&mut self, commit: &Commit<'_>, put: &Put) -> Result<(), Error> {
        check(commit.now, put.memory.expires)?;
        let (id, record) = (put.memory.id, put.record.to_string());
        self.keys.extend([self.names.partition().memory(id), self.names.record(&put.record)]);
        self.texts(&["P", &id.to_string(), &put.memory.expires.to_string(), &record]);
        let most = matches!(put.record, RecordName::Number(_)).then(|| RECORD.to_string());
        self.text(&most.unwrap_or_default());
        self.text(&put.sequence.map(|sequence| sequence.to_string()).unwrap_or_default());
        self.text(put.subject.as_deref().unwrap_or_default());
        self.pairs(&fields(&put.memory, 0));
        self.number(put.items.len());
        for (piece, item) in put.items.iter().enumerate() {
            self.args.push(record::pack(item));
            self.texts(&[&item.tokens.to_string(), &item.length.to_string()]);
            self.postings(commit, item);
            match (&item.vector, &put.space) {
                (Some(vector), Some(space)) if commit.large => {
                    self.args.push(f32_bytes(vector));
                    self.keys.push(self.names.partition().vector(space, id, piece));
                }
                _ => self.text(""),
            }
        }
        Ok(())
    }

    fn postings(&mut self, commit: &Commit<'_>, item: &Item) {
        let terms = if commit.large { item.terms.as_slice() } else { &[] };
        self.number(terms.len());
        for term in terms {
            self.text(&impact(term.frequency, item.length, commit.average).to_string());
            self.keys.push(self.names.postings(term.hash));
        }
    }

    fn change(&mut self, commit: &Commit<'_>, change: &Change) -> Result<(), Error> {
        let (before, after) = (&change.stored, &change.memory);
        let moved = before.memory.expires != after.expires;
        if moved {
            check(commit.now, after.expires)?;
        }
        let id = after.id;
        self.keys.extend([self.names.partition().memory(id), self.names.record(&before.place.record)]);
        self.texts(&["U", &id.to_string(), &before.memory.revision.to_string()]);
        self.text(&if moved { after.expires.to_string() } else { String::new() });
        self.place(&before.place);
        let set = fields(after, change.latest);
        self.pairs(&set);
        let gone: Vec<&str> = ["s", "w"].into_iter().filter(|name| set.iter().all(|(set, _)| set != name)).collect();
        self.number(gone.len());
        self.texts(&gone);
        self.number(change.patches.len() * 2);
        for patch in &change.patches {
            self.text(&patch.offset.to_string());
            self.args.push(patch.bytes.clone());
        }
        self.number(change.items.len());
        self.args.extend(change.items.iter().map(record::pack));
        let vectors = if moved && commit.large { self.vectors(&before.memory, before.place.count) } else { Vec::new() };
        self.number(vectors.len());
        self.keys.extend(vectors);
        Ok(())
    }

    fn remove(&mut self, commit: &Commit<'_>, removal: &Removal) {
        let (memory, place) = (&removal.stored.memory, &removal.stored.place);
        let record = place.record.to_string();
        self.keys.extend([self.names.partition().memory(memory.id), self.names.record(&place.record)]);
        self.texts(&["D", &memory.id.to_string(), &memory.revision.to_string(), &record]);
        self.place(place);
        let sum = |number: fn(&Item) -> u32| removal.items.iter().map(|item| u64::from(number(item))).sum::<u64>();
        self.texts(&[&sum(|item| item.tokens).to_string(), &sum(|item| item.length).to_string()]);
        self.text(&super::subject_hash(&memory.scope, &memory.subject).unwrap_or_default());
        self.text(&removal.heir.map(|id| id.to_string()).unwrap_or_default());
        let mut members = Vec::new();
        for item in removal.items.iter().filter(|_| commit.large) {
            for term in &item.terms {
                members.push(format!("{record} {}", item.sequence));
                self.keys.push(self.names.postings(term.hash));
            }
        }
        self.number(members.len());
        self.texts(&members.iter().map(String::as_str).collect::<Vec<_>>());
        let vectors = if commit.large { self.vectors(memory, place.count) } else { Vec::new() };
        self.number(vectors.len());
        self.keys.extend(vectors);
    }

    fn vectors(&self, memory: &Memory, count: u32) -> Vec<Key> {
        let Some(space) = &memory.space else { return Vec::new() };
        let piece = |piece: u32| usize::try_from(piece).unwrap_or(usize::MAX);
        (0..count).map(|number| self.names.partition().vector(space, memory.id, piece(number))).collect()
    }

    fn place(&mut self, place: &Place) {
        self.texts(&[&place.first.to_string(), &place.count.to_string()]);
    }

    fn pairs(&mut self, pairs: &[(&str, Vec<u8>)]) {
        self.number(pairs.len() * 2);
        for (name, value) in pairs {
            self.text(name);
            self.args.push(value.clone());
        }
    }

    fn number(&mut self, number: usize) {
        self.text(&number.to_string());
    }

    fn texts(&mut self, texts: &[&str]) {
        texts.iter().for_each(|text| self.text(text));
    }

    fn text(&mut self, text: &str) {
        self.args.push(text.as_bytes().to_vec());
    }
}

/// Fields of a memory's hash that a commit sets, but for revision, expiry and place.
fn fields(memory: &Memory, latest: u32) -> Vec<(&'static str, Vec<u8>)> {
    let mut fields = vec![("b", body::body(memory))];
    if let Some(state) = body::state_text(&memory.state) {
        fields.push(("s", state.into_bytes()));
    }
    if let Some(until) = memory.valid_until {
        fields.push(("w", until.to_string().into_bytes()));
    }
    if latest > 0 {
        fields.push(("k", latest.to_string().into_bytes()));
    }
    fields
}

/// Checks that the keys of a memory may live until its expiry, and a day more.
fn check(now: i64, expires: i64) -> Result<(), Error> {
    let left = u64::try_from(expires.saturating_sub(now)).unwrap_or(0);
    Ttl::new(Feature::MEMORY, std::time::Duration::from_millis(left) + BEHIND)?;
    Ok(())
}

/// Vector in the form of the index: 32-bit floats, little-endian.
pub(super) fn f32_bytes(vector: &Vector) -> Vec<u8> {
    vector.values.iter().flat_map(|value| (f32::from(*value) * vector.scale).to_le_bytes()).collect()
}

/// Part of a term's BM25 that does not depend on its frequency among the memories: k1 1.2, b 0.75.
pub(super) fn impact(frequency: u8, length: u32, average: f32) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a memory has fewer than 2^24 words")]
    let ratio = if average > 0.0 { length as f32 / average } else { 1.0 };
    let frequency = f32::from(frequency);
    frequency * 2.2 / (frequency + 1.2 * (0.25 + 0.75 * ratio))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impact_grows_with_the_frequency_and_falls_with_the_length() {
        assert!(impact(2, 10, 10.0) > impact(1, 10, 10.0));
        assert!(impact(1, 5, 10.0) > impact(1, 10, 10.0));
        assert!((impact(1, 10, 10.0) - 1.0).abs() < 1e-6);
        assert!(impact(1, 10, 0.0).is_finite());
    }

    #[test]
    fn key_of_the_longest_life_is_a_day_behind_its_memory() {
        let day = 86_400_000;
        assert!(check(0, 799 * day).is_ok());
        assert!(check(0, 799 * day + 1).is_err());
        assert!(check(day, 0).is_ok());
    }
}
