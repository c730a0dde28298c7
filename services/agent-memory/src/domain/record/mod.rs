//! Packed form of items in a session's record: one value an item, of a fixed head and a tail.
//!
//! ```text
//! byte  0      layout, 1
//!       1      kind
//!       2      1 if pinned
//!       3      1 if superseded
//!       4      importance
//!       5      last use                i64, as all times and numbers below in little-endian order
//!       13     first moment of validity
//!       21     first moment after validity
//!       29     expiry
//!       37     event time
//!       45     hash of the memory's id (16 bytes)
//!       61     agent, workflow, space  u32 each
//!       73     tail: varints of tokens, length, piece; speaker, entities, terms, vector, sketch, each after its number
//! ```
//!
//! The sequence is the field's name in the record and the partition is the record's, so neither is packed. Scripts patch the
//! head in place, by the offsets of [`Patch`].

use bytes::{Buf as _, BufMut as _};
use compact_str::CompactString;
use prost::encoding::{decode_varint, encode_varint};

use super::item::{Item, Piece, Sketch, Term, Vector};
use super::memory::{Kind, MemoryId};
use super::scope::Partition;

/// Version of the layout.
const LAYOUT: u8 = 1;
/// Bytes of the head.
const HEAD: usize = 73;
/// Longest tail's number that is believed: no list of an item is longer.
const LONGEST: u64 = 65_535;

/// Value that is no packed item of this layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an item of {bytes} bytes does not have layout {LAYOUT}")]
pub struct Malformed {
    /// Length of the value.
    pub bytes: usize,
}

/// Change of a packed item's head: bytes, and the offset at which they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Offset of the first byte.
    pub offset: u8,
    /// Bytes.
    pub bytes: Vec<u8>,
}

// === impl Patch ===

impl Patch {
    /// Pins the item, or unpins it.
    #[must_use]
    pub fn pinned(pinned: bool) -> Patch {
        Patch { offset: 2, bytes: vec![pinned.into()] }
    }

    /// Marks the item as superseded.
    #[must_use]
    pub fn superseded() -> Patch {
        Patch { offset: 3, bytes: vec![1] }
    }

    /// Sets the importance.
    #[must_use]
    pub fn importance(importance: u8) -> Patch {
        Patch { offset: 4, bytes: vec![importance] }
    }

    /// Sets the last use.
    #[must_use]
    pub fn accessed(time: i64) -> Patch {
        Patch { offset: 5, bytes: time.to_le_bytes().to_vec() }
    }

    /// Sets the first moment of validity.
    #[must_use]
    pub fn valid_from(time: i64) -> Patch {
        Patch { offset: 13, bytes: time.to_le_bytes().to_vec() }
    }

    /// Sets the first moment after validity.
    #[must_use]
    pub fn valid_until(time: i64) -> Patch {
        Patch { offset: 21, bytes: time.to_le_bytes().to_vec() }
    }

    /// Sets the expiry.
    #[must_use]
    pub fn expires(time: i64) -> Patch {
        Patch { offset: 29, bytes: time.to_le_bytes().to_vec() }
    }

    /// Applies the patch to a packed item; a patch that passes its end changes nothing.
    pub fn apply(&self, packed: &mut [u8]) {
        let start = usize::from(self.offset);
        if let Some(place) = packed.get_mut(start..start + self.bytes.len()) {
            place.copy_from_slice(&self.bytes);
        }
    }
}

/// Packs an item. O(size).
#[must_use]
pub fn pack(item: &Item) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + 256 + item.vector.as_ref().map_or(0, |vector| vector.values.len()));
    bytes.put_slice(&[LAYOUT, item.kind.number(), item.pinned.into(), item.superseded.into(), item.importance]);
    for time in [item.accessed, item.valid_from, item.valid_until, item.expires, item.time] {
        bytes.put_i64_le(time);
    }
    bytes.put_slice(&item.id.hash());
    for hash in [item.agent, item.workflow, item.space] {
        bytes.put_u32_le(hash);
    }
    encode_varint(item.tokens.into(), &mut bytes);
    encode_varint(item.length.into(), &mut bytes);
    // A whole text is the empty piece, which no piece is.
    let piece = item.piece.unwrap_or(Piece { start: 0, end: 0 });
    encode_varint(piece.start.into(), &mut bytes);
    encode_varint(piece.end.into(), &mut bytes);
    put_length(item.speaker.len(), &mut bytes);
    bytes.put_slice(item.speaker.as_bytes());
    put_length(item.entities.len(), &mut bytes);
    item.entities.iter().for_each(|entity| bytes.put_u32_le(*entity));
    put_length(item.terms.len(), &mut bytes);
    for term in &item.terms {
        bytes.put_u32_le(term.hash);
        bytes.put_u8(term.frequency);
    }
    pack_vector(item.vector.as_ref(), &mut bytes);
    pack_sketch(item.sketch.as_ref(), &mut bytes);
    bytes
}

