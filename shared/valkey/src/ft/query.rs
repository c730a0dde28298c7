//! Queries: a scope, and conditions within it.

use super::condition::{Condition, Scope};
use super::render;
use super::{MAX_QUERY_BYTES, MAX_QUERY_TOKENS};
use crate::{Error, ErrorKind};

/// Query within a scope.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    scope: Scope,
    text: String,
    /// Number of words and tags, the scope's included.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ft::{Attribute, Token};

    #[test]
    fn query_fits_up_to_its_maximum_of_words_and_tags() {
        let tag = |text: &str| Token::tag(text).expect("a tag");
        let attribute = Attribute::new("_s");
        let with = |tags: usize| {
            let tags = Condition::Tag(attribute, vec![tag("x"); tags]);
            Query::new(Scope { attribute, tag: tag("a") })
                .and(&Condition::All(vec![tags, Condition::Word(attribute, tag("w"))]))
        };
        assert!(with(MAX_QUERY_TOKENS - 2).fits());
        assert!(!with(MAX_QUERY_TOKENS - 1).fits());
    }
}
