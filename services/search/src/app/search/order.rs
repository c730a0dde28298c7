//! Order of hits by fields: the tuple of a document, and the part of the index that a window of tuples is.

use std::ops::Bound;

use super::profile::Profile;
use crate::app::planner::windows::{MISSING, Part, Window};
use crate::domain::packed::{Packed, Slot};
use crate::domain::request::OrderBy;
use crate::domain::{Clause, Column, FieldKind, RankBy, sort_key};

/// Field of an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct OrderField {
    /// Position in the schema.
    pub(super) position: usize,
    /// Column with the keys.
    pub(super) column: Column,
    /// True for the largest first.
    pub(super) descending: bool,
    /// Type of the values.
    kind: FieldKind,
}

// === impl OrderField ===

impl OrderField {
    /// Field of an order; none if it is not sortable.
    pub(super) fn new(order: &OrderBy, profile: &Profile) -> Option<OrderField> {
        let (position, field) = profile.schema.field(order.field.as_str())?;
        let column = profile.layout.sort.get(position).copied().flatten()?;
        Some(OrderField { position, column, descending: order.descending, kind: field.kind })
    }

    /// Order of documents without a query: those that a ranking would raise most come first.
    pub(super) fn raised(profile: &Profile) -> Option<OrderField> {
        let (RankBy::Popularity { field, .. } | RankBy::Recency { field, .. }) = profile.schema.rank_by.as_ref()?;
        let (position, field) = profile.schema.field(field.as_str())?;
        let column = profile.layout.columns.get(position).copied().flatten()?;
        Some(OrderField { position, column, descending: true, kind: field.kind })
    }

    /// Key of a document: ascending, [`MISSING`] without a value.
    pub(super) fn key(&self, values: &Packed<'_>) -> f64 {
        self.signed(self.value(values))
    }

    /// Value of a document in the column.
    pub(super) fn value(&self, values: &Packed<'_>) -> Option<f64> {
        match values.get(self.position) {
            Slot::Number(number) => Some(number),
            Slot::Text(text) if self.kind == FieldKind::Boolean => Some(sort_key::boolean(text == "true")),
            Slot::Text(text) => sort_key::text(text),
            Slot::Tags(_) | Slot::Missing => None,
        }
    }

    /// Key of a value, as a cursor has it.
    pub(super) fn signed(&self, value: Option<f64>) -> f64 {
        // The sum makes a negative zero a positive one.
        value.map_or(MISSING, |value| if self.descending { -value } else { value } + 0.0)
    }

    /// Value of a key.
    pub(super) fn unsigned(&self, key: f64) -> Option<f64> {
        (key < MISSING).then_some(if self.descending { -key } else { key } + 0.0)
    }

    /// Documents with at least this value.
    pub(super) fn at_least(&self, value: f64) -> Clause {
        Clause::Range(self.column, Bound::Included(value), Bound::Unbounded)
    }

    fn point(&self, key: f64) -> Clause {
        match self.unsigned(key) {
            Some(value) => Clause::Range(self.column, Bound::Included(value), Bound::Included(value)),
            None => self.missing(),
        }
    }

    fn missing(&self) -> Clause {
        Clause::negate(Clause::Range(self.column, Bound::Unbounded, Bound::Unbounded))
    }

    fn range(&self, from: Bound<f64>, to: Bound<f64>) -> Clause {
        let sign = |bound: Bound<f64>| bound.map(|key| if self.descending { -key } else { key } + 0.0);
        let (low, high) = if self.descending { (sign(to), sign(from)) } else { (sign(from), sign(to)) };
        Clause::Range(self.column, low, high)
    }
}

/// Condition of the index, and range of the hash, that a window is.
pub(super) fn part_of_index(order: &[OrderField], window: &Window) -> (Clause, Option<(u32, u32)>) {
    let level = window.equal.len();
    let points = order.iter().zip(&window.equal).map(|(field, key)| field.point(*key));
    let (last, spread) = match (order.get(level), window.part) {
        (Some(field), Part::Range(from, to)) => (field.range(from, to), None),
        (Some(field), Part::Missing) => (field.missing(), None),
        (None, Part::Range(from, to)) => (Clause::always(), Some(hashes(from, to))),
        (None, Part::Missing) => (Clause::never(), None),
    };
    (Clause::all(points.chain([last])), spread)
}

/// Range of hashes, both ends included. Hashes are whole numbers.
fn hashes(from: Bound<f64>, to: Bound<f64>) -> (u32, u32) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "hashes are whole, and the cast saturates"
    )]
    let whole = |hash: f64| hash as u32;
    let low = match from {
        Bound::Unbounded => 0,
        Bound::Included(hash) => whole(hash),
        Bound::Excluded(hash) => whole(hash).saturating_add(1),
    };
    let high = match to {
        Bound::Unbounded => u32::MAX,
        Bound::Included(hash) => whole(hash),
        Bound::Excluded(hash) => whole(hash).saturating_sub(1),
    };
    (low, high)
}
