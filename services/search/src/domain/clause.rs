//! Conditions of the index, in a form that no query text can widen: columns, tokens and numbers.

use std::ops::Bound;

use super::layout::Column;
use super::token::Token;

/// Condition on the columns of one document.
///
/// Constants stand at the root alone: `All` of nothing holds for every document, `Any` of nothing for none. `Not` holds for
/// every document of the scope that the inner condition leaves out, those without a value included.
#[derive(Clone, Debug, PartialEq)]
pub enum Clause {
    /// One of the tokens is a value of the tag column.
    Tag(Column, Vec<Token>),
    /// Value of the numeric column lies between the bounds; a missing value lies nowhere. The lower bound is at most the upper.
    Range(Column, Bound<f64>, Bound<f64>),
    /// Every condition holds.
    All(Vec<Clause>),
    /// At least one condition holds.
    Any(Vec<Clause>),
    /// The condition does not hold.
    Not(Box<Clause>),
}

/// Bytes around a rendered condition: column, brackets, blanks, sign.
const FRAME: usize = 16;
/// Bytes of an infinite bound.
const INFINITE: usize = 4;

// === impl Clause ===

impl Clause {
    /// Condition that every document fulfils.
    #[must_use]
    pub fn always() -> Clause {
        Clause::All(Vec::new())
    }

    /// Condition that no document fulfils.
    #[must_use]
    pub fn never() -> Clause {
        Clause::Any(Vec::new())
    }

    /// Returns whether every document fulfils the condition, by its form.
    #[must_use]
    pub fn is_always(&self) -> bool {
        matches!(self, Clause::All(inner) if inner.is_empty())
    }

    /// Returns whether no document fulfils the condition, by its form.
    #[must_use]
    pub fn is_never(&self) -> bool {
        matches!(self, Clause::Any(inner) if inner.is_empty())
    }

    /// Conjunction in its simplest form: nested ones are flattened, ranges of a column intersected, constants folded.
    #[must_use]
    pub fn all(clauses: impl IntoIterator<Item = Clause>) -> Clause {
        let mut kept = Vec::new();
        for clause in clauses {
            if clause.is_never() {
                return clause;
            }
            match clause {
                Clause::All(inner) => kept.extend(inner),
                one @ (Clause::Tag(..) | Clause::Range(..) | Clause::Any(_) | Clause::Not(_)) => kept.push(one),
            }
        }
        let mut merged: Vec<Clause> = Vec::with_capacity(kept.len());
        for clause in kept {
            let Clause::Range(column, low, high) = clause else {
                merged.push(clause);
                continue;
            };
            let other = merged.iter_mut().find_map(|other| match other {
                Clause::Range(same, low, high) if *same == column => Some((low, high)),
                Clause::Range(..) | Clause::Tag(..) | Clause::All(_) | Clause::Any(_) | Clause::Not(_) => None,
            });
            match other {
                Some((first, last)) => {
                    *first = tighter(*first, low, |a, b| a > b);
                    *last = tighter(*last, high, |a, b| a < b);
                }
                None => merged.push(Clause::Range(column, low, high)),
            }
        }
        if merged.iter().any(is_empty_range) {
            return Clause::never();
        }
        single(merged, Clause::All)
    }

    /// Disjunction in its simplest form: nested ones are flattened, tokens of a column united, constants folded.
    #[must_use]
    pub fn any(clauses: impl IntoIterator<Item = Clause>) -> Clause {
        let mut merged: Vec<Clause> = Vec::new();
        for clause in clauses {
            if clause.is_always() {
                return clause;
            }
            match clause {
                Clause::Any(inner) => inner.into_iter().for_each(|clause| unite(&mut merged, clause)),
                one @ (Clause::Tag(..) | Clause::Range(..) | Clause::All(_) | Clause::Not(_)) => {
                    unite(&mut merged, one)
                }
            }
        }
        single(merged, Clause::Any)
    }

    /// Complement in its simplest form: a double one and constants are folded.
    #[must_use]
    pub fn negate(clause: Clause) -> Clause {
        if clause.is_always() {
            return Clause::never();
        }
        if clause.is_never() {
            return Clause::always();
        }
        match clause {
            Clause::Not(inner) => *inner,
            one @ (Clause::Tag(..) | Clause::Range(..) | Clause::All(_) | Clause::Any(_)) => Clause::Not(Box::new(one)),
        }
    }

    /// Number of numeric ranges. Each beyond the first makes a query about three times as expensive.
    #[must_use]
    pub fn ranges(&self) -> usize {
        match self {
            Clause::Tag(..) => 0,
            Clause::Range(..) => 1,
            Clause::All(inner) | Clause::Any(inner) => inner.iter().map(Clause::ranges).sum(),
            Clause::Not(inner) => inner.ranges(),
        }
    }

    /// Upper bound of the rendered length, in bytes. The engine takes queries of at most 10,240 bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Clause::Tag(_, tokens) => FRAME + tokens.iter().map(|token| token.as_str().len() + 3).sum::<usize>(),
            Clause::Range(_, low, high) => FRAME + length(*low) + length(*high),
            Clause::All(inner) | Clause::Any(inner) => FRAME + inner.iter().map(Clause::size).sum::<usize>(),
            Clause::Not(inner) => FRAME + inner.size(),
        }
    }
}

/// Bytes of a rendered bound. Numbers have no exponent, so that some have three hundred digits.
fn length(bound: Bound<f64>) -> usize {
    match bound {
        Bound::Included(number) | Bound::Excluded(number) => 1 + number.to_string().len(),
        Bound::Unbounded => INFINITE,
    }
}

