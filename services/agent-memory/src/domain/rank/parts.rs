//! Parts of the score that a memory has by itself: cosine, BM25, late interaction.

use super::super::item::{Item, Session};
use super::super::question::Question;
use super::corpus::Corpus;
use super::neighbours::around;
use super::weights::Weights;

/// Values of one part, in the order of the sessions' items.
pub(super) type Values = Vec<f32>;

/// Cosine of each memory; 0 where it or the question has no vector.
pub(super) fn cosines(question: &Question, sessions: &[Session]) -> Values {
    let cosine = |item: &Item| match (&question.vector, &item.vector) {
        (Some(query), Some(vector)) => vector.cosine(query),
        (None, _) | (_, None) => 0.0,
    };
    items(sessions).map(cosine).collect()
}

/// BM25 of each memory (<https://en.wikipedia.org/wiki/Okapi_BM25>).
pub(super) fn lexical(question: &Question, sessions: &[Session], corpus: &Corpus, weights: &Weights) -> Values {
    let rarities = corpus.term_rarities();
    let words: Vec<(u32, f32)> = question.terms.iter().copied().zip(rarities).collect();
    items(sessions).map(|item| bm25(item, &words, corpus.mean_length, weights)).collect()
}

fn bm25(item: &Item, words: &[(u32, f32)], mean_length: f32, weights: &Weights) -> f32 {
    let relative = if mean_length > 0.0 { item.length as f32 / mean_length } else { 1.0 };
    let norm = weights.saturation * (1.0 - weights.length_norm + weights.length_norm * relative);
    let weight = |(hash, rarity): &(u32, f32)| {
        let at = item.terms.binary_search_by_key(hash, |term| term.hash).ok()?;
        let frequency = f32::from(item.terms[at].frequency);
        Some(rarity * frequency * (weights.saturation + 1.0) / (frequency + norm))
    };
    words.iter().filter_map(weight).sum()
}

/// Late interaction of each memory: the mean over the question's word-pieces, weighted by rarity, of the best match among the
/// memory's word-pieces; a better match among its neighbours lends a share. 0 without sketches.
pub(super) fn interactions(question: &Question, sessions: &[Session], corpus: &Corpus, weights: &Weights) -> Values {
    let mut sums = vec![0.0; items(sessions).count()];
    let Some(sketch) = &question.sketch else { return sums };
    let rarities = corpus.piece_rarities();
    let total: f32 = rarities.iter().sum();
    if total <= 0.0 {
        return sums;
    }
    for (piece, rarity) in sketch.each().zip(rarities) {
        let matches: Values = items(sessions).map(|item| best_match(item, piece)).collect();
        add_borrowed(&mut sums, sessions, &matches, weights.borrowed, rarity / total);
    }
    sums
}

fn best_match(item: &Item, piece: &[u64]) -> f32 {
    item.sketch.as_ref().map_or(0.0, |sketch| sketch.best_match(piece))
}

/// Adds the matches of one word-piece, each with its share of the best match among the neighbours.
fn add_borrowed(sums: &mut [f32], sessions: &[Session], matches: &[f32], share: f32, weight: f32) {
    let mut start = 0;
    for session in sessions {
        let own = &matches[start..start + session.items.len()];
        for (at, (sum, value)) in sums[start..].iter_mut().zip(own).enumerate() {
            let best = around(session, at).map(|(neighbour, _)| own[neighbour]).fold(*value, f32::max);
            *sum += weight * (value + share * (best - value));
        }
        start += session.items.len();
    }
}

/// All items, session by session.
pub(super) fn items(sessions: &[Session]) -> impl Iterator<Item = &Item> {
    sessions.iter().flat_map(|session| &session.items)
}
