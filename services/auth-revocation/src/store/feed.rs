//! Feed of a partition: a stream of whole states, each entry chained to the one before it.

use std::sync::Arc;

use keyplane_revocation::{Entry, State, Target, Version};
use keyplane_valkey::StreamEntry;

use super::Store;
use super::codec::{number, text};
use crate::domain::{Link, Step};
use crate::error::Error;

/// Id before every other of a stream.
pub const START: &str = "0-0";

/// Entry of a partition's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedRecord {
    /// Id in the stream: the position to read on from.
    pub id: String,
    /// Dense number: one more than that of the entry before.
    pub seq: u64,
    /// Random text, which tells the entry from one of the same number in another history.
    pub nonce: Box<str>,
    /// Nonce of the entry before; empty for the first of a partition.
    pub previous: Box<str>,
    /// Revocation, and its state from this entry on.
    pub entry: Arc<Entry>,
}

// === impl Store ===

impl Store {
    /// Reads at most `count` entries of a partition's feed after the id `after`, or from its start; the oldest first.
    /// Fewer than `count`: the feed ends with the last of them.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]; [`Error::Corrupt`]. Cancel safe.
    pub async fn feed_page(&self, partition: u32, after: Option<&str>, count: u64) -> Result<Vec<FeedRecord>, Error> {
        let key = self.keys().feed(partition);
        decode_all(&self.inner.valkey.xrange(&key, &range_start(after), "+", count).await?)
    }
}

// === impl FeedRecord ===

impl FeedRecord {
    /// Number and nonce.
    #[must_use]
    pub fn link(&self) -> Link {
        Link { seq: self.seq, nonce: nonce(&self.nonce) }
    }

    /// Relation to `last`, the entry that was applied last.
    #[must_use]
    pub fn step_from(&self, last: Link) -> Step {
        last.step(self.link(), nonce(&self.previous))
    }
}

/// Decodes entries of the stream.
pub(super) fn decode_all(raw: &[StreamEntry]) -> Result<Vec<FeedRecord>, Error> {
    raw.iter().map(decode).collect()
}

/// Decodes an entry of the stream; [`Error::Corrupt`] if this service did not write it.
fn decode(raw: &StreamEntry) -> Result<FeedRecord, Error> {
    let get =
        |name: &str| raw.fields.iter().find(|(field, _)| field.as_ref() == name.as_bytes()).map(|(_, value)| value);
    let need = |name| get(name).ok_or(Error::Corrupt("an entry of the feed lacks a field"));
    let entry = Entry {
        target: Target::decode(text(need("s")?)?).map_err(|_| Error::Corrupt("a target in the feed is malformed"))?,
        state: State::decode(text(need("t")?)?).map_err(|_| Error::Corrupt("a state in the feed is malformed"))?,
        version: Version(match get("w") {
            Some(own) => number(own)?,
            None => moment(&raw.id).ok_or(Error::Corrupt("an id in the feed is malformed"))?,
        }),
    };
    Ok(FeedRecord {
        id: raw.id.clone(),
        seq: number(need("q")?)?,
        nonce: text(need("n")?)?.into(),
        previous: text(need("p")?)?.into(),
        entry: Arc::new(entry),
    })
}

/// Partition's clock, in µs since 1970, when the entry with this id was appended: the id is `<µs / 1000>-<µs % 1000>`.
#[must_use]
pub fn moment(id: &str) -> Option<u64> {
    let (millis, rest) = id.split_once('-')?;
    let (millis, rest): (u64, u64) = (millis.parse().ok()?, rest.parse().ok()?);
    (rest < 1000).then(|| millis.checked_mul(1000)?.checked_add(rest))?
}

/// First bound of a range of the stream, past the id `after`.
pub(super) fn range_start(after: Option<&str>) -> String {
    after.map_or_else(|| "-".to_owned(), |after| format!("({after}"))
}

/// Decodes a nonce; 0 for the empty one before the first entry. Nonces are 16 hex digits; any other text, which the
/// service does not write, becomes a number that no nonce is likely to be.
pub(super) fn nonce(text: &str) -> u64 {
    if text.is_empty() { 0 } else { u64::from_str_radix(text, 16).unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn raw(id: &str, fields: &[(&'static str, &'static str)]) -> StreamEntry {
        let fields = fields
            .iter()
            .map(|(name, value)| (Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes())));
        StreamEntry { id: id.to_owned(), fields: fields.collect() }
    }

    const PLAIN: [(&str, &str); 5] = [("q", "7"), ("n", "aa"), ("p", ""), ("s", "n acme"), ("t", "R;9;5;;")];

    #[test]
    fn the_version_comes_from_the_id_unless_the_entry_was_appended_again() {
        let entry = decode(&raw("1790000000123-456", &PLAIN)).expect("a whole entry");
        assert_eq!((entry.seq, &*entry.nonce, &*entry.previous), (7, "aa", ""));
        assert_eq!(entry.entry.version, Version(1_790_000_000_123_456));
        let mut again = PLAIN.to_vec();
        again.push(("w", "17"));
        assert_eq!(decode(&raw("1790000000123-456", &again)).expect("a whole entry").entry.version, Version(17));
    }

    #[test]
    fn malformed_entries_are_corrupt() {
        for id in ["", "1", "1-", "-1", "x-1", "1-1000", "99999999999999999999-1"] {
            assert!(decode(&raw(id, &PLAIN)).is_err(), "the id {id:?}");
        }
        for (index, (name, _)) in PLAIN.iter().enumerate() {
            let mut less = PLAIN.to_vec();
            less.remove(index);
            assert!(decode(&raw("1-1", &less)).is_err(), "an entry without {name}");
        }
        let mut forged = PLAIN.to_vec();
        forged[3].1 = "n acme acme";
        assert!(decode(&raw("1-1", &forged)).is_err(), "a malformed target");
    }
}
