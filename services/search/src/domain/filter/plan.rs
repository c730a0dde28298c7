//! Conditions of the index that a filter becomes.

use std::ops::Bound;

use super::super::clause::Clause;
use super::super::layout::{Column, Layout};
use super::super::token::Token;
use super::Filter;
use super::expr::{Condition, Expr, Order, Predicate};

/// Conditions of a filter's conjuncts. Documents that fulfil some of them are a superset of those that pass the filter.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Clauses {
    /// Conditions in the order of the filter. Their order decides which ones [`Clauses::split`] prefers.
    pub conjuncts: Vec<Conjunct>,
}

/// Condition of one conjunct.
#[derive(Clone, Debug, PartialEq)]
pub struct Conjunct {
    /// Condition of the index.
    pub clause: Clause,
    /// Position of the conjunct in [`Filter::conjuncts`].
    pub position: usize,
    /// Position of the field that it tests; none if it tests several.
    pub field: Option<usize>,
}

/// Parts of a filter by the place of their evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Condition for the engine.
    pub engine: Clause,
    /// True if the engine's documents pass the whole filter; else [`Filter::matches`] decides about each.
    pub exact: bool,
}

// === impl Clauses ===

impl Clauses {
    /// Condition of the whole filter.
    #[must_use]
    pub fn all(&self) -> Clause {
        Clause::all(self.conjuncts.iter().map(|conjunct| conjunct.clause.clone()))
    }

    /// Leaves to the engine what it does well: tags first, then at most `ranges` numeric ranges, within `bytes` of query text.
    ///
    /// Ranges of one column count as one, since they are intersected. A filter that contradicts itself stays so.
    #[must_use]
    pub fn split(&self, ranges: usize, bytes: usize) -> Split {
        let all = self.all();
        if all.is_never() {
            return Split { engine: all, exact: true };
        }
        let plain = self.conjuncts.iter().filter(|conjunct| conjunct.clause.ranges() == 0);
        let ranged = self.conjuncts.iter().filter(|conjunct| conjunct.clause.ranges() > 0);
        let mut engine = Clause::always();
        let mut exact = true;
        for conjunct in plain.chain(ranged) {
            let more = Clause::all([engine.clone(), conjunct.clause.clone()]);
            if more.ranges() <= ranges && more.size() <= bytes {
                engine = more;
            } else {
                exact = false;
            }
        }
        Split { engine, exact }
    }
}

// === impl Filter ===

impl Filter {
    /// Conditions of the index for a schema's columns.
    #[must_use]
    pub fn clauses(&self, layout: &Layout) -> Clauses {
        let conjunct =
            |(position, expr): (usize, &Expr)| Conjunct { clause: clause(expr, layout), position, field: expr.field() };
        Clauses { conjuncts: self.conjuncts().iter().enumerate().map(conjunct).collect() }
    }
}

fn clause(expr: &Expr, layout: &Layout) -> Clause {
    match expr {
        Expr::All(inner) => Clause::all(inner.iter().map(|expr| clause(expr, layout))),
        Expr::Any(inner) => Clause::any(inner.iter().map(|expr| clause(expr, layout))),
        Expr::Not(inner) => Clause::negate(clause(inner, layout)),
        Expr::Is(predicate) => condition(predicate, layout),
    }
}

fn condition(predicate: &Predicate, layout: &Layout) -> Clause {
    // A checked filter tests columns of tags and numbers alone.
    let Some(column) = layout.columns.get(predicate.field).copied().flatten() else { return Clause::never() };
    let tags = |tags: &[String]| Clause::Tag(column, tags.iter().map(|tag| Token::new(tag)).collect());
    match &predicate.condition {
        Condition::Present if matches!(column, Column::Number(_)) => {
            Clause::Range(column, Bound::Unbounded, Bound::Unbounded)
        }
        Condition::Present => Clause::negate(Clause::Tag(column, vec![Token::missing()])),
        Condition::OneOf(values) => tags(values),
        Condition::EachOf(values) => Clause::all(values.iter().map(|value| tags(std::slice::from_ref(value)))),
        Condition::Numbers(numbers) => {
            let point = |number: &f64| Clause::Range(column, Bound::Included(*number), Bound::Included(*number));
            Clause::any(numbers.iter().map(point))
        }
        Condition::Compare(order, bound) => compare(column, *order, *bound),
    }
}

fn compare(column: Column, order: Order, bound: f64) -> Clause {
    match order {
        Order::Less => Clause::Range(column, Bound::Unbounded, Bound::Excluded(bound)),
        Order::AtMost => Clause::Range(column, Bound::Unbounded, Bound::Included(bound)),
        Order::Greater => Clause::Range(column, Bound::Excluded(bound), Bound::Unbounded),
        Order::AtLeast => Clause::Range(column, Bound::Included(bound), Bound::Unbounded),
    }
}
