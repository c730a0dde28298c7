//! Filter language: a subset of AIP-160, checked against a schema.
//!
//! ```text
//! status = "active" AND amount >= 100 AND tags : ("a" OR "b") AND NOT owner = "x"
//! ```
//!
//! | form | meaning |
//! |---|---|
//! | `field = value`, `field != value` | equality of a tag, a boolean, a number or a timestamp |
//! | `field < value`, `<=`, `>`, `>=` | order of a number or a timestamp |
//! | `field : value` | membership: the field has the value |
//! | `field : (a OR b)`, `field = (a OR b)` | the field has one of the values |
//! | `tags : (a AND b)` | the multi-valued field has each of the values |
//! | `field : *` | the field has a value |
//! | `AND`, `OR`, `NOT`, `-`, `( )` | combinations, the words in capitals |
//!
//! Values are quoted (`"a b"`, `'a b'`, with `\` before a quote or a backslash), or bare: letters, digits and any of `._-@+/#`.
//! Times are RFC 3339 (`2026-01-31T08:00:00Z`) or dates (`2026-01-31`, midnight UTC).
//!
//! The semantics is two-valued. A comparison with a missing value is false, and `!=` and `NOT` are complements: `owner != "x"`
//! and `NOT owner = "x"` admit documents without an owner. `owner : * AND owner != "x"` leaves them out.
//!
//! AIP-160 lets `OR` bind more tightly than `AND`, contrary to most languages, so a mixture needs parentheses here.

mod check;
mod expr;
mod lexer;
mod parser;
mod plan;
mod print;
#[cfg(test)]
mod tests;
mod value;

use keyplane_contracts::rules;

use super::packed::Packed;
use super::schema::Schema;

pub use expr::{Condition, Expr, Order, Predicate};
pub use plan::{Clauses, Conjunct, Split};

/// Filter of a search, checked against a schema. Its `Display` is the canonical text, which parses to an equal filter.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Filter {
    conjuncts: Vec<Expr>,
}

/// Rule that a filter's text breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("position {position}: {rule}")]
pub struct Fault {
    /// Character at which the rule is broken, from 1; one past the last for a filter that ends too early.
    pub position: usize,
    /// Rule, and the mend. Names fields of the schema, never a value of the filter.
    pub rule: String,
}

/// Rule that a filter's text breaks, at a byte.
#[derive(Debug)]
struct Problem {
    at: usize,
    rule: String,
}

// === impl Filter ===

impl Filter {
    /// Longest text, in bytes.
    pub const MAX_BYTES: usize = rules::search::FILTER;
    /// Deepest nesting of parentheses.
    pub const MAX_DEPTH: usize = 16;
    /// Maximum number of comparisons.
    pub const MAX_TERMS: usize = 64;
    /// Maximum number of values in all comparisons together.
    pub const MAX_VALUES: usize = 100;
    /// Maximum number of faults that are reported.
    pub const MAX_FAULTS: usize = 8;

    /// Parses and checks a filter; blank text is the filter that admits every document.
    ///
    /// # Errors
    ///
    /// The first fault of the syntax, or the first [`Filter::MAX_FAULTS`] of the types.
    pub fn parse(text: &str, schema: &Schema) -> Result<Filter, Vec<Fault>> {
        let faults = |problems: Vec<Problem>| problems.into_iter().map(|problem| problem.locate(text)).collect();
        let syntax = parser::parse(text).map_err(|problem| faults(vec![problem]))?;
        let Some(syntax) = syntax else { return Ok(Filter::default()) };
        check::check(syntax, schema).map(Filter::of).map_err(faults)
    }

    /// Filter of one expression.
    #[must_use]
    pub fn of(root: Expr) -> Filter {
        match root {
            Expr::All(conjuncts) => Filter { conjuncts },
            one @ (Expr::Any(_) | Expr::Not(_) | Expr::Is(_)) => Filter { conjuncts: vec![one] },
        }
    }

    /// Expressions that a document must fulfil, all of them.
    #[must_use]
    pub fn conjuncts(&self) -> &[Expr] {
        &self.conjuncts
    }

    /// Returns whether the filter admits every document.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conjuncts.is_empty()
    }

    /// Returns whether a document with these values passes. At most 64 comparisons are evaluated.
    #[must_use]
    pub fn matches(&self, values: &Packed<'_>) -> bool {
        self.conjuncts.iter().all(|conjunct| conjunct.matches(values))
    }
}

// === impl Problem ===

impl Problem {
    fn new(at: usize, rule: impl Into<String>) -> Problem {
        Problem { at, rule: rule.into() }
    }

    fn locate(self, text: &str) -> Fault {
        let before = text.char_indices().take_while(|(at, _)| *at < self.at).count();
        Fault { position: before + 1, rule: self.rule }
    }
}
