//! Expansion of a query's words to terms of the lexicon.

use std::cmp::Reverse;

use super::super::lexicon::{Expansion, Lexicon, MAX_EXPANSIONS};
use super::super::query::{Query, Word};
use super::{Expanded, Expected, Tier, Variant};

/// Continuations of a word among its expansions, if it may have typos too.
const MAX_CONTINUATIONS: usize = 30;

/// Words of a query that may have typos, the first ones. Each takes up to some milliseconds of a lexicon made to be slow.
const MAX_MISSPELT: usize = 8;

/// Expands the words of a query. Variants that no document has are left out; at most [`MAX_EXPANSIONS`] of a word are prefixes
/// and typos. Only the first eight words that may have typos get any.
#[must_use]
pub fn expand(query: &Query, lexicon: &Lexicon) -> Expanded {
    let mut misspelt = 0;
    let words = query.words.iter().map(|word| {
        misspelt += usize::from(word.typos > 0);
        expand_word(word, misspelt <= MAX_MISSPELT, lexicon)
    });
    let phrases = query.phrases.iter().map(|phrase| Expected {
        text: phrase.text.clone(),
        spelling: String::new(),
        phrase: true,
        variants: variant(&phrase.terms, Tier::Exact, 0, lexicon).into_iter().collect(),
    });
    let excluded = query.exclusions.iter().flat_map(|exclusion| exclusion.any.iter().cloned());
    Expanded { words: words.chain(phrases).collect(), excluded: excluded.collect() }
}

fn expand_word(word: &Word, misspelt: bool, lexicon: &Lexicon) -> Expected {
    let misspelt = misspelt && word.typos > 0;
    let candidates = word.candidates.iter();
    let mut variants: Vec<Variant> =
        candidates.filter_map(|candidate| variant(&candidate.terms, candidate.tier, 0, lexicon)).collect();
    let mut add = |found: Vec<Expansion>, before: &[String], tier: Tier, limit: usize| {
        let mut added = 0;
        for Expansion { term, edits, .. } in found {
            let terms = [before, &[term]].concat();
            if added < limit && !variants.iter().any(|variant| variant.terms == terms) {
                let variant = variant(&terms, tier, edits, lexicon);
                added += usize::from(variant.is_some());
                variants.extend(variant);
            }
        }
        added
    };
    let mut left = MAX_EXPANSIONS;
    if word.prefix {
        let limit = if misspelt { MAX_CONTINUATIONS } else { MAX_EXPANSIONS };
        left -= add(lexicon.prefixes(&word.surface, MAX_EXPANSIONS), &word.before, Tier::Prefix, limit);
        if let Some((last, before)) = word.parts.split_last() {
            let limit = limit.min(left);
            left -= add(lexicon.prefixes(last, MAX_EXPANSIONS), before, Tier::Prefix, limit);
        }
    }
    if misspelt {
        left -= add(lexicon.typos(&word.surface, MAX_EXPANSIONS), &word.before, Tier::Typo, left);
        if word.prefix {
            add(lexicon.prefix_typos(&word.surface, MAX_EXPANSIONS), &word.before, Tier::Typo, left);
        }
    }
    variants.sort_by_key(|variant| (variant.tier, variant.edits, Reverse(variant.frequency)));
    Expected { text: word.text.clone(), spelling: word.spelling.clone(), phrase: false, variants }
}

/// Adjacent terms as a variant, if documents have them all.
fn variant(terms: &[String], tier: Tier, edits: u8, lexicon: &Lexicon) -> Option<Variant> {
    let frequency = terms.iter().map(|term| lexicon.frequency(term)).min().filter(|frequency| *frequency > 0)?;
    Some(Variant { terms: terms.to_vec(), tier, edits, frequency })
}
