//! Items: the compact form of memories that recall scores, grouped by session, in order.

use compact_str::CompactString;

use super::memory::{Kind, MemoryId};

/// Term of a text: 32 bits of a hash of a stemmed word, and its frequency in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    /// Hash of the stem.
    pub hash: u32,
    /// Frequency, at most 255.
    pub frequency: u8,
}

/// Vector of length 1 as 8-bit integers: value = `values[i] * scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    /// Factor.
    pub scale: f32,
    /// Values.
    pub values: Vec<i8>,
}

/// Signs of the embeddings of a text's content word-pieces: one bit a dimension.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    /// Word-pieces, as ids of the model's vocabulary, in the order of the text.
    pub pieces: Vec<u16>,
    /// Bits of all pieces: `dimension / 64` words for each, bit `i` of word `i / 64` set if value `i` is positive.
    pub bits: Vec<u64>,
}

/// Part of a memory's text: a range of its bytes, on boundaries of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    /// First byte.
    pub start: u32,
    /// First byte after the piece.
    pub end: u32,
}

/// Memory, or a piece of a long one, as recall scores it. Times are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Sequence within its session's record; the order of the conversation.
    pub sequence: u32,
    /// Memory; the pieces of a split text share it.
    pub id: MemoryId,
    /// Piece of the memory's text; none for the whole text.
    pub piece: Option<Piece>,
    /// Kind.
    pub kind: Kind,
    /// Name of who said it; empty if nobody.
    pub speaker: CompactString,
    /// Hashes (FNV-1a, 32 bits of the folded name) of the entities.
    pub entities: Vec<u32>,
    /// Event time.
    pub time: i64,
    /// Hashes of agent and workflow, by the rule of `entities`; 0 if absent.
    pub agent: u32,
    /// Hash of the workflow; 0 if absent.
    pub workflow: u32,
    /// First moment of validity; `i64::MIN` if always.
    pub valid_from: i64,
    /// First moment after validity; `i64::MAX` if open. A superseded memory ends here.
    pub valid_until: i64,
    /// Expiry.
    pub expires: i64,
    /// Last use.
    pub accessed: i64,
    /// Importance, 0 to 255 for 0 to 1.
    pub importance: u8,
    /// Pinned.
    pub pinned: bool,
    /// Superseded: served to queries of a past moment alone.
    pub superseded: bool,
    /// Tokens of the text.
    pub tokens: u32,
    /// Words of the text, stop words left out.
    pub length: u32,
    /// Terms, in order of their hashes.
    pub terms: Vec<Term>,
    /// Hash of the space of vector and sketch, by the rule of `entities`; 0 without a vector.
    pub space: u32,
    /// Vector; absent while it is not embedded.
    pub vector: Option<Vector>,
    /// Sketch; absent if the caller brought the vector.
    pub sketch: Option<Sketch>,
}

/// Items of a session (or of a record of memories without one), in order of their sequence. Neighbours in the conversation have
/// sequences 1 or 2 apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// Id of the session; empty for memories without one.
    pub id: CompactString,
    /// True for a conversation: neighbours lend each other score. False for memories without a session.
    pub conversation: bool,
    /// Items.
    pub items: Vec<Item>,
}

// === impl Item ===

impl Item {
    /// Item of a memory, without text, scope and embedding: always valid, never used, of no importance.
    #[must_use]
    pub fn new(id: MemoryId, kind: Kind, sequence: u32) -> Item {
        Item {
            sequence,
            id,
            piece: None,
            kind,
            speaker: CompactString::default(),
            entities: Vec::new(),
            time: 0,
            agent: 0,
            workflow: 0,
            valid_from: i64::MIN,
            valid_until: i64::MAX,
            expires: i64::MAX,
            accessed: 0,
            importance: 0,
            pinned: false,
            superseded: false,
            tokens: 0,
            length: 0,
            terms: Vec::new(),
            space: 0,
            vector: None,
            sketch: None,
        }
    }
}

// === impl Piece ===

impl Piece {
    /// Piece's part of a memory's text; the whole text if the range is none of it.
    #[must_use]
    pub fn slice(self, text: &str) -> &str {
        let bound = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        text.get(bound(self.start)..bound(self.end)).unwrap_or(text)
    }
}
