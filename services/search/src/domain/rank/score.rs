//! Sum of a score: words, their proximity, the document's number, and its brevity.

use super::super::result::ScoreTerm;
use super::matcher::{Field, Occurrence};
use super::weights::{self, PROXIMITY, REVERSED, WHOLE};
use super::{Candidate, Ranker, Tier};

/// Part of a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    /// Word of the query, by position, with its best match and the number of its occurrences.
    Word(usize, Tier, usize),
    /// Closeness of a word to the next one.
    Proximity(usize),
    /// Share of a field that the query is.
    Whole,
    /// Number of the document.
    RankBy,
    /// Shortness of the document's texts.
    Brevity,
}

// === impl Ranker ===

impl Ranker<'_> {
    /// Passes the parts of a candidate's score to `each`. False if it does not match.
    pub(super) fn add_up(&mut self, candidate: &Candidate<'_>, mut each: impl FnMut(Part, f64)) -> bool {
        let Some(fields) = self.matcher.read(candidate) else { return false };
        let heaviest = fields.iter().map(|field| field.weight).fold(f64::MIN_POSITIVE, f64::max);
        let mut whole = 0.0;
        for (word, rarity) in self.rarities.iter().enumerate() {
            let (value, tier, count) = weigh(word, fields, &mut self.masses);
            each(Part::Word(word, tier, count), rarity * value);
            whole += rarity * wholeness(word, fields, heaviest);
        }
        for (word, pair) in self.rarities.windows(2).enumerate() {
            let closest =
                fields.iter().map(|field| closeness(word, field) * (field.weight / heaviest)).fold(0.0, f64::max);
            each(Part::Proximity(word), PROXIMITY * pair[0].min(pair[1]) * closest);
        }
        each(Part::Whole, WHOLE * whole);
        each(Part::RankBy, self.bonus.value(candidate.rank_by));
        each(Part::Brevity, weights::brevity(candidate.texts.iter().map(|(_, text)| text.len()).sum()));
        true
    }

    /// Part for people.
    pub(super) fn describe(&self, part: Part, value: f64) -> ScoreTerm {
        let word = |at: usize| self.query.words.get(at).map_or("", |word| word.text.as_str());
        let (name, detail) = match part {
            Part::Word(at, tier, count) => {
                let rarity = self.rarities.get(at).copied().unwrap_or_default();
                (word(at).to_owned(), format!("{tier} match, {count} occurrences, rarity {rarity:.2}"))
            }
            Part::Proximity(at) => ("proximity".to_owned(), format!("`{}` before `{}`", word(at), word(at + 1))),
            Part::Whole => ("whole_field".to_owned(), "share of a field that the query covers".to_owned()),
            Part::RankBy => ("rank_by".to_owned(), "number of the document".to_owned()),
            Part::Brevity => ("brevity".to_owned(), "shorter texts first among equal documents".to_owned()),
        };
        ScoreTerm { name, detail, value }
    }
}

/// Weight of a word in all fields, its best tier, and the number of its occurrences.
///
/// Occurrences of lesser closeness raise the weight, but never above what the closer ones would have: the weight is the largest
/// of `factor × saturated(weight of the occurrences at least as close)`.
fn weigh(word: usize, fields: &[Field], masses: &mut Vec<(f64, f64)>) -> (f64, Tier, usize) {
    masses.clear();
    let mut best = Tier::Typo;
    for field in fields {
        let mass = field.weight / weights::length(field.terms);
        for found in occurrences(word, field) {
            best = best.min(found.tier);
            masses.push((found.factor, mass));
        }
    }
    masses.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
    let (mut weight, mut sum) = (0.0_f64, 0.0);
    for (factor, mass) in masses.iter() {
        sum += mass;
        weight = weight.max(factor * weights::saturated(sum));
    }
    (weight, best, masses.len())
}

/// Closeness of a word's match to the whole value of its field, 0 to 1.
fn wholeness(word: usize, fields: &[Field], heaviest: f64) -> f64 {
    let one = |field: &Field| {
        let factor = occurrences(word, field).map(|found| found.factor).fold(0.0, f64::max);
        let coverage = field.coverage();
        factor * coverage * coverage * field.weight / heaviest
    };
    fields.iter().map(one).fold(0.0, f64::max)
}

/// Closeness of `word` and the next word of the query in a field: 1 if they are adjacent and exact, 0 if one is missing.
fn closeness(word: usize, field: &Field) -> f64 {
    let (mut first, mut second): (Option<Occurrence>, Option<Occurrence>) = (None, None);
    let mut best = 0.0_f64;
    for found in &field.found {
        let (before, share) = if found.word == word + 1 {
            second = Some(*found);
            (first, 1.0)
        } else if found.word == word {
            first = Some(*found);
            (second, REVERSED)
        } else {
            continue;
        };
        if let Some(gap) = before.and_then(|before| found.start.checked_sub(before.end).map(|gap| (gap, before.factor)))
        {
            best = best.max(share * gap.1 * found.factor / f64::from(gap.0 + 1));
        }
    }
    best
}

/// Occurrences of a word.
fn occurrences(word: usize, field: &Field) -> impl Iterator<Item = &Occurrence> {
    field.found.iter().filter(move |found| found.word == word)
}
