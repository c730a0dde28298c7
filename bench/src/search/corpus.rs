//! Documents and queries of the search benchmark: synthetic, with the skew of real text, the same for the same seed.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

use crate::dice::Dice;

/// Words of the vocabulary; their frequency falls with their rank (Zipf's law).
const WORDS: u64 = 30_000;
/// Values of the tags `section` and `labels`.
const SECTIONS: u64 = 40;
const LABELS: u64 = 400;
/// States of a document, the first ones the most frequent.
const STATES: [&str; 6] = ["open", "done", "active", "waiting", "cancelled", "draft"];
/// Latest moment of a document, in milliseconds since 1970, and the time over which documents spread.
const NOW: u64 = 1_790_000_000_000;
const SPAN: u64 = 365 * 24 * 3_600_000;

/// Tenant of the benchmark, and the number of its documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tenant {
    pub(super) name: &'static str,
    pub(super) documents: u64,
}

/// Frequency of the words that a query searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Top,
    Middle,
    Rare,
}

/// Document.
#[derive(Clone, Debug)]
pub(super) struct Doc {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) section: String,
    pub(super) status: &'static str,
    pub(super) labels: Vec<String>,
    pub(super) amount: u64,
    pub(super) updated: u64,
}

/// Query: two words, two tags and a range, sorted by time.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) words: String,
    pub(super) status: &'static str,
    pub(super) section: String,
    pub(super) least: u64,
}

/// All tenants: 100,000 documents.
pub(super) const TENANTS: [Tenant; 4] = [
    Tenant { name: "small", documents: 1_000 },
    Tenant { name: "medium", documents: 10_000 },
    Tenant { name: "large", documents: 40_000 },
    Tenant { name: "largest", documents: 49_000 },
];

// === impl Class ===

impl Class {
    pub(super) const ALL: [Class; 3] = [Class::Top, Class::Middle, Class::Rare];

    pub(super) fn label(self) -> &'static str {
        match self {
            Class::Top => "top 10",
            Class::Middle => "ranks 10 to 100",
            Class::Rare => "rarer",
        }
    }

    fn rank(self, dice: &mut Dice) -> u64 {
        match self {
            Class::Top => dice.below(10),
            Class::Middle => 10 + dice.below(90),
            Class::Rare => 100 + dice.below(2_000),
        }
    }
}

// === impl Doc ===

impl Doc {
    /// Document of a number; the same in each run.
    pub(super) fn new(tenant: Tenant, number: u64) -> Doc {
        let mut dice = Dice::seeded(number.wrapping_mul(31).wrapping_add(tenant.documents));
        let text = |dice: &mut Dice, words: u64| (0..words).map(|_| word(zipf(dice))).collect::<Vec<_>>().join(" ");
        let (short, long, labels) = (2 + dice.below(4), 8 + dice.below(16), dice.below(6));
        let mut labels: Vec<_> = (0..labels).map(|_| format!("label-{}", skewed(&mut dice, LABELS))).collect();
        labels.sort_unstable();
        labels.dedup();
        Doc {
            id: format!("d-{number}"),
            title: text(&mut dice, short),
            body: text(&mut dice, long),
            section: format!("section-{}", skewed(&mut dice, SECTIONS)),
            status: state(&mut dice),
            labels,
            amount: 1 + skewed(&mut dice, 100_000),
            updated: NOW - dice.below(SPAN),
        }
    }

    pub(super) fn fields(&self) -> Struct {
        let labels = self.labels.iter().map(|label| string(label)).collect();
        let fields = [
            ("title", string(&self.title)),
            ("body", string(&self.body)),
            ("section", string(&self.section)),
            ("status", string(self.status)),
            ("labels", Value { kind: Some(Kind::ListValue(ListValue { values: labels })) }),
            ("amount", number(self.amount)),
            ("updated", string(&keyplane_contracts::timestamp::format_millis(self.updated.cast_signed()))),
        ];
        Struct { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
    }
}

// === impl Question ===

impl Question {
    pub(super) fn new(class: Class, dice: &mut Dice) -> Question {
        let first = class.rank(dice);
        Question {
            words: word(first),
            status: state(dice),
            section: format!("section-{}", skewed(dice, SECTIONS)),
            least: 1 + dice.below(1_000),
        }
    }

    pub(super) fn filter(&self) -> String {
        let Question { status, section, least, .. } = self;
        format!("status = \"{status}\" AND section = \"{section}\" AND amount >= {least}")
    }
}

fn state(dice: &mut Dice) -> &'static str {
    STATES[usize::try_from(skewed(dice, STATES.len() as u64)).unwrap_or(0)]
}

/// Rank of a word: Zipf's law with exponent 1.
fn zipf(dice: &mut Dice) -> u64 {
    let rank = ((WORDS as f64).powf(dice.share()) - 1.0).max(0.0);
    (rank as u64).min(WORDS - 1)
}

/// Number below `end`, small ones more often.
fn skewed(dice: &mut Dice, end: u64) -> u64 {
    ((end as f64 * dice.share().powi(2)) as u64).min(end - 1)
}

/// Pronounceable word of a rank: 2 to 5 syllables, each rank its own.
pub(super) fn word(rank: u64) -> String {
    const SYLLABLES: [&str; 20] = [
        "ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va", "we", "xi",
        "yo", "zu",
    ];
    let mut text = String::new();
    let mut rest = rank + 20;
    while rest > 0 {
        text.push_str(SYLLABLES[usize::try_from(rest % 20).unwrap_or(0)]);
        rest /= 20;
    }
    text
}

fn string(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

fn number(number: u64) -> Value {
    Value { kind: Some(Kind::NumberValue(number as f64)) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn words_of_ranks_differ() {
        let words: BTreeSet<String> = (0..WORDS).map(word).collect();
        assert_eq!(words.len() as u64, WORDS);
    }

    #[test]
    fn documents_are_the_same_in_each_run() {
        let [first, second] = [0, 0].map(|_| format!("{:?}", Doc::new(TENANTS[1], 7)));
        assert_eq!(first, second);
        assert_ne!(format!("{:?}", Doc::new(TENANTS[0], 7)), first);
    }
}
