//! The feed of a partition: a stream of states in full, each entry chained to the one before it.

use keyplane_revocation::{Entry, State, Target, Version};
use keyplane_valkey::StreamEntry;

use super::codec::{number, text};
use crate::error::Error;

/// An entry of a partition's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedRecord {
    /// Its id in the stream, from which one reads on.
    pub id: String,
    /// Its number: one more than that of the entry before.
    pub seq: u64,
    /// Random, so that another history of the same length is noticed.
    pub nonce: Box<str>,
    /// The nonce of the entry before; empty for the first of a partition.
    pub previous: Box<str>,
    /// What it says.
    pub entry: Entry,
}

/// Reads an entry of the stream.
///
/// # Errors
///
/// [`Error::Corrupt`] if this service did not write it.
pub fn decode(raw: &StreamEntry) -> Result<FeedRecord, Error> {
    let get =
        |name: &str| raw.fields.iter().find(|(field, _)| field.as_ref() == name.as_bytes()).map(|(_, value)| value);
    let need = |name| get(name).ok_or(Error::Corrupt("an entry of the feed lacks a field"));
    let entry = Entry {
        target: Target::decode(text(need("s")?)?).map_err(|_| Error::Corrupt("a target in the feed is malformed"))?,
        state: State::decode(text(need("t")?)?).map_err(|_| Error::Corrupt("a state in the feed is malformed"))?,
        version: Version(match get("w") {
            Some(own) => number(own)?,
            None => time(&raw.id)?,
        }),
    };
    Ok(FeedRecord {
        id: raw.id.clone(),
        seq: number(need("q")?)?,
        nonce: text(need("n")?)?.into(),
        previous: text(need("p")?)?.into(),
        entry,
    })
}

/// The partition's clock when the entry was appended, in µs: its id is `<µs / 1000>-<µs % 1000>`.
fn time(id: &str) -> Result<u64, Error> {
    let parse = || {
        let (millis, rest) = id.split_once('-')?;
        let (millis, rest): (u64, u64) = (millis.parse().ok()?, rest.parse().ok()?);
        (rest < 1000).then(|| millis.checked_mul(1000)?.checked_add(rest))?
    };
    parse().ok_or(Error::Corrupt("an id in the feed is malformed"))
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
    fn the_version_is_that_of_the_id_unless_it_was_appended_again() {
        let entry = decode(&raw("1790000000123-456", &PLAIN)).expect("a whole entry");
        assert_eq!((entry.seq, &*entry.nonce, &*entry.previous), (7, "aa", ""));
        assert_eq!(entry.entry.version, Version(1_790_000_000_123_456));
        let mut again = PLAIN.to_vec();
        again.push(("w", "17"));
        assert_eq!(decode(&raw("1790000000123-456", &again)).expect("a whole entry").entry.version, Version(17));
    }

    #[test]
    fn what_this_service_does_not_write_is_refused() {
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