/// Reads the packed item of a record's field. O(size).
///
/// # Errors
///
/// Value of another layout, or a damaged one.
pub fn read(partition: Partition, sequence: u32, packed: &[u8]) -> Result<Item, Malformed> {
    let mut rest = packed;
    item(partition, sequence, &mut rest).filter(|_| rest.is_empty()).ok_or(Malformed { bytes: packed.len() })
}

fn put_length(length: usize, bytes: &mut Vec<u8>) {
    encode_varint(u64::try_from(length).unwrap_or(u64::MAX), bytes);
}

fn pack_vector(vector: Option<&Vector>, bytes: &mut Vec<u8>) {
    let Some(vector) = vector else { return put_length(0, bytes) };
    put_length(vector.values.len(), bytes);
    bytes.put_f32_le(vector.scale);
    vector.values.iter().for_each(|value| bytes.put_i8(*value));
}

/// Number of pieces plus one, or 0 for none; then words of each piece, pieces and bits.
fn pack_sketch(sketch: Option<&Sketch>, bytes: &mut Vec<u8>) {
    let Some(sketch) = sketch else { return put_length(0, bytes) };
    put_length(sketch.pieces.len() + 1, bytes);
    put_length(sketch.bits.len().checked_div(sketch.pieces.len()).unwrap_or(0), bytes);
    sketch.pieces.iter().for_each(|piece| bytes.put_u16_le(*piece));
    sketch.bits.iter().for_each(|word| bytes.put_u64_le(*word));
}

fn item(partition: Partition, sequence: u32, rest: &mut &[u8]) -> Option<Item> {
    if rest.len() < HEAD || rest.get_u8() != LAYOUT {
        return None;
    }
    let kind = Kind::from_number(rest.get_u8())?;
    let (pinned, superseded) = (flag(rest)?, flag(rest)?);
    let importance = rest.get_u8();
    let (accessed, valid_from, valid_until) = (rest.get_i64_le(), rest.get_i64_le(), rest.get_i64_le());
    let (expires, time) = (rest.get_i64_le(), rest.get_i64_le());
    let mut hash = [0; 16];
    rest.copy_to_slice(&mut hash);
    let (agent, workflow, space) = (rest.get_u32_le(), rest.get_u32_le(), rest.get_u32_le());
    let (tokens, length) = (number(rest)?, number(rest)?);
    let piece = Piece { start: number(rest)?, end: number(rest)? };
    Some(Item {
        sequence,
        id: MemoryId::new(partition, hash),
        piece: (piece.end > 0).then_some(piece),
        kind,
        speaker: speaker(rest)?,
        entities: list(rest, 4, |rest| rest.get_u32_le())?,
        time,
        agent,
        workflow,
        valid_from,
        valid_until,
        expires,
        accessed,
        importance,
        pinned,
        superseded,
        tokens,
        length,
        terms: list(rest, 5, |rest| Term { hash: rest.get_u32_le(), frequency: rest.get_u8() })?,
        space,
        vector: vector(rest)?,
        sketch: sketch(rest)?,
    })
}

fn flag(rest: &mut &[u8]) -> Option<bool> {
    match rest.get_u8() {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    u32::try_from(decode_varint(rest).ok()?).ok()
}

/// Number of a list's elements, each of at least `size` bytes, so that a damaged one allocates nothing.
fn count(rest: &mut &[u8], size: usize) -> Option<usize> {
    let count = usize::try_from(decode_varint(rest).ok().filter(|count| *count <= LONGEST)?).ok()?;
    (count.checked_mul(size)? <= rest.len()).then_some(count)
}

fn list<T>(rest: &mut &[u8], size: usize, mut element: impl FnMut(&mut &[u8]) -> T) -> Option<Vec<T>> {
    let count = count(rest, size)?;
    Some((0..count).map(|_| element(rest)).collect())
}

fn speaker(rest: &mut &[u8]) -> Option<CompactString> {
    let length = count(rest, 1)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok().map(CompactString::from)
}

#[expect(clippy::option_option, reason = "the outer option is the failure, the inner one the absent vector")]
fn vector(rest: &mut &[u8]) -> Option<Option<Vector>> {
    let dimension = count(rest, 1)?;
    if dimension == 0 {
        return Some(None);
    }
    if rest.len() < 4 + dimension {
        return None;
    }
    let scale = rest.get_f32_le();
    Some(Some(Vector { scale, values: (0..dimension).map(|_| rest.get_i8()).collect() }))
}

#[expect(clippy::option_option, reason = "the outer option is the failure, the inner one the absent sketch")]
fn sketch(rest: &mut &[u8]) -> Option<Option<Sketch>> {
    let Some(pieces) = count(rest, 0)?.checked_sub(1) else { return Some(None) };
    let words = count(rest, 0)?;
    let bits = pieces.checked_mul(words)?;
    if rest.len() < pieces.checked_mul(2)?.checked_add(bits.checked_mul(8)?)? {
        return None;
    }
    let pieces = (0..pieces).map(|_| rest.get_u16_le()).collect();
    Some(Some(Sketch { pieces, bits: (0..bits).map(|_| rest.get_u64_le()).collect() }))
}

#[cfg(test)]
mod tests;
