//! Tiers of a ranked search: its words, from the best matches to the weakest; each tier includes the ones before it.

use crate::domain::estimate::Estimate;
use crate::domain::rank::{Expanded, Tier};
use crate::store::AnyOf;

/// Most candidates of a ranking, unless a setting says otherwise.
pub const CANDIDATES: u32 = 300;
/// Fewest candidates of a ranking, however long the documents are.
const MIN_CANDIDATES: u32 = 50;
/// Bytes of text that a ranking reads.
const CANDIDATE_BYTES: u64 = 512 * 1024;
/// Bytes of the words in a query of the index; the engine takes 10,240 in all.
const QUERY_BYTES: usize = 6 * 1024;
/// Words in a query of the index; the engine takes 1,000 words and tags in all.
const QUERY_WORDS: usize = 700;
/// Bytes around a word in a query of the index.
const FRAME: usize = 10;
/// Share of the exact matches that have their words in the fields of the largest weight, assumed.
const IN_BEST_FIELDS: f64 = 0.3;

/// Words of one tier.
#[derive(Clone, Debug, PartialEq)]
pub struct TierWords {
    /// Number of the tier, stable for a query: 0 is the best.
    pub number: u8,
    /// Words, of which a document has each.
    pub words: Vec<AnyOf>,
    /// Frequencies of each word's terms.
    frequencies: Vec<Vec<u64>>,
    /// Share of the documents with these terms that the tier probably has.
    share: f64,
}

// === impl TierWords ===

impl TierWords {
    /// Documents of a collection that have every word. O(terms).
    #[must_use]
    pub fn estimate(&self, documents: f64) -> Estimate {
        let words = self.frequencies.iter().map(|terms| Estimate::any(documents, terms.iter().copied()));
        let all = Estimate::all(documents, words);
        Estimate { expected: all.expected * self.share, upper: all.upper }
    }
}

/// Most candidates of a ranking: at most `most`, and fewer of documents with much text on average.
#[must_use]
pub fn candidates(text_bytes: u64, most: u32) -> u32 {
    let fitting = u32::try_from(CANDIDATE_BYTES / text_bytes.max(1)).unwrap_or(u32::MAX);
    fitting.max(MIN_CANDIDATES).min(most)
}

/// Last tier up to a number. A cursor names tiers of its first page; one that adds nothing any more is the tier before it.
#[must_use]
pub fn tier_upto(tiers: &[TierWords], number: u8) -> Option<&TierWords> {
    tiers.iter().rev().find(|tier| tier.number <= number)
}

/// Shortens a query to what one query of the index takes in `columns` text columns, by the weakest variants of the word with
/// the most. Returns whether it fits.
pub fn fit(query: &mut Expanded, columns: usize) -> bool {
    loop {
        let (bytes, words) = size(query, columns);
        if bytes <= QUERY_BYTES && words <= QUERY_WORDS {
            return true;
        }
        let longest = query.words.iter_mut().max_by_key(|word| word.variants.len());
        match longest {
            Some(word) if word.variants.len() > 1 => drop(word.variants.pop()),
            Some(_) | None => return false,
        }
    }
}

/// Bytes and words of a query in a query of the index.
fn size(query: &Expanded, columns: usize) -> (usize, usize) {
    let columns = columns.max(1);
    let variants = query.words.iter().flat_map(|word| &word.variants).map(|variant| &variant.terms);
    let excluded = query.excluded.iter().filter(|terms| terms.len() == 1);
    variants
        .chain(excluded)
        .flatten()
        .fold((0, 0), |(bytes, words), term| (bytes + columns * (term.len() + FRAME), words + columns))
}

/// Tiers of a query in text columns: exact words in the columns of the largest weight, exact words, stems, synonyms, prefixes,
/// typos. Tiers without a match, and those that add nothing, are left out.
#[must_use]
pub fn tier_words(query: &Expanded, columns: &[u8], weights: &[f32]) -> Vec<TierWords> {
    let weight = |column: &u8| weights.get(usize::from(*column)).copied().unwrap_or_default();
    let largest = columns.iter().map(weight).fold(0.0, f32::max);
    let best: Vec<u8> = columns.iter().copied().filter(|column| weight(column) >= largest).collect();
    let mut tiers: Vec<TierWords> = Vec::new();
    let steps = [
        (0, Tier::Exact, &best[..], IN_BEST_FIELDS),
        (1, Tier::Exact, columns, 1.0),
        (2, Tier::Stem, columns, 1.0),
        (3, Tier::Synonym, columns, 1.0),
        (4, Tier::Prefix, columns, 1.0),
        (5, Tier::Typo, columns, 1.0),
    ];
    for (number, upto, columns_of, share) in steps {
        if number == 0 && best.len() == columns.len() {
            continue;
        }
        let tier = tier(query, number, upto, columns_of, share);
        let is_new = tiers.last().is_none_or(|last| last.words != tier.words);
        if is_new && tier.words.iter().all(|word| !word.terms.is_empty()) {
            tiers.push(tier);
        }
    }
    tiers
}

