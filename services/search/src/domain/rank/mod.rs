//! Relevance: score of a document for a query, from its terms, its collection's own word frequencies, and its numbers.
//!
//! A score depends on the document, the query, the lexicon and the number of documents alone: neither on the plan that found the
//! document nor on the engine.

mod expand;
mod matcher;
mod score;
#[cfg(test)]
mod tests;
mod weights;

use std::cmp::Ordering;
use std::fmt;

pub use expand::expand;

pub use super::query::Tier;
use super::result::ScoreTerm;
use super::schema::RankBy;
use matcher::Matcher;
use weights::Bonus;

/// Query with the terms of the lexicon that its words may match. A document matches if it has every word and nothing excluded.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Expanded {
    /// Words and phrases in the order of the query.
    pub words: Vec<Expected>,
    /// Sequences of adjacent surfaces that a document must not have.
    pub excluded: Vec<Vec<String>>,
}

/// Word or phrase of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Text for people.
    pub text: String,
    /// Word with its diacritics, case folded; empty for a phrase.
    pub spelling: String,
    /// True for a phrase: its one variant is the sequence of its words.
    pub phrase: bool,
    /// Variants, the best tier first, then the fewest edits, then the most frequent. Without any, no document matches.
    pub variants: Vec<Variant>,
}

/// Term or sequence of terms that a word may match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// One term, or several that must be adjacent in this order.
    pub terms: Vec<String>,
    /// Kind of the match.
    pub tier: Tier,
    /// Edits between the word and the term.
    pub edits: u8,
    /// Documents with the term; with the rarest of several.
    pub frequency: u32,
}

/// Figures of a ranking.
#[derive(Clone, Copy, Debug)]
pub struct RankRules<'a> {
    /// Number of documents of the collection.
    pub documents: u64,
    /// Weight of each text column by ordinal; 0 or absent for a column that is not searched.
    pub weights: &'a [f32],
    /// Number that raises scores.
    pub rank_by: Option<&'a RankBy>,
    /// Time of the search, in milliseconds since 1970. Pages of one search share it.
    pub now: i64,
}

/// Document to score.
#[derive(Clone, Copy, Debug, Default)]
pub struct Candidate<'a> {
    /// Ordinals of text columns, and their terms as stored.
    pub texts: &'a [(u8, &'a str)],
    /// Value of the [`RankBy`] field.
    pub rank_by: Option<f64>,
}

/// Ranking of one query.
#[derive(Debug)]
pub struct Ranker<'a> {
    query: &'a Expanded,
    matcher: Matcher<'a>,
    rarities: Vec<f64>,
    bonus: Bonus,
    masses: Vec<(f64, f64)>,
}

/// Compares hits by score (descending), then by hash, then by id.
#[must_use]
pub fn by_relevance(one: (f64, u32, &str), other: (f64, u32, &str)) -> Ordering {
    other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)).then_with(|| one.2.cmp(other.2))
}

// === impl Ranker ===

impl<'a> Ranker<'a> {
    /// Ranking by `rules`.
    #[must_use]
    pub fn new(query: &'a Expanded, rules: RankRules<'a>) -> Ranker<'a> {
        let rarities = query.words.iter().map(|word| weights::rarity(word, rules.documents)).collect();
        let matcher = Matcher::new(query, rules.weights);
        Ranker { query, matcher, rarities, bonus: Bonus::new(&rules), masses: Vec::new() }
    }

    /// Score of a document; none if it does not match. Linear in the number of terms, about 1.5 µs for 200 bytes.
    pub fn score(&mut self, candidate: &Candidate<'_>) -> Option<f64> {
        let mut total = 0.0;
        self.add_up(candidate, |_, value| total += value).then_some(total)
    }

    /// Parts of a document's score, which sum up to it; none if the document does not match.
    pub fn explain(&mut self, candidate: &Candidate<'_>) -> Vec<ScoreTerm> {
        let mut parts = Vec::new();
        let matches = self.add_up(candidate, |part, value| parts.push((part, value)));
        if !matches {
            return Vec::new();
        }
        parts.into_iter().map(|(part, value)| self.describe(part, value)).collect()
    }
}

// === impl Tier ===

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tier::Exact => "exact",
            Tier::Stem => "stem",
            Tier::Synonym => "synonym",
            Tier::Prefix => "prefix",
            Tier::Typo => "typo",
        })
    }
}
