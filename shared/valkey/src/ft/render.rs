//! Text of a query: negations pushed down to the clauses, empty groups removed.
//!
//! The local engine loses documents of an alternative that holds a negation (`(a | (b -c))`), so alternatives with one are
//! written as the negation of a conjunction: `-(-a -(b -c))`.

use std::fmt::Write as _;
use std::ops::Bound;

use super::condition::{Condition, Scope};
use super::{Attribute, Token};

/// Condition in negation normal form. No `All` holds an `All`, `Nothing` or `Everything`; nor does an `Any`.
enum Normal {
    Everything,
    Nothing,
    Clause { positive: bool, text: String },
    All(Vec<Normal>),
    Any(Vec<Normal>),
}

pub(super) fn scope(scope: &Scope) -> String {
    format!("@{}:{{{}}}", scope.attribute, scope.tag)
}

/// Appends `condition` to the text of a query; returns its number of words and tags.
pub(super) fn append(text: &mut String, condition: &Condition, owner: &Scope) -> usize {
    let mut tokens = 0;
    match normal(condition, true, &mut tokens) {
        Normal::Everything => {}
        Normal::Nothing => {
            let _ = write!(text, " -{}", scope(owner));
            tokens += 1;
        }
        Normal::All(list) => {
            for part in list {
                text.push(' ');
                write(text, &part, true);
            }
        }
        part @ (Normal::Clause { .. } | Normal::Any(_)) => {
            text.push(' ');
            write(text, &part, true);
        }
    }
    tokens
}

/// Writes a part, or its negation unless `positive`.
fn write(text: &mut String, part: &Normal, positive: bool) {
    match part {
        Normal::Clause { positive: own, text: clause } => {
            text.push_str(if *own == positive { "" } else { "-" });
            text.push_str(clause);
        }
        Normal::All(list) => group(text, list, " ", positive, true),
        Normal::Any(list) if !list.iter().any(negates) => group(text, list, " | ", positive, true),
        Normal::Any(list) => group(text, list, " ", !positive, false),
        // Removed by `join`.
        Normal::Everything | Normal::Nothing => {}
    }
}

/// Writes the members, or their negations unless `members`, in parentheses; negated unless `positive`.
fn group(text: &mut String, list: &[Normal], separator: &str, positive: bool, members: bool) {
    text.push_str(if positive { "(" } else { "-(" });
    for (position, part) in list.iter().enumerate() {
        text.push_str(if position == 0 { "" } else { separator });
        write(text, part, members);
    }
    text.push(')');
}

/// Reports whether a part holds a negation.
fn negates(part: &Normal) -> bool {
    match part {
        Normal::Clause { positive, .. } => !positive,
        Normal::All(list) | Normal::Any(list) => list.iter().any(negates),
        Normal::Everything | Normal::Nothing => false,
    }
}

fn normal(condition: &Condition, positive: bool, tokens: &mut usize) -> Normal {
    match condition {
        Condition::Not(inner) => normal(inner, !positive, tokens),
        Condition::All(list) => join(list, positive, positive, tokens),
        Condition::Any(list) => join(list, !positive, positive, tokens),
        Condition::Tag(attribute, tags) => {
            *tokens += tags.len();
            clause(positive, tag_text(*attribute, tags))
        }
        Condition::Word(attribute, word) => {
            *tokens += 1;
            clause(positive, Some(format!("@{attribute}:{word}")))
        }
        Condition::Range(attribute, low, high) => clause(positive, range_text(*attribute, *low, *high)),
    }
}

/// Conjunction (`all`) or disjunction of the conditions, each negated unless `positive`.
fn join(list: &[Condition], all: bool, positive: bool, tokens: &mut usize) -> Normal {
    let mut parts = Vec::with_capacity(list.len());
    for condition in list {
        match (normal(condition, positive, tokens), all) {
            (Normal::Everything, true) | (Normal::Nothing, false) => {}
            (Normal::Nothing, true) => return Normal::Nothing,
            (Normal::Everything, false) => return Normal::Everything,
            (Normal::All(inner), true) | (Normal::Any(inner), false) => parts.extend(inner),
            (part, _) => parts.push(part),
        }
    }
    match (parts.len(), all) {
        (0, true) => Normal::Everything,
        (0, false) => Normal::Nothing,
        (1, _) => parts.swap_remove(0),
        (_, true) => Normal::All(parts),
        (_, false) => Normal::Any(parts),
    }
}

/// Clause, or what it is without a text: a clause that never holds.
fn clause(positive: bool, text: Option<String>) -> Normal {
    match (text, positive) {
        (Some(text), positive) => Normal::Clause { positive, text },
        (None, true) => Normal::Nothing,
        (None, false) => Normal::Everything,
    }
}

fn tag_text(attribute: Attribute, tags: &[Token]) -> Option<String> {
    let mut text = format!("@{attribute}:{{");
    for (position, tag) in tags.iter().enumerate() {
        text.push_str(if position == 0 { "" } else { "|" });
        text.push_str(tag.as_str());
    }
    text.push('}');
    (!tags.is_empty()).then_some(text)
}