fn tier(query: &Expanded, number: u8, upto: Tier, columns: &[u8], share: f64) -> TierWords {
    let mut words = Vec::with_capacity(query.words.len());
    let mut frequencies = Vec::with_capacity(query.words.len());
    for word in &query.words {
        let variants = || word.variants.iter().filter(|variant| variant.tier <= upto);
        words.push(AnyOf {
            columns: columns.to_vec(),
            terms: variants().map(|variant| variant.terms.clone()).collect(),
        });
        frequencies.push(variants().map(|variant| u64::from(variant.frequency)).collect());
    }
    TierWords { number, words, frequencies, share }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rank::{Expected, Variant};

    fn variant(term: &str, tier: Tier, frequency: u32) -> Variant {
        Variant { terms: vec![term.to_owned()], tier, edits: 0, frequency }
    }

    fn word(variants: Vec<Variant>) -> Expected {
        Expected { text: "w".to_owned(), spelling: "w".to_owned(), phrase: false, variants }
    }

    fn query(words: Vec<Expected>) -> Expanded {
        Expanded { words, excluded: Vec::new() }
    }

    #[test]
    fn tiers_grow_from_the_best_fields_to_typos() {
        let red = word(vec![variant("red", Tier::Exact, 100), variant("reed", Tier::Typo, 10)]);
        let shoe = word(vec![variant("shoe", Tier::Exact, 50), variant("shoes", Tier::Prefix, 70)]);
        let tiers = tier_words(&query(vec![red, shoe]), &[0, 1], &[2.0, 1.0]);
        let numbers: Vec<u8> = tiers.iter().map(|tier| tier.number).collect();
        assert_eq!(numbers, [0, 1, 4, 5]);
        assert_eq!(tiers[0].words[0].columns, [0]);
        assert_eq!(tiers[1].words[1].terms, [["shoe"]]);
        assert_eq!(tiers[3].words[0].terms, [["red"], ["reed"]]);
        let [exact, all] = [1, 3].map(|at| tiers[at].estimate(1000.0));
        assert!(exact.upper <= 50.0 && (exact.expected - 5.0).abs() < 1e-9);
        assert!(all.expected > exact.expected && all.upper <= 110.0);
    }

    #[test]
    fn misspelt_word_has_no_exact_tier() {
        let tiers = tier_words(&query(vec![word(vec![variant("reed", Tier::Typo, 10)])]), &[0], &[1.0]);
        assert_eq!(tiers.iter().map(|tier| tier.number).collect::<Vec<_>>(), [5]);
        assert!(tier_words(&query(vec![word(Vec::new())]), &[0], &[1.0]).is_empty(), "an unknown word matches nothing");
    }

    #[test]
    fn long_query_loses_its_weakest_variants() {
        let variants = |count: usize| (0..count).map(|at| variant(&format!("{at:040}"), Tier::Typo, 1)).collect();
        let mut long = query(vec![word(variants(50)), word(variants(50)), word(variants(2))]);
        assert!(fit(&mut long, 3));
        let (bytes, words) = size(&long, 3);
        assert!(bytes <= QUERY_BYTES && words <= QUERY_WORDS);
        assert!(long.words[0].variants.len().abs_diff(long.words[1].variants.len()) <= 1, "the longest is cut first");
        assert_eq!(long.words[2].variants.len(), 2);
        assert!(!fit(&mut query((0..32).map(|_| word(variants(1))).collect()), 64), "32 words in 64 fields");
    }

    #[test]
    fn long_documents_leave_room_for_fewer_candidates() {
        let of = |most| [0, 100, 1_747, 5_000, 1 << 20].map(|bytes| candidates(bytes, most));
        assert_eq!(of(CANDIDATES), [300, 300, 300, 104, 50]);
        assert_eq!(of(1_000), [1_000, 1_000, 300, 104, 50], "the setting raises the maximum");
        assert_eq!(of(10), [10; 5], "and lowers it");
    }

    #[test]
    fn tier_that_vanished_is_the_one_before_it() {
        let red = |variants| tier_words(&query(vec![word(variants)]), &[0], &[1.0]);
        let tiers = red(vec![variant("red", Tier::Exact, 5), variant("redder", Tier::Prefix, 1)]);
        assert_eq!(
            [1, 3, 4, 5].map(|number| tier_upto(&tiers, number).map(|tier| tier.number)),
            [1, 1, 4, 4].map(Some)
        );
        let later = red(vec![variant("red", Tier::Exact, 5)]);
        assert_eq!(tier_upto(&later, 4), Some(&tiers[0]));
        assert_eq!(tier_upto(&later, 0), None, "only a weaker tier is left");
    }
}
