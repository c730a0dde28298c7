//! Words of a search: the terms that match them, and the tiers in which they are looked for.

use super::profile::TextField;
use crate::app::planner::{TierWords, fit, tier_words};
use crate::domain::lexicon::Lexicon;
use crate::domain::query::Query;
use crate::domain::rank::{Expanded, expand};

/// Words of a search.
#[derive(Debug)]
pub(super) struct Text {
    /// Words with the terms of the collection that match them.
    pub(super) query: Expanded,
    /// Ordinals of the searched columns.
    pub(super) columns: Vec<u8>,
    /// Weight of each text column by ordinal; 0 for one that is not searched.
    pub(super) weights: Vec<f32>,
    /// Tiers from the best; the last has all matches. Empty if no document has every word.
    pub(super) tiers: Vec<TierWords>,
    /// Excluded words of one term.
    pub(super) not_words: Vec<String>,
    /// True if the index can't decide: words must be adjacent.
    pub(super) is_checked: bool,
}

// === impl Text ===

impl Text {
    /// Words of a parsed query; none if they don't fit into one query of the index.
    pub(super) fn new(query: &Query, lexicon: &Lexicon, searched: Vec<TextField>) -> Option<Text> {
        let mut query = expand(query, lexicon);
        if !fit(&mut query, searched.len()) {
            return None;
        }
        let columns: Vec<u8> = searched.iter().map(|field| field.column).collect();
        let length = columns.iter().max().map_or(0, |last| usize::from(*last) + 1);
        let mut weights = vec![0.0; length];
        searched.iter().for_each(|field| weights[usize::from(field.column)] = field.weight);
        let tiers = tier_words(&query, &columns, &weights);
        let single = query.excluded.iter().filter(|terms| terms.len() == 1);
        let not_words = single.flatten().cloned().collect();
        let variants = query.words.iter().flat_map(|word| &word.variants).map(|variant| &variant.terms);
        let is_checked = variants.chain(&query.excluded).any(|terms| terms.len() > 1);
        Some(Text { query, columns, weights, tiers, not_words, is_checked })
    }

    /// Returns whether a word has no term in the collection.
    pub(super) fn is_hopeless(&self) -> bool {
        self.query.words.iter().any(|word| word.variants.is_empty())
    }

    /// Lists of terms to mark.
    pub(super) fn lists(&self) -> impl Iterator<Item = &[String]> {
        self.query.words.iter().flat_map(|word| &word.variants).map(|variant| &variant.terms[..])
    }
}
