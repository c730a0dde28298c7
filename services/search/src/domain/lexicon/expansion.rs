//! Expansion of prefixes and misspelt words to terms of the lexicon.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Lexicon;
use super::automata::Similar;

/// Maximum number of expansions of a word.
pub const MAX_EXPANSIONS: usize = 50;
/// Letters from which a word may have one typo.
const ONE_EDIT: usize = 5;
/// Letters from which a word may have two typos, if the first letter is right.
const TWO_EDITS: usize = 9;
/// Letters up to which a word may have two typos; the automaton of a longer word would take milliseconds to build.
const MAX_TWO_EDITS: usize = 24;

/// Term of the lexicon that stands for a word of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expansion {
    /// Term.
    pub term: String,
    /// Edits between the word and the term, or the term's beginning; 0 if it only continues the word.
    pub edits: u8,
    /// Number of documents with the term.
    pub frequency: u32,
}

/// Collector of the best expansions: the fewest edits, then the most documents, then the order of the terms.
struct Best {
    limit: usize,
    kept: BTreeMap<(u8, Reverse<u32>, Box<str>), ()>,
}

/// Edits that a word may have: none for a short word or one with digits.
#[must_use]
pub fn typo_edits(word: &str) -> u8 {
    if word.chars().any(char::is_numeric) {
        return 0;
    }
    match word.chars().count() {
        0..ONE_EDIT => 0,
        TWO_EDITS..=MAX_TWO_EDITS => 2,
        _ => 1,
    }
}

// === impl Lexicon ===

impl Lexicon {
    /// Terms that continue `prefix`, the most frequent first, at most `limit` (up to [`MAX_EXPANSIONS`]).
    ///
    /// Work is bounded: a prefix with more than 2,048 terms has a list of its 64 most frequent ones, made with the transducer;
    /// under a prefix of more than 8 characters the first 2,048 terms are read. After changes that made terms rarer, a listed
    /// term may stand in the place of a more frequent one until the next merge.
    #[must_use]
    pub fn prefixes(&self, prefix: &str, limit: usize) -> Vec<Expansion> {
        let mut best = Best::new(limit);
        if prefix.is_empty() || prefix.starts_with('_') {
            return Vec::new();
        }
        let mut offer = |term: &str, frequency: u32| {
            if term.len() > prefix.len() {
                best.offer(term, 0, frequency);
            }
        };
        if let Some(listed) = self.base.listed(prefix) {
            let unchanged = listed.iter().filter(|(term, _)| self.overlay.changed(term).is_none());
            unchanged.for_each(|(term, frequency)| offer(term, *frequency));
            self.overlay.changed_from(prefix).for_each(|(term, frequency)| offer(term, frequency));
        } else {
            self.base.visit_prefix(prefix, |term, frequency| {
                offer(term, self.overlay.changed(term).unwrap_or(frequency));
            });
        }
        self.overlay.fresh_from(prefix).for_each(|(term, frequency)| offer(term, frequency));
        best.finish()
    }

    /// Terms that `word` may be a misspelling of: one edit from 5 letters, two from 9 to 24 if the first letter is right. A
    /// swap of neighbours is one edit. The fewest edits first, then the most frequent, at most `limit`.
    #[must_use]
    pub fn typos(&self, word: &str, limit: usize) -> Vec<Expansion> {
        self.similar(word, limit, false)
    }

    /// Terms whose beginning `word` may be a misspelling of, by the rules of [`Lexicon::typos`]. Terms that continue the word
    /// itself are left to [`Lexicon::prefixes`].
    #[must_use]
    pub fn prefix_typos(&self, word: &str, limit: usize) -> Vec<Expansion> {
        self.similar(word, limit, true)
    }

    /// Typos of a word, or of a prefix. One walk of the transducer finds one edit everywhere, a second one two edits among the
    /// terms with the same first letter; each has a budget of steps.
    fn similar(&self, word: &str, limit: usize, prefix: bool) -> Vec<Expansion> {
        let mut best = Best::new(limit);
        let allowed = typo_edits(word);
        let first = word.chars().next().map_or(0, char::len_utf8);
        for edits in 1..=allowed {
            let similar = Similar::new(word, edits, prefix);
            let start = if edits > 1 { &word[..first] } else { "" };
            let mut offer = |term: &str, frequency: u32| {
                if similar.edits(term) == Some(edits) && !term.starts_with('_') {
                    best.offer(term, edits, frequency);
                }
            };
            self.base.visit_similar(&similar.bounded(), start, |term, frequency| {
                offer(term, self.overlay.changed(term).unwrap_or(frequency));
            });
            self.overlay.fresh_from(start).for_each(|(term, frequency)| offer(term, frequency));
        }
        best.finish()
    }
}

// === impl Best ===

impl Best {
    fn new(limit: usize) -> Best {
        Best { limit: limit.min(MAX_EXPANSIONS), kept: BTreeMap::new() }
    }

    /// Keeps a term if it is among the best so far. Copies its text only then.
    fn offer(&mut self, term: &str, edits: u8, frequency: u32) {
        if frequency == 0 || self.limit == 0 {
            return;
        }
        if self.kept.len() >= self.limit {
            let worse = self.kept.last_key_value().is_some_and(|((last_edits, last_frequency, last), ())| {
                (edits, Reverse(frequency), term) < (*last_edits, *last_frequency, &**last)
            });
            if !worse {
                return;
            }
            self.kept.pop_last();
        }
        self.kept.insert((edits, Reverse(frequency), term.into()), ());
    }

    fn finish(self) -> Vec<Expansion> {
        let expansion = |((edits, Reverse(frequency), term), ()): ((u8, Reverse<u32>, Box<str>), ())| Expansion {
            term: term.into_string(),
            edits,
            frequency,
        };
        self.kept.into_iter().map(expansion).collect()
    }
}
