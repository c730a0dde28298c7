//! Weights of the score's parts, tuned on one half of the relevance queries (`bench/src/search/relevance`).

use super::super::schema::RankBy;
use super::{Expected, RankRules, Tier, Variant};

/// Saturation of repetitions, BM25's k1: a word's weight is at most 1 + k1 times that of one occurrence.
const SATURATION: f64 = 0.6;
/// Growth of a field's length penalty with the logarithm of its length.
const LENGTH: f64 = 0.4;
/// Terms of a field at which the length penalty begins to be felt.
const LENGTH_PIVOT: f64 = 8.0;
/// Factor of an occurrence with other diacritics than the query's.
const OTHER_SPELLING: f64 = 0.9;
/// Share of a rarity that adjacent words add.
pub(super) const PROXIMITY: f64 = 0.4;
/// Share of the proximity that words in the opposite order add.
pub(super) const REVERSED: f64 = 0.5;
/// Share of a rarity that a word adds as its field's only content.
pub(super) const WHOLE: f64 = 1.0;
/// Score of one unit of a popularity's logarithm.
const POPULARITY: f64 = 0.5;
/// Score of a document of this moment.
const RECENCY: f64 = 3.0;

/// Score of a document without texts: so small that it decides among equal documents alone.
const BREVITY: f64 = 1e-6;

/// Bonus of the number that raises scores.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bonus {
    /// No such number.
    None,
    /// Logarithm of the value, times this.
    Popularity(f64),
    /// Halves with each half-life.
    Recency {
        /// Bonus at age 0.
        most: f64,
        /// Half-life in milliseconds, at least 1.
        half_life: f64,
        /// Time of the search in milliseconds.
        now: f64,
    },
}

/// Rarity of a word among `documents`: BM25's ln(1 + (N - n + 0.5) / (n + 0.5)), above 0.
///
/// The number n of documents is that of the word itself, its stem and its synonyms. A word that only begins or misspells others
/// takes that of the most frequent one, so that a rare misspelling never outweighs the word.
pub(super) fn rarity(word: &Expected, documents: u64) -> f64 {
    let frequency = |least: Tier| {
        let variants = word.variants.iter().filter(|variant| variant.tier <= least);
        variants.map(|variant| variant.frequency).max().filter(|frequency| *frequency > 0)
    };
    let frequency = frequency(Tier::Synonym).or_else(|| frequency(Tier::Typo)).map_or(0.0, f64::from);
    #[expect(clippy::cast_precision_loss, reason = "documents are far fewer than 2^53")]
    let documents = (documents as f64).max(frequency);
    ((documents - frequency + 0.5) / (frequency + 0.5)).ln_1p()
}

/// Factor of a variant's occurrences, above 0 to 1.
pub(super) fn factor(variant: &Variant) -> f64 {
    match (variant.tier, variant.edits) {
        (Tier::Exact, _) => 1.0,
        (Tier::Stem, _) => 0.8,
        (Tier::Synonym, _) => 0.75,
        (Tier::Prefix, _) => 0.7,
        (Tier::Typo, 0 | 1) => 0.4,
        (Tier::Typo, _) => 0.25,
    }
}

/// Factor of an occurrence's diacritics.
pub(super) fn spelling(same: bool) -> f64 {
    if same { 1.0 } else { OTHER_SPELLING }
}

/// Penalty of a field with `terms` terms, 1 or more.
pub(super) fn length(terms: usize) -> f64 {
    let terms = f64::from(u32::try_from(terms).unwrap_or(u32::MAX));
    1.0 + LENGTH * (terms / LENGTH_PIVOT).ln_1p()
}

/// Score of texts with so many bytes of terms: of siblings that match alike, the shortest is meant more often.
#[expect(clippy::cast_precision_loss, reason = "texts have some thousand bytes")]
pub(super) fn brevity(bytes: usize) -> f64 {
    BREVITY / (1.0 + bytes as f64)
}

/// Saturated weight of occurrences, below 1 + [`SATURATION`].
pub(super) fn saturated(mass: f64) -> f64 {
    mass * (SATURATION + 1.0) / (mass + SATURATION)
}

// === impl Bonus ===

impl Bonus {
    /// Bonus by the rules of a ranking.
    #[expect(clippy::cast_precision_loss, reason = "times are within 2^53")]
    pub(super) fn new(rules: &RankRules<'_>) -> Bonus {
        match rules.rank_by {
            None => Bonus::None,
            Some(RankBy::Popularity { weight, .. }) => Bonus::Popularity(POPULARITY * f64::from(*weight)),
            Some(RankBy::Recency { half_life, weight, .. }) => Bonus::Recency {
                most: RECENCY * f64::from(*weight),
                half_life: (*half_life).max(1) as f64,
                now: rules.now as f64,
            },
        }
    }

    /// Bonus of a document's value; 0 without one. A time in the future counts as now.
    pub(super) fn value(self, value: Option<f64>) -> f64 {
        let Some(value) = value else { return 0.0 };
        match self {
            Bonus::None => 0.0,
            Bonus::Popularity(weight) => weight * value.max(0.0).ln_1p(),
            Bonus::Recency { most, half_life, now } => most * (-(now - value).max(0.0) / half_life).exp2(),
        }
    }
}
