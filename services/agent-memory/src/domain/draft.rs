//! Drafts: memories to write, split and embedded.

use super::embedding::Embedding;
use super::item::Piece;
use super::space::Space;
use super::write::NewMemory;

/// Memory to write, with the pieces of its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Memory.
    pub memory: NewMemory,
    /// Tokens of the text.
    pub tokens: u32,
    /// Space of the embeddings; none without one.
    pub space: Option<Space>,
    /// Pieces in the order of the text; one without a range for a text that is scored whole.
    pub pieces: Vec<DraftPiece>,
}

/// Piece of a draft's text.
#[derive(Clone, Debug, PartialEq)]
pub struct DraftPiece {
    /// Range in the text; none for the whole text.
    pub piece: Option<Piece>,
    /// Tokens of the piece.
    pub tokens: u32,
    /// Embedding; absent while it is not embedded.
    pub embedding: Option<Embedding>,
}
