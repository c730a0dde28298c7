//! Types: every comparison of the syntax against its field.

use super::super::packed::boolean;
use super::super::schema::{Field, FieldKind, Schema};
use super::expr::{Condition, Expr, Order, Predicate};
use super::parser::{Comparator, Comparison, Literal, Operand, Syntax};
use super::{Filter, Problem, value};

/// Greatest number of edits between an unknown name and a suggestion.
const CLOSE: usize = 3;

struct Checker<'s> {
    schema: &'s Schema,
    problems: Vec<Problem>,
}

/// Types of a tree; all problems at once, at most [`Filter::MAX_FAULTS`].
pub(super) fn check(syntax: Syntax<'_>, schema: &Schema) -> Result<Expr, Vec<Problem>> {
    let mut checker = Checker { schema, problems: Vec::new() };
    let expr = checker.expr(syntax);
    match expr {
        Some(expr) if checker.problems.is_empty() => Ok(expr),
        Some(_) | None => Err(checker.problems),
    }
}

// === impl Checker ===

impl Checker<'_> {
    /// Expression of a tree; `None` once there is a problem.
    fn expr(&mut self, syntax: Syntax<'_>) -> Option<Expr> {
        match syntax {
            Syntax::All(inner) => self.group(inner).and_then(Expr::all),
            Syntax::Any(inner) => self.group(inner).and_then(Expr::any),
            Syntax::Not(inner) => self.expr(*inner).map(Expr::negate),
            Syntax::Is(comparison) => self.comparison(&comparison),
        }
    }

    fn group(&mut self, inner: Vec<Syntax<'_>>) -> Option<Vec<Expr>> {
        let checked: Vec<Option<Expr>> = inner.into_iter().map(|syntax| self.expr(syntax)).collect();
        checked.into_iter().collect()
    }

    fn comparison(&mut self, comparison: &Comparison<'_>) -> Option<Expr> {
        if self.problems.len() >= Filter::MAX_FAULTS {
            return None;
        }
        let condition = |field: &Field| condition(field, comparison);
        let found = self.schema.field(comparison.field);
        let checked = found.map_or_else(
            || Err(self.unknown(comparison)),
            |(field, declared)| Ok((field, declared, condition(declared)?)),
        );
        match checked {
            Ok((field, declared, condition)) => {
                let predicate = Predicate { field, name: declared.name.clone(), kind: declared.kind, condition };
                let is = Expr::Is(predicate);
                Some(if comparison.comparator == Comparator::NotEqual { Expr::negate(is) } else { is })
            }
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// Problem of a name that the schema lacks, with the nearest name that it has.
    fn unknown(&self, comparison: &Comparison<'_>) -> Problem {
        let name = comparison.field;
        let filterable = self.schema.fields.iter().filter(|field| field.kind.is_tag() || field.kind.is_numeric());
        let names = filterable.map(|field| field.name.as_str()).filter(|_| name.len() <= 64);
        let nearest = names.map(|other| (strsim::osa_distance(name, other), other)).min();
        let length = name.chars().count();
        let rule = match nearest {
            Some((distance, other)) if distance <= CLOSE && distance < length => {
                format!("the collection has no field of this name ({length} characters); did you mean \"{other}\"?")
            }
            Some(_) | None => format!("the collection has no field of this name ({length} characters)"),
        };
        Problem::new(comparison.field_at, rule)
    }
}

fn condition(field: &Field, comparison: &Comparison<'_>) -> Result<Condition, Problem> {
    let name = field.name.as_str();
    if !field.kind.is_tag() && !field.kind.is_numeric() {
        let mend = if field.kind.is_text() { "; search it with the query, or declare a tag field" } else { "" };
        let kind = if field.kind.is_text() { "text" } else { "stored" };
        return Err(Problem::new(comparison.field_at, format!("{kind} field \"{name}\" can't be filtered{mend}")));
    }
    let problem = |rule: String| Err(Problem::new(comparison.comparator_at, rule));
    match (comparison.comparator, &comparison.operand) {
        (Comparator::Has, Operand::Anything) => Ok(Condition::Present),
        (_, Operand::Anything) => problem("a wildcard must follow a colon: field : *".to_owned()),
        (Comparator::Equal | Comparator::NotEqual, _) if field.kind == FieldKind::Tags => {
            problem(format!("field \"{name}\" has several values; use : in place of = and !="))
        }
        (comparator, operand) => match order(comparator) {
            Some(_) if !field.kind.is_numeric() => {
                problem(format!("field \"{name}\" has no order; < <= > >= are for numbers and timestamps"))
            }
            Some(order) => match operand {
                Operand::Value(literal) => Ok(Condition::Compare(order, number(field.kind, literal)?)),
                Operand::OneOf(_) | Operand::EachOf(_) | Operand::Anything => {
                    problem("values in parentheses must follow = or a colon".to_owned())
                }
            },
            None => membership(field, comparison),
        },
    }
}

/// Condition of `=`, `!=` and `:` with values.
fn membership(field: &Field, comparison: &Comparison<'_>) -> Result<Condition, Problem> {
    let problem = |rule: &str| Err(Problem::new(comparison.comparator_at, rule));
    let literals = match &comparison.operand {
        Operand::Value(literal) => std::slice::from_ref(literal),
        Operand::OneOf(_) | Operand::EachOf(_) if comparison.comparator == Comparator::NotEqual => {
            return problem("values in parentheses must follow = or a colon; negate them by NOT");
        }
        Operand::EachOf(_) if field.kind != FieldKind::Tags => {
            return problem("values joined by AND are for fields with several values; join them by OR");
        }
        Operand::OneOf(literals) | Operand::EachOf(literals) => literals,
        Operand::Anything => return Ok(Condition::Present),
    };
    if field.kind.is_numeric() {
        let numbers = literals.iter().map(|literal| number(field.kind, literal)).collect::<Result<_, _>>()?;
        return Ok(Condition::Numbers(distinct(numbers)));
    }
    let tags = literals.iter().map(|literal| tag(field.kind, literal)).collect::<Result<_, _>>()?;
    let tags = distinct(tags);
    let each = matches!(comparison.operand, Operand::EachOf(_)) && tags.len() > 1;
    Ok(if each { Condition::EachOf(tags) } else { Condition::OneOf(tags) })
}

fn tag(kind: FieldKind, literal: &Literal<'_>) -> Result<String, Problem> {
    match (kind, &*literal.text) {
        (FieldKind::Boolean, text @ ("true" | "false")) if !literal.quoted => Ok(boolean(text == "true").to_owned()),
        (FieldKind::Boolean, _) => Err(Problem::new(literal.at, value::BOOLEAN)),
        (_, text) => Ok(text.to_owned()),
    }
}

fn number(kind: FieldKind, literal: &Literal<'_>) -> Result<f64, Problem> {
    value::number(kind, literal).map_err(|rule| Problem::new(literal.at, rule))
}

fn order(comparator: Comparator) -> Option<Order> {
    match comparator {
        Comparator::Less => Some(Order::Less),
        Comparator::AtMost => Some(Order::AtMost),
        Comparator::Greater => Some(Order::Greater),
        Comparator::AtLeast => Some(Order::AtLeast),
        Comparator::Equal | Comparator::NotEqual | Comparator::Has => None,
    }
}

/// Values without repetitions, in their order. At most 100 values.
fn distinct<T: PartialEq>(values: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(values.len());
    for value in values {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept
}
