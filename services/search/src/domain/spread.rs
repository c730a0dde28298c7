//! Spread of documents: a uniform number for samples and ties, and the partition.

use keyplane_contracts::names::{CollectionId, Id};
use sha2::{Digest, Sha256};

/// Number and partition of a document, from SHA-256 of `<collection>/<document>`. They never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spread {
    /// Number, uniform from 0 to 2^32 - 1: the first four bytes of the hash, big-endian. Column `_r`.
    pub number: u32,
    /// Partition, 0 to 15: the upper four bits of the number, so that a range of numbers is one partition.
    pub partition: u8,
}

/// Number of partitions.
pub const PARTITIONS: u8 = 16;
/// Number of different numbers.
pub const NUMBERS: f64 = 4_294_967_296.0;

/// Last number of a part that begins at 0 and has this share of all numbers.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
pub fn last(share: f64) -> u32 {
    (share * NUMBERS) as u32
}

/// Share of all numbers up to `last`, included.
#[must_use]
pub fn share(last: u32) -> f64 {
    (f64::from(last) + 1.0) / NUMBERS
}

// === impl Spread ===

impl Spread {
    /// Spread of a document.
    #[must_use]
    pub fn new(collection: &CollectionId, document: &Id) -> Spread {
        let hash = Sha256::new()
            .chain_update(collection.as_str())
            .chain_update("/")
            .chain_update(document.as_str())
            .finalize();
        let number = hash.iter().take(4).fold(0, |number, byte| (number << 8) | u32::from(*byte));
        Spread { number, partition: (number >> 28).to_le_bytes()[0] }
    }

    /// First number of a partition; the partition ends before the first number of the next.
    #[must_use]
    pub fn first(partition: u8) -> u32 {
        u32::from(partition % PARTITIONS) << 28
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(collection: &str, document: &str) -> Spread {
        let collection = CollectionId::parse(collection, "collection").expect("an id");
        Spread::new(&collection, &Id::parse(document, "document").expect("an id"))
    }

    #[test]
    fn spread_is_stable() {
        assert_eq!(spread("companies", "c-1"), Spread { number: 3_671_998_820, partition: 13 });
    }

    #[test]
    fn partition_holds_a_range_of_numbers() {
        for document in 0..1_000 {
            let spread = spread("companies", &format!("c-{document}"));
            assert!(spread.number >= Spread::first(spread.partition));
            assert!(spread.number - Spread::first(spread.partition) < 1 << 28);
        }
    }

    #[test]
    fn last_number_ends_a_share() {
        assert_eq!((last(0.0), last(1.0)), (0, u32::MAX));
        assert!((share(last(0.25)) - 0.25).abs() < 1e-9);
    }

    #[test]
    fn documents_spread_evenly() {
        let mut counts = [0u32; PARTITIONS as usize];
        for document in 0..16_000 {
            counts[usize::from(spread("tasks", &document.to_string()).partition)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }
}
