//! Cursors of pages: signed positions in the order of a search's hits.
//!
//! ```text
//! base64url( payload · first 16 bytes of HMAC-SHA256(key, payload) )
//! payload: format, fingerprint of the search, generation, revision, position
//! ```
//!
//! Nothing is kept on the server. Every instance with the same key reads the cursors of the others.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use keyplane_contracts::names::CollectionName;
use sha2::{Digest as _, Sha256};

use super::request::SearchRequest;

/// Longest cursor that is read, in bytes; every cursor of this release is shorter.
const MAX_CURSOR: usize = 1024;
/// Layout of the payload that this release writes.
const FORMAT: u8 = 1;
/// Length of the signature, in bytes.
const SIGNATURE: usize = 16;
const BY_FIELDS: u8 = 0;
const BY_SCORE: u8 = 1;
const CUT_NONE: u8 = 0;
const CUT_SPREAD: u8 = 1;
const CUT_NUMBER: u8 = 2;

/// Key that signs cursors. `Debug` hides it.
#[derive(Clone)]
pub struct CursorKey([u8; 32]);

/// Fingerprint of all that decides which hits a search has, and their order. Size of the page, facets, highlights and
/// returned fields take no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 16]);

/// Place at which the next page begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// Generation that the first page was read from.
    pub generation: u32,
    /// Revision of the collection when the first page was read.
    pub revision: u64,
    /// Last hit of the page before.
    pub position: Position,
}

/// Position of a hit in the order of a search.
#[derive(Clone, Debug, PartialEq)]
pub enum Position {
    /// Position among hits that are ordered by fields.
    Fields {
        /// Value of each field of the order; `None` is a missing one.
        values: Vec<Option<f64>>,
        /// Hash of the id, which orders equal values.
        spread: u32,
        /// Id, which orders equal hashes.
        id: String,
    },
    /// Position among hits that are ordered by relevance.
    Score {
        /// Score of the hit.
        score: f64,
        /// Moment of the first page, in milliseconds since 1970: ages count from it on every page.
        now: i64,
        /// Candidates of the first page, so that every page ranks the same.
        cuts: Vec<TierCut>,
        /// Hash of the id, which orders equal scores.
        spread: u32,
        /// Id, which orders equal hashes.
        id: String,
    },
}

/// Part of a tier's matches that became candidates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TierCut {
    /// Number of the tier; 0 is the best.
    pub tier: u8,
    /// Limit that the matches were cut at.
    pub cut: Cut,
}

/// Limit that keeps a tier's candidates within the maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    /// Every match is a candidate.
    None,
    /// Largest hash of an id.
    Spread(u32),
    /// Smallest value of the field that raises scores.
    Number(f64),
}

/// Rejection of a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Text that is no cursor, was changed, or was signed with another key.
    #[error(
        "must be the `next_page_token` of a search, unchanged; instances share cursors only if they share \
         KEYPLANE_SEARCH_CURSOR_KEY"
    )]
    Forged,
    /// Cursor of another search.
    #[error(
        "belongs to another search; collection, query, query fields, prefix mode, filter and order must be those of the first page"
    )]
    Foreign,
}

/// Reads a payload from the front.
struct Reader<'a>(&'a [u8]);

// === impl CursorKey ===

impl CursorKey {
    /// Key derived from a secret of any length.
    #[must_use]
    pub fn new(secret: &[u8]) -> CursorKey {
        CursorKey(Sha256::digest(secret).into())
    }

    fn sign(&self, payload: &[u8]) -> Hmac<Sha256> {
        // HMAC pads a short key with zeros to the hash's block.
        let mut block = [0; 64];
        block[..self.0.len()].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(payload);
        mac
    }
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey(..)")
    }
}

// === impl Fingerprint ===

impl Fingerprint {
    /// Fingerprint of a search of `collection`.
    #[must_use]
    pub fn new(collection: &CollectionName, request: &SearchRequest) -> Fingerprint {
        let mut hash = Sha256::new();
        // A length before each part keeps neighbours apart.
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        };
        add(collection.to_string().as_bytes());
        add(request.query.as_bytes());
        add(&[request.prefix as u8, u8::from(request.exact_words)]);
        add(request.filter.as_bytes());
        add(&(request.query_fields.len() as u64).to_be_bytes());
        request.query_fields.iter().for_each(|field| add(field.as_str().as_bytes()));
        for order in &request.order_by {
            add(order.field.as_str().as_bytes());
            add(&[u8::from(order.descending)]);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        Fingerprint(short)
    }
}

// === impl Cursor ===

