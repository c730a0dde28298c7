//! Conditions as trees.

use std::ops::Bound;

use super::{Attribute, Token};

/// Tag that every document of an index has and every query names: it limits a query to its owner's documents.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Attribute of the tag.
    pub attribute: Attribute,
    /// Owner's tag.
    pub tag: Token,
}

/// Condition on a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// All of them hold; true if empty.
    All(Vec<Condition>),
    /// One of them holds; false if empty.
    Any(Vec<Condition>),
    /// Its condition does not hold.
    Not(Box<Condition>),
    /// A tag attribute has one of the tags; false if empty.
    Tag(Attribute, Vec<Token>),
    /// A text attribute has the word.
    Word(Attribute, Token),
    /// A numeric attribute has a number between the bounds; false for NaN. Documents without a number never match.
    Range(Attribute, Bound<f64>, Bound<f64>),
}
