//! Queries as trees; the only way to write one.

use std::ops::Bound;

use super::render;
use super::{Attribute, MAX_QUERY_BYTES, MAX_QUERY_TOKENS, Token};
use crate::{Error, ErrorKind};

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

/// Query within a scope.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    scope: Scope,
    text: String,
    tokens: usize,
}

// === impl Query ===

impl Query {
    /// All documents of `scope`.
    #[must_use]
    pub fn new(scope: Scope) -> Query {
        let text = render::scope(&scope);
        Query { scope, text, tokens: 1 }
    }

    /// Documents that also meet `condition`. O(size of the condition).
    #[must_use]
    pub fn and(mut self, condition: &Condition) -> Query {
        self.tokens += render::append(&mut self.text, condition, &self.scope);
        self
    }

    /// Text in the engines' language.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Number of words and tags, the scope's included.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Returns whether the engines take a query of this size: at most [`MAX_QUERY_BYTES`] and [`MAX_QUERY_TOKENS`].
    #[must_use]
    pub fn fits(&self) -> bool {
        self.text.len() <= MAX_QUERY_BYTES && self.tokens <= MAX_QUERY_TOKENS
    }

    /// Rejects a query that the engines don't take.
    pub(super) fn check(&self, operation: &'static str) -> Result<(), Error> {
        if self.fits() {
            return Ok(());
        }
        let (bytes, tokens) = (self.text.len(), self.tokens);
        let message = format!(
            "a query has at most {MAX_QUERY_BYTES} bytes and {MAX_QUERY_TOKENS} words and tags; got {bytes} and {tokens}"
        );
        Err(Error::new(ErrorKind::Script, operation, message))
    }
}