impl Cursor {
    /// Token of the cursor, at most some 500 bytes.
    #[must_use]
    pub fn encode(&self, key: &CursorKey, search: Fingerprint) -> String {
        let mut payload = vec![FORMAT];
        payload.extend(search.0);
        payload.extend(self.generation.to_be_bytes());
        payload.extend(self.revision.to_be_bytes());
        self.position.write(&mut payload);
        let signature = key.sign(&payload).finalize().into_bytes();
        payload.extend(&signature[..SIGNATURE]);
        BASE64URL_NOPAD.encode(&payload)
    }

    /// Reads the token of a page of `search`.
    ///
    /// # Errors
    ///
    /// [`CursorError::Forged`] if `key` did not sign it, [`CursorError::Foreign`] if it belongs to another search.
    pub fn decode(token: &str, key: &CursorKey, search: Fingerprint) -> Result<Cursor, CursorError> {
        let bytes = (token.len() <= MAX_CURSOR).then(|| BASE64URL_NOPAD.decode(token.as_bytes()).ok()).flatten();
        let bytes = bytes.ok_or(CursorError::Forged)?;
        let length = bytes.len().checked_sub(SIGNATURE).ok_or(CursorError::Forged)?;
        let (payload, signature) = bytes.split_at(length);
        key.sign(payload).verify_truncated_left(signature).map_err(|_| CursorError::Forged)?;
        let mut reader = Reader(payload);
        if reader.byte() != Some(FORMAT) {
            return Err(CursorError::Forged);
        }
        if reader.take::<16>() != Some(search.0) {
            return Err(CursorError::Foreign);
        }
        reader.cursor().ok_or(CursorError::Forged)
    }
}

// === impl Position ===

impl Position {
    fn write(&self, payload: &mut Vec<u8>) {
        match self {
            Position::Fields { values, spread, id } => {
                payload.push(BY_FIELDS);
                payload.push(u8::try_from(values.len()).unwrap_or(u8::MAX));
                for value in values {
                    payload.push(u8::from(value.is_some()));
                    payload.extend(value.unwrap_or_default().to_bits().to_be_bytes());
                }
                payload.extend(spread.to_be_bytes());
                payload.extend(id.as_bytes());
            }
            Position::Score { score, now, cuts, spread, id } => {
                payload.push(BY_SCORE);
                payload.extend(score.to_bits().to_be_bytes());
                payload.extend(now.to_be_bytes());
                payload.push(u8::try_from(cuts.len()).unwrap_or(u8::MAX));
                for TierCut { tier, cut } in cuts {
                    let (kind, bits) = match cut {
                        Cut::None => (CUT_NONE, 0),
                        Cut::Spread(limit) => (CUT_SPREAD, u64::from(*limit)),
                        Cut::Number(limit) => (CUT_NUMBER, limit.to_bits()),
                    };
                    payload.extend([*tier, kind]);
                    payload.extend(bits.to_be_bytes());
                }
                payload.extend(spread.to_be_bytes());
                payload.extend(id.as_bytes());
            }
        }
    }
}

// === impl Reader ===

impl Reader<'_> {
    fn cursor(&mut self) -> Option<Cursor> {
        let generation = u32::from_be_bytes(self.take()?);
        let revision = u64::from_be_bytes(self.take()?);
        let position = match self.byte()? {
            BY_FIELDS => {
                let count = self.byte()?;
                let values = (0..count).map(|_| self.value()).collect::<Option<_>>()?;
                Position::Fields { values, spread: u32::from_be_bytes(self.take()?), id: self.rest()? }
            }
            BY_SCORE => {
                let score = f64::from_bits(u64::from_be_bytes(self.take()?));
                let now = i64::from_be_bytes(self.take()?);
                let count = self.byte()?;
                let cuts = (0..count).map(|_| self.cut()).collect::<Option<_>>()?;
                Position::Score { score, now, cuts, spread: u32::from_be_bytes(self.take()?), id: self.rest()? }
            }
            _ => return None,
        };
        Some(Cursor { generation, revision, position })
    }

    fn value(&mut self) -> Option<Option<f64>> {
        let present = self.byte()? == 1;
        let value = f64::from_bits(u64::from_be_bytes(self.take()?));
        Some(present.then_some(value))
    }

    fn cut(&mut self) -> Option<TierCut> {
        let (tier, kind) = (self.byte()?, self.byte()?);
        let bits = u64::from_be_bytes(self.take()?);
        let cut = match kind {
            CUT_NONE => Cut::None,
            CUT_SPREAD => Cut::Spread(u32::try_from(bits).ok()?),
            CUT_NUMBER => Cut::Number(f64::from_bits(bits)),
            _ => return None,
        };
        Some(TierCut { tier, cut })
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*front)
    }

    fn rest(&mut self) -> Option<String> {
        String::from_utf8(std::mem::take(&mut self.0).to_vec()).ok()
    }
}

#[cfg(test)]
mod tests;
