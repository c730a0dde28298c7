//! Canonical text of a filter.

use std::fmt::{self, Display};

use keyplane_contracts::timestamp;

use super::super::schema::FieldKind;
use super::Filter;
use super::expr::{Condition, Expr, Order, Predicate};

impl Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(f, self.conjuncts(), " AND ")
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::All(inner) => joined(f, inner, " AND "),
            Expr::Any(inner) => joined(f, inner, " OR "),
            Expr::Not(inner) => {
                f.write_str("NOT ")?;
                operand(f, inner)
            }
            Expr::Is(predicate) => predicate.fmt(f),
        }
    }
}

impl Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_str())?;
        match &self.condition {
            Condition::Present => f.write_str(" : *"),
            Condition::OneOf(tags) => {
                let equality = if self.kind == FieldKind::Tags { " : " } else { " = " };
                list(f, equality, tags, " OR ", |f, tag| text(f, self.kind, tag))
            }
            Condition::EachOf(tags) => list(f, " : ", tags, " AND ", |f, tag| text(f, self.kind, tag)),
            Condition::Numbers(numbers) => list(f, " = ", numbers, " OR ", |f, value| number(f, self.kind, *value)),
            Condition::Compare(order, bound) => {
                let order = match order {
                    Order::Less => " < ",
                    Order::AtMost => " <= ",
                    Order::Greater => " > ",
                    Order::AtLeast => " >= ",
                };
                f.write_str(order)?;
                number(f, self.kind, *bound)
            }
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, inner: &[Expr], separator: &str) -> fmt::Result {
    for (index, expression) in inner.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        if inner.len() > 1 { operand(f, expression)? } else { expression.fmt(f)? }
    }
    Ok(())
}

/// Part of a larger expression, in parentheses if it is a group.
fn operand(f: &mut fmt::Formatter<'_>, expression: &Expr) -> fmt::Result {
    match expression {
        Expr::All(_) | Expr::Any(_) => write!(f, "({expression})"),
        Expr::Not(_) | Expr::Is(_) => expression.fmt(f),
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    comparator: &str,
    values: &[T],
    separator: &str,
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_str(comparator)?;
    if let [value] = values {
        return write(f, value);
    }
    for (index, value) in values.iter().enumerate() {
        f.write_str(if index == 0 { "(" } else { separator })?;
        write(f, value)?;
    }
    f.write_str(")")
}

fn text(f: &mut fmt::Formatter<'_>, kind: FieldKind, tag: &str) -> fmt::Result {
    if kind == FieldKind::Boolean {
        return f.write_str(tag);
    }
    write!(f, "\"{}\"", tag.replace('\\', "\\\\").replace('"', "\\\""))
}

fn number(f: &mut fmt::Formatter<'_>, kind: FieldKind, value: f64) -> fmt::Result {
    match kind {
        // Whole, and within 2^53.
        FieldKind::Timestamp => f.write_str(&timestamp::format_millis(value as i64)),
        FieldKind::Integer => write!(f, "{}", value as i64),
        FieldKind::Decimal | FieldKind::Text { .. } | FieldKind::Tag => write!(f, "{value:?}"),
        FieldKind::Tags | FieldKind::Boolean | FieldKind::Stored => write!(f, "{value:?}"),
    }
}