/// Range; none if it is empty, which valkey-search rejects.
fn range_text(attribute: Attribute, low: Bound<f64>, high: Bound<f64>) -> Option<String> {
    let (from, open_low) = end(low, f64::NEG_INFINITY);
    let (to, open_high) = end(high, f64::INFINITY);
    let empty = from > to || (from == to && (open_low || open_high)) || from.is_nan() || to.is_nan();
    if empty || from == f64::INFINITY || to == f64::NEG_INFINITY {
        return None;
    }
    let number = |number: f64, open: bool| match number {
        f64::INFINITY => "+inf".to_owned(),
        f64::NEG_INFINITY => "-inf".to_owned(),
        // -0 is 0 to a filter.
        number => format!("{}{}", if open { "(" } else { "" }, number + 0.0),
    };
    Some(format!("@{attribute}:[{} {}]", number(from, open_low), number(to, open_high)))
}

fn end(bound: Bound<f64>, unbounded: f64) -> (f64, bool) {
    match bound {
        Bound::Included(number) => (number, false),
        Bound::Excluded(number) => (number, true),
        Bound::Unbounded => (unbounded, false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Condition, Query};
    use super::*;

    fn owner() -> Scope {
        Scope { attribute: Attribute::new("_s"), tag: Token::tag("a_2fb").expect("a tag") }
    }

    fn word(text: &str) -> Condition {
        Condition::Word(Attribute::numbered("t", 0), Token::word(text).expect("a word"))
    }

    fn tag(tags: &[&str]) -> Condition {
        let tags = tags.iter().map(|tag| Token::tag(tag).expect("a tag")).collect();
        Condition::Tag(Attribute::numbered("g", 1), tags)
    }

    fn range(low: Bound<f64>, high: Bound<f64>) -> Condition {
        Condition::Range(Attribute::numbered("n", 2), low, high)
    }

    fn not(condition: Condition) -> Condition {
        Condition::Not(Box::new(condition))
    }

    fn text(condition: &Condition) -> String {
        let query = Query::new(owner()).and(condition);
        query.as_str().strip_prefix("@_s:{a_2fb}").expect("the scope comes first").to_owned()
    }

    #[test]
    fn clauses_have_the_text_of_the_safe_subset() {
        use Bound::{Excluded, Included, Unbounded};
        for (condition, expected) in [
            (word("blue"), " @t0:blue"),
            (tag(&["x", "y_20z"]), " @g1:{x|y_20z}"),
            (range(Included(1.0), Excluded(2.5)), " @n2:[1 (2.5]"),
            (range(Unbounded, Included(-3.0)), " @n2:[-inf -3]"),
            (range(Included(-0.0), Unbounded), " @n2:[0 +inf]"),
            (range(Unbounded, Unbounded), " @n2:[-inf +inf]"),
            (not(word("blue")), " -@t0:blue"),
            (Condition::All(vec![word("a"), not(tag(&["x"]))]), " @t0:a -@g1:{x}"),
            (Condition::Any(vec![word("a"), word("b")]), " (@t0:a | @t0:b)"),
            (not(Condition::Any(vec![word("a"), word("b")])), " -@t0:a -@t0:b"),
            (not(not(word("a"))), " @t0:a"),
        ] {
            assert_eq!(text(&condition), expected);
        }
    }

    #[test]
    fn alternatives_with_a_negation_are_a_negated_conjunction() {
        let any = |list: Vec<Condition>| Condition::Any(list);
        let all = |list: Vec<Condition>| Condition::All(list);
        for (condition, expected) in [
            (any(vec![word("a"), not(word("b"))]), " -(-@t0:a @t0:b)"),
            (any(vec![all(vec![word("a"), not(word("b"))]), word("c")]), " -(-(@t0:a -@t0:b) -@t0:c)"),
            (any(vec![not(word("a")), all(vec![not(word("b")), not(word("c"))])]), " -(@t0:a -(-@t0:b -@t0:c))"),
            (
                all(vec![word("a"), any(vec![word("b"), all(vec![word("c"), word("d")])])]),
                " @t0:a (@t0:b | (@t0:c @t0:d))",
            ),
            (
                any(vec![all(vec![word("a"), any(vec![word("b"), not(word("c"))])]), word("d")]),
                " -(-(@t0:a -(-@t0:b @t0:c)) -@t0:d)",
            ),
        ] {
            assert_eq!(text(&condition), expected);
        }
    }

    #[test]
    fn condition_without_a_clause_is_everything_or_nothing() {
        use Bound::{Excluded, Included};
        let (everything, nothing) = ("", " -@_s:{a_2fb}");
        for (condition, expected) in [
            (Condition::All(vec![]), everything),
            (Condition::Any(vec![]), nothing),
            (not(Condition::All(vec![])), nothing),
            (tag(&[]), nothing),
            (not(tag(&[])), everything),
            (range(Included(2.0), Included(1.0)), nothing),
            (range(Included(1.0), Excluded(1.0)), nothing),
            (range(Included(f64::NAN), Included(1.0)), nothing),
            (range(Included(f64::INFINITY), Included(f64::INFINITY)), nothing),
            (Condition::Any(vec![word("a"), Condition::All(vec![])]), everything),
            (Condition::All(vec![word("a"), Condition::Any(vec![])]), nothing),
            (Condition::Any(vec![Condition::All(vec![word("a")]), tag(&[])]), " @t0:a"),
        ] {
            assert_eq!(text(&condition), expected, "{condition:?}");
        }
    }
}