/// Adds an alternative; tokens of a column that is there join it.
fn unite(merged: &mut Vec<Clause>, clause: Clause) {
    let Clause::Tag(column, tokens) = clause else {
        merged.push(clause);
        return;
    };
    let same = merged.iter_mut().find_map(|other| match other {
        Clause::Tag(same, tokens) if *same == column => Some(tokens),
        Clause::Tag(..) | Clause::Range(..) | Clause::All(_) | Clause::Any(_) | Clause::Not(_) => None,
    });
    match same {
        Some(present) => {
            let fresh: Vec<Token> = tokens.into_iter().filter(|token| !present.contains(token)).collect();
            present.extend(fresh);
        }
        None => merged.push(Clause::Tag(column, tokens)),
    }
}

/// The only clause, or all of them in `group`.
fn single(mut clauses: Vec<Clause>, group: impl FnOnce(Vec<Clause>) -> Clause) -> Clause {
    match clauses.pop() {
        Some(last) if clauses.is_empty() => last,
        Some(last) => {
            clauses.push(last);
            group(clauses)
        }
        None => group(clauses),
    }
}

/// Bound that admits less; `is_inside` compares the numbers of two bounds.
fn tighter(left: Bound<f64>, right: Bound<f64>, is_inside: impl Fn(f64, f64) -> bool) -> Bound<f64> {
    let number = |bound: Bound<f64>| match bound {
        Bound::Included(number) | Bound::Excluded(number) => Some(number),
        Bound::Unbounded => None,
    };
    match (number(left), number(right)) {
        (None, _) => right,
        (_, None) => left,
        (Some(a), Some(b)) if is_inside(a, b) => left,
        (Some(a), Some(b)) if is_inside(b, a) => right,
        (Some(_), Some(_)) if matches!(left, Bound::Excluded(_)) => left,
        (Some(_), Some(_)) => right,
    }
}

/// Returns whether no number lies between the bounds. Engines reject a lower bound above the upper.
fn is_empty_range(clause: &Clause) -> bool {
    match clause {
        Clause::Range(_, Bound::Included(low), Bound::Included(high)) => low > high,
        Clause::Range(
            _,
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) => low >= high,
        Clause::Range(..) | Clause::Tag(..) | Clause::All(_) | Clause::Any(_) | Clause::Not(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N0: Column = Column::Number(0);
    const G0: Column = Column::Tag(0);

    fn tag(values: &[&str]) -> Clause {
        Clause::Tag(G0, values.iter().map(|value| Token::new(value)).collect())
    }

    #[test]
    fn ranges_of_a_column_are_intersected() {
        let from = Clause::Range(N0, Bound::Included(1.0), Bound::Unbounded);
        let upto = Clause::Range(N0, Bound::Unbounded, Bound::Excluded(9.0));
        let past = Clause::Range(N0, Bound::Excluded(1.0), Bound::Included(9.0));
        let merged = Clause::all([from.clone(), tag(&["a"]), upto.clone()]);
        assert_eq!(
            merged,
            Clause::All(vec![Clause::Range(N0, Bound::Included(1.0), Bound::Excluded(9.0)), tag(&["a"])])
        );
        assert_eq!(Clause::all([from, upto, past]), Clause::Range(N0, Bound::Excluded(1.0), Bound::Excluded(9.0)));
    }

    #[test]
    fn empty_range_is_never_sent() {
        let over = Clause::Range(N0, Bound::Excluded(5.0), Bound::Unbounded);
        let under = Clause::Range(N0, Bound::Unbounded, Bound::Excluded(5.0));
        let point = Clause::Range(N0, Bound::Included(5.0), Bound::Included(5.0));
        assert!(Clause::all([over.clone(), under]).is_never());
        assert!(Clause::all([over, point.clone()]).is_never());
        assert_eq!(Clause::all([point.clone(), point.clone()]), point);
    }

    #[test]
    fn tokens_of_a_column_are_united() {
        assert_eq!(Clause::any([tag(&["a"]), tag(&["b", "a"])]), tag(&["a", "b"]));
    }

    #[test]
    fn constants_stand_at_the_root_alone() {
        assert!(Clause::all([]).is_always());
        assert!(Clause::any([]).is_never());
        assert!(Clause::all([tag(&["a"]), Clause::never()]).is_never());
        assert!(Clause::any([tag(&["a"]), Clause::always()]).is_always());
        assert_eq!(Clause::any([tag(&["a"]), Clause::never()]), tag(&["a"]));
        assert_eq!(Clause::all([tag(&["a"]), Clause::always()]), tag(&["a"]));
        assert!(Clause::negate(Clause::always()).is_never());
        assert_eq!(Clause::negate(Clause::negate(tag(&["a"]))), tag(&["a"]));
    }

    #[test]
    fn ranges_and_size_count_every_part() {
        let range = Clause::Range(N0, Bound::Included(1.0), Bound::Unbounded);
        let clause = Clause::any([Clause::negate(range.clone()), Clause::all([tag(&["a"]), range])]);
        assert_eq!(clause.ranges(), 2);
        assert!(clause.size() >= "(-@n0:[1 +inf] | (@g0:{a} @n0:[1 +inf]))".len());
    }

    #[test]
    fn size_counts_every_digit_of_a_number() {
        for number in [1.1e-300, -1.1e-300, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324] {
            let clause = Clause::Range(N0, Bound::Excluded(number), Bound::Included(number));
            let rendered = format!("@n63:[({number} {number}]");
            assert!(rendered.len() > 300 && clause.size() >= rendered.len(), "{number:e}");
        }
    }
}
