//! Freshness tokens: a search that presents the token of a write sees that write.
//!
//! ```text
//! base64url( format, first 8 bytes of SHA-256(collection), generation, epoch, log's milliseconds, log's sequence )
//! ```

use data_encoding::BASE64URL_NOPAD;
use keyplane_contracts::names::CollectionName;
use sha2::{Digest as _, Sha256};

/// Layout of the tokens that this release writes.
const FORMAT: u8 = 1;
const LENGTH: usize = 1 + 8 + 4 + 8 + 8 + 8;

/// State of a collection after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Generation that the write went to.
    pub generation: u32,
    /// Epoch of the definition that the write followed.
    pub epoch: u64,
    /// Last entry of the lexicon's log: milliseconds and sequence; zeros for an empty log.
    pub log: (u64, u64),
}

/// Rejection of a text as the token of a collection's write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the `freshness_token` of a write to this collection, unchanged")]
pub struct FreshnessError;

// === impl Freshness ===

impl Freshness {
    /// Token for writes of `collection`, 50 characters.
    #[must_use]
    pub fn encode(&self, collection: &CollectionName) -> String {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(FORMAT);
        bytes.extend(mark(collection));
        bytes.extend(self.generation.to_be_bytes());
        bytes.extend([self.epoch, self.log.0, self.log.1].iter().flat_map(|number| number.to_be_bytes()));
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Reads a token of `collection`; none from an empty text.
    ///
    /// # Errors
    ///
    /// [`FreshnessError`] if no write of the collection returned it.
    pub fn decode(token: &str, collection: &CollectionName) -> Result<Option<Freshness>, FreshnessError> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = (token.len() <= 2 * LENGTH).then(|| BASE64URL_NOPAD.decode(token.as_bytes()).ok()).flatten();
        let bytes: [u8; LENGTH] = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(FreshnessError)?;
        if bytes[0] != FORMAT || bytes[1..9] != mark(collection) {
            return Err(FreshnessError);
        }
        let number = |at: usize| bytes[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let generation = bytes[9..13].iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        Ok(Some(Freshness { generation, epoch: number(13), log: (number(21), number(29)) }))
    }
}

fn mark(collection: &CollectionName) -> [u8; 8] {
    let hash = Sha256::digest(collection.to_string().as_bytes());
    let mut mark = [0; 8];
    mark.copy_from_slice(&hash[..8]);
    mark
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn collection(name: &str) -> CollectionName {
        CollectionName::parse(&format!("tenants/acme/collections/{name}"), "name").expect("a name")
    }

    proptest! {
        #[test]
        fn token_is_valid_for_its_collection_alone(generation in any::<u32>(), epoch in any::<u64>(), log in any::<(u64, u64)>()) {
            let freshness = Freshness { generation, epoch, log };
            let token = freshness.encode(&collection("a"));
            prop_assert_eq!(token.len(), 50);
            prop_assert_eq!(Freshness::decode(&token, &collection("a")), Ok(Some(freshness)));
            prop_assert_eq!(Freshness::decode(&token, &collection("b")), Err(FreshnessError));
        }

        #[test]
        fn any_text_is_read_or_rejected(text in ".{1,200}") {
            prop_assert_eq!(Freshness::decode(&text, &collection("a")), Err(FreshnessError));
        }
    }

    #[test]
    fn empty_text_is_no_token() {
        assert_eq!(Freshness::decode("", &collection("a")), Ok(None));
    }
}
