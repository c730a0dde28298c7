//! Frequencies of a question's terms and word-pieces among the memories that are searched.

use super::super::item::{Item, Session, Sketch};
use super::super::question::Question;

/// Frequencies from which the rarity of terms follows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Corpus {
    /// Memories.
    pub items: u32,
    /// Mean length of their texts, in words without stop words.
    pub mean_length: f32,
    /// Memories with each of the question's terms, in the order of those.
    pub terms: Vec<u32>,
    /// Memories with a sketch.
    pub sketched: u32,
    /// Memories with each of the question's word-pieces, in the order of those.
    pub pieces: Vec<u32>,
}

// === impl Corpus ===

impl Corpus {
    /// Counts the frequencies in `sessions`: those of a whole scope. A search that reads candidates alone takes
    /// `items`, `mean_length` and `terms` from the scope's counters.
    #[must_use]
    pub fn count(question: &Question, sessions: &[Session]) -> Corpus {
        let items = || sessions.iter().flat_map(|session| &session.items);
        let length: u64 = items().map(|item| u64::from(item.length)).sum();
        let number = items().count();
        let mut corpus = Corpus {
            items: narrow(number),
            mean_length: if number == 0 { 0.0 } else { length as f32 / number as f32 },
            terms: question
                .terms
                .iter()
                .map(|term| narrow(items().filter(|item| has_term(item, *term)).count()))
                .collect(),
            ..Corpus::default()
        };
        corpus.count_pieces(question, sessions);
        corpus
    }

    /// Adds memories of which only counters are known: their number, the sum of their lengths in words, and those with each of the
    /// question's terms.
    pub fn add(&mut self, items: u64, words: u64, terms: &[u64]) {
        let wide = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let sum = f64::from(self.mean_length) * f64::from(self.items) + words as f64;
        self.items = self.items.saturating_add(wide(items));
        #[expect(clippy::cast_possible_truncation, reason = "a mean of small numbers")]
        let mean = (sum / f64::from(self.items.max(1))) as f32;
        self.mean_length = mean;
        self.terms.iter_mut().zip(terms).for_each(|(own, more)| *own = own.saturating_add(wide(*more)));
    }

    /// Counts the frequencies of the question's word-pieces in other sessions than those of the terms.
    pub fn count_pieces(&mut self, question: &Question, sessions: &[Session]) {
        let sketches = || sessions.iter().flat_map(|session| &session.items).filter_map(|item| item.sketch.as_ref());
        self.sketched = narrow(sketches().count());
        self.pieces = pieces(question, sketches);
    }

    /// Rarity of the question's terms, in their order.
    pub(super) fn term_rarities(&self) -> Vec<f32> {
        self.terms.iter().map(|frequency| rarity(self.items, *frequency)).collect()
    }

    /// Rarity of the question's word-pieces, in their order.
    pub(super) fn piece_rarities(&self) -> Vec<f32> {
        self.pieces.iter().map(|frequency| rarity(self.sketched, *frequency)).collect()
    }
}

/// Memories with each of the question's word-pieces.
fn pieces<'a, S: Iterator<Item = &'a Sketch>>(question: &Question, sketches: impl Fn() -> S) -> Vec<u32> {
    let Some(sketch) = &question.sketch else { return Vec::new() };
    let count = |piece: &u16| narrow(sketches().filter(|sketch| sketch.pieces.contains(piece)).count());
    sketch.pieces.iter().map(count).collect()
}

fn has_term(item: &Item, hash: u32) -> bool {
    item.terms.binary_search_by_key(&hash, |term| term.hash).is_ok()
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Rarity of what `frequency` of `items` memories have, above 0: BM25's ln(1 + (N - n + 0.5) / (n + 0.5)).
pub(super) fn rarity(items: u32, frequency: u32) -> f32 {
    let (items, frequency) = (items.max(frequency) as f32, frequency as f32);
    ((items - frequency + 0.5) / (frequency + 0.5)).ln_1p()
}
