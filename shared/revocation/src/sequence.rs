//! Sequence: a position in the feed of all partitions.

use data_encoding::BASE64URL_NOPAD;
use prost::encoding::{decode_varint, encode_varint};

use crate::text::Malformed;

/// Position in the feed: a dense number for each partition, 0 before its first entry.
///
/// The text is opaque to callers: they compare by asking the service, never by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sequence(Box<[u64]>);

/// Fault of a text that is no sequence.
const MALFORMED: Malformed = Malformed::new("a sequence", "it must be one that a revocation or an answer came with");

/// First byte of the text, which names its layout.
const LAYOUT: u8 = 1;

// === impl Sequence ===

impl Sequence {
    /// Most partitions of a store.
    pub const MAX_PARTITIONS: u32 = 64;
    /// Longest text of [`Sequence::encode`], in bytes.
    pub const MAX_TEXT: usize = (1 + 10 * Self::MAX_PARTITIONS as usize) * 4 / 3 + 1;

    /// Start of the feed of `count` partitions: 1 to 64, else the nearest of them.
    pub fn new(count: u32) -> Self {
        Self(vec![0; count.clamp(1, Self::MAX_PARTITIONS) as usize].into())
    }

    /// Position at the entry `seq` of `partition`, and at the start of the others.
    pub fn at(partition: u32, seq: u64, count: u32) -> Self {
        let mut sequence = Self::new(count);
        sequence.set(partition, seq);
        sequence
    }

    /// Number of partitions.
    pub fn partitions(&self) -> u32 {
        // At most MAX_PARTITIONS.
        self.0.len() as u32
    }

    /// Number of the last entry of `partition`; 0 if there is no such partition.
    pub fn get(&self, partition: u32) -> u64 {
        self.0.get(partition as usize).copied().unwrap_or_default()
    }

    /// Sets the last entry of `partition` to `seq`, even below the one before. Ignored if there is no such partition.
    pub fn set(&mut self, partition: u32, seq: u64) {
        if let Some(last) = self.0.get_mut(partition as usize) {
            *last = seq;
        }
    }

    /// Returns whether this includes all of `other`; `false` if their numbers of partitions differ.
    pub fn covers(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(own, other)| own >= other)
    }

    /// Merges `other`: the higher number of each partition. Returns `false`, and changes nothing, if the numbers of
    /// partitions differ.
    pub fn merge(&mut self, other: &Self) -> bool {
        let same = self.0.len() == other.0.len();
        if same {
            self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own = (*own).max(*other));
        }
        same
    }

    /// Encodes the opaque text, in the alphabet of base64url: 7 bytes with 4 partitions at their start, 856 at most.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(1 + 4 * self.0.len());
        bytes.push(LAYOUT);
        for number in &self.0 {
            encode_varint(*number, &mut bytes);
        }
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Decodes a text of [`Sequence::encode`].
    ///
    /// # Errors
    /// [`Malformed`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Self::read(text).ok_or(MALFORMED)
    }

    fn read(text: &str) -> Option<Self> {
        if text.len() > Self::MAX_TEXT {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let mut rest = bytes.strip_prefix(&[LAYOUT])?;
        let mut numbers = Vec::new();
        while !rest.is_empty() {
            numbers.push(decode_varint(&mut rest).ok()?);
        }
        let valid = (1..=Self::MAX_PARTITIONS as usize).contains(&numbers.len());
        // A number may be written in more bytes than it needs; one sequence has one text.
        Some(Self(numbers.into())).filter(|sequence| valid && sequence.encode() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::{BASE64URL_NOPAD, Sequence};
    use proptest::prelude::*;

    #[test]
    fn a_sequence_covers_one_that_is_no_further_in_any_partition() {
        let mut all = Sequence::at(1, 5, 4);
        assert!(all.covers(&Sequence::new(4)) && all.covers(&all));
        assert!(all.covers(&Sequence::at(1, 4, 4)) && !all.covers(&Sequence::at(1, 6, 4)));
        assert!(!all.covers(&Sequence::at(0, 1, 4)), "another partition is another feed");
        assert!(all.merge(&Sequence::at(0, 1, 4)) && all.merge(&Sequence::at(1, 3, 4)));
        assert_eq!((all.get(0), all.get(1), all.get(2), all.get(9)), (1, 5, 0, 0));
    }

    #[test]
    fn stores_with_other_partitions_are_not_compared() {
        let mut four = Sequence::at(0, 9, 4);
        let eight = Sequence::at(0, 1, 8);
        assert!(!four.covers(&eight) && !eight.covers(&four) && !four.covers(&Sequence::new(1)));
        assert!(!four.merge(&eight));
        assert_eq!(four, Sequence::at(0, 9, 4));
    }

    #[test]
    fn partitions_are_bounded() {
        assert_eq!((Sequence::new(0).partitions(), Sequence::new(65).partitions()), (1, 64));
        assert_eq!(Sequence::at(7, 1, 4), Sequence::new(4), "there is no such partition");
    }

    #[test]
    fn the_longest_text_has_the_stated_length() {
        let mut longest = Sequence::new(Sequence::MAX_PARTITIONS);
        (0..64).for_each(|partition| longest.set(partition, u64::MAX));
        let text = longest.encode();
        assert_eq!(text.len(), Sequence::MAX_TEXT);
        assert_eq!(Sequence::parse(&text), Ok(longest));
    }

    #[test]
    fn forged_texts_are_malformed() {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let malformed = [
            String::new(),
            text(&[1]),
            text(&[2, 1]),
            text(&[1, 0x80]),
            text(&[1, 0x80, 0x00]),
            text(&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]),
            text(&[1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
            text(&[[1].as_slice(), &[0; 65]].concat()),
            format!("{}=", text(&[1, 1, 1])),
            "A".repeat(100_000),
            "ä".to_owned(),
        ];
        for text in malformed {
            assert!(Sequence::parse(&text).is_err(), "{text:?} is no sequence, and must not be read");
        }
    }

    proptest! {
        #[test]
        fn a_sequence_comes_back_from_its_text(numbers in proptest::collection::vec(any::<u64>(), 1..=64)) {
            let sequence = Sequence(numbers.into());
            prop_assert_eq!(Sequence::parse(&sequence.encode()), Ok(sequence));
        }

        #[test]
        fn no_text_breaks_the_parser(text in "[A-Za-z0-9_-]{0,40}") {
            if let Ok(sequence) = Sequence::parse(&text) {
                prop_assert_eq!(sequence.encode(), text);
            }
        }
    }
}
