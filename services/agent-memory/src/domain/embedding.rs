//! Embeddings: texts as points of a space.

use super::item::Sketch;

/// Text as a point of a space.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// Vector of length 1.
    pub vector: Vec<f32>,
    /// Signs of the content word-pieces; absent unless the model runs here.
    pub sketch: Option<Sketch>,
    /// Tokens that the model read, by its own tokenizer; 0 for a vector of the caller.
    pub tokens: u32,
}
