use super::super::packed::{Packed, Slot};
use super::super::schema::{FieldKind, FieldName};

/// Expression of a filter. Groups hold at least two expressions and none of their own sort; a negation holds no negation.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// Every expression holds.
    All(Vec<Expr>),
    /// At least one expression holds.
    Any(Vec<Expr>),
    /// The expression does not hold.
    Not(Box<Expr>),
    /// The field fulfils the condition.
    Is(Predicate),
}

/// Condition on one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicate {
    /// Position of the field in the schema.
    pub field: usize,
    /// Name of the field.
    pub name: FieldName,
    /// Type of the field.
    pub kind: FieldKind,
    /// Condition on its value. A missing value fulfils none.
    pub condition: Condition,
}

/// Condition on a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The field has a value.
    Present,
    /// The field has one of the tags; `"true"` and `"false"` for a boolean. At least one, without repetitions.
    OneOf(Vec<String>),
    /// The field has each of the tags. At least two, without repetitions.
    EachOf(Vec<String>),
    /// The field has one of the numbers, in the index's unit. At least one, without repetitions.
    Numbers(Vec<f64>),
    /// The number stands in the order to the other one.
    Compare(Order, f64),
}

/// Order of a field's number and a filter's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

// === impl Expr ===

impl Expr {
    /// Conjunction; `None` of nothing.
    #[must_use]
    pub fn all(expressions: Vec<Expr>) -> Option<Expr> {
        let mut flat = Vec::with_capacity(expressions.len());
        for expression in expressions {
            match expression {
                Expr::All(inner) => flat.extend(inner),
                one @ (Expr::Any(_) | Expr::Not(_) | Expr::Is(_)) => flat.push(one),
            }
        }
        if flat.len() > 1 { Some(Expr::All(flat)) } else { flat.pop() }
    }

    /// Disjunction; `None` of nothing.
    #[must_use]
    pub fn any(expressions: Vec<Expr>) -> Option<Expr> {
        let mut flat = Vec::with_capacity(expressions.len());
        for expression in expressions {
            match expression {
                Expr::Any(inner) => flat.extend(inner),
                one @ (Expr::All(_) | Expr::Not(_) | Expr::Is(_)) => flat.push(one),
            }
        }
        if flat.len() > 1 { Some(Expr::Any(flat)) } else { flat.pop() }
    }

    /// Complement.
    #[must_use]
    pub fn negate(expression: Expr) -> Expr {
        match expression {
            Expr::Not(inner) => *inner,
            one @ (Expr::All(_) | Expr::Any(_) | Expr::Is(_)) => Expr::Not(Box::new(one)),
        }
    }

    /// Returns whether a document with these values fulfils the expression.
    #[must_use]
    pub fn matches(&self, values: &Packed<'_>) -> bool {
        match self {
            Expr::All(inner) => inner.iter().all(|expression| expression.matches(values)),
            Expr::Any(inner) => inner.iter().any(|expression| expression.matches(values)),
            Expr::Not(inner) => !inner.matches(values),
            Expr::Is(predicate) => predicate.condition.holds(predicate.kind, values.get(predicate.field)),
        }
    }

    /// Position of the field that the expression tests; none if it tests several.
    #[must_use]
    pub fn field(&self) -> Option<usize> {
        match self {
            Expr::All(inner) | Expr::Any(inner) => {
                let first = inner.first()?.field()?;
                inner.iter().all(|expression| expression.field() == Some(first)).then_some(first)
            }
            Expr::Not(inner) => inner.field(),
            Expr::Is(predicate) => Some(predicate.field),
        }
    }
}

// === impl Condition ===

impl Condition {
    fn holds(&self, kind: FieldKind, value: Slot<'_>) -> bool {
        match self {
            Condition::Present if kind.is_numeric() => value.number().is_some(),
            Condition::Present => value.tags().next().is_some(),
            Condition::OneOf(tags) => value.tags().any(|tag| tags.iter().any(|other| other == tag)),
            Condition::EachOf(tags) => tags.iter().all(|tag| value.tags().any(|other| other == tag)),
            Condition::Numbers(numbers) => value.number().is_some_and(|number| numbers.contains(&number)),
            Condition::Compare(order, bound) => value.number().is_some_and(|number| order.holds(number, *bound)),
        }
    }
}

// === impl Order ===

impl Order {
    fn holds(self, number: f64, bound: f64) -> bool {
        match self {
            Order::Less => number < bound,
            Order::AtMost => number <= bound,
            Order::Greater => number > bound,
            Order::AtLeast => number >= bound,
        }
    }
}
