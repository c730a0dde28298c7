//! Ranking of memories for a question.
//!
//! | step | score |
//! |---|---|
//! | own | `.6·(cosine − mean) + .3·bm25/max + 2·(interaction − mean)`; means and maximum over the candidates |
//! | neighbours | own + `.2` of the memories next to it in the conversation, `.1` of those two places away |
//! | session | + `.4` of the session's best so far |
//! | cues | + `.4` if the question names one speaker or entity and the memory is theirs; + `.8` by the event's closeness to its dates |
//! | length | − `.1·max(0, ln(tokens / 64))` |
//! | use | × a factor of 0.8 to 1 by last use and importance; a score below 0 is divided by it |
//!
//! A memory without a vector or sketch counts as the mean. The score depends on the question, the candidates and the corpus
//! alone, not on how the candidates were found.

mod corpus;
mod cues;
mod neighbours;
mod parts;
#[cfg(test)]
mod tests;
mod weights;

use super::item::{Item, Session};
use super::question::{Question, closeness};
use cues::Named;
use parts::Values;

pub use corpus::Corpus;
pub use weights::Weights;

/// Memory with its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Place of its session among the ranked sessions.
    pub session: usize,
    /// Place in the session's items.
    pub item: usize,
    /// Score; higher is better. Scores of different questions do not compare.
    pub score: f32,
    /// Terms of the score.
    pub explain: Explain,
}

/// Terms of a score: `score` is the sum of all but the last, times the factor (divided by it if the sum is below 0).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Explain {
    /// Weighted cosine, less the mean.
    pub cosine: f32,
    /// Weighted share of the best BM25.
    pub lexical: f32,
    /// Weighted late interaction, less the mean; 0 if it is off.
    pub interaction: f32,
    /// Lent by the neighbours in the conversation.
    pub neighbours: f32,
    /// Lent by the best of the session.
    pub session: f32,
    /// Bonus of the speaker or entity.
    pub named: f32,
    /// Bonus of the date.
    pub dated: f32,
    /// Malus of the length, 0 or less.
    pub length: f32,
    /// Factor of use and importance, 0.8 to 1.
    pub factor: f32,
}

/// Ranks all items of `sessions`, the best first; equal scores stay in the order of the sessions.
///
/// Linear in the items, times their word-pieces and those of the question.
#[must_use]
pub fn rank(question: &Question, sessions: &[Session], corpus: &Corpus, weights: &Weights) -> Vec<Scored> {
    let own = own_scores(question, sessions, corpus, weights);
    let named = Named::find(question, sessions);
    let mut scored = Vec::with_capacity(own.len());
    let mut own = &own[..];
    for (number, session) in sessions.iter().enumerate() {
        let (these, rest) = own.split_at(session.items.len());
        own = rest;
        let placed = place(session, these, weights);
        let finished = session.items.iter().zip(placed).enumerate().map(|(at, (item, explain))| {
            let explain = with_cues(explain, item, question, named, weights);
            Scored { session: number, item: at, score: explain.score(), explain }
        });
        scored.extend(finished);
    }
    scored.sort_by(|a, b| b.score.total_cmp(&a.score));
    scored
}

/// Terms that the memories have by themselves.
fn own_scores(question: &Question, sessions: &[Session], corpus: &Corpus, weights: &Weights) -> Vec<Explain> {
    let has_vector = |item: &Item| item.vector.is_some();
    let has_sketch = |item: &Item| item.sketch.is_some();
    let cosines = centred(parts::cosines(question, sessions), sessions, has_vector);
    let lexical = shares(parts::lexical(question, sessions, corpus, weights));
    let interactions = if weights.interaction == 0.0 {
        vec![0.0; cosines.len()]
    } else {
        centred(parts::interactions(question, sessions, corpus, weights), sessions, has_sketch)
    };
    let terms = cosines.into_iter().zip(lexical).zip(interactions);
    terms
        .map(|((cosine, lexical), interaction)| Explain {
            cosine: weights.cosine * cosine,
            lexical: weights.lexical * lexical,
            interaction: weights.interaction * interaction,
            factor: 1.0,
            ..Explain::default()
        })
        .collect()
}

/// Values less the mean of the items that have one; 0 for the others.
fn centred(values: Values, sessions: &[Session], has_one: fn(&Item) -> bool) -> Values {
    let with = || values.iter().zip(parts::items(sessions)).filter(|(_, item)| has_one(item));
    let (sum, count) = with().fold((0.0, 0.0), |(sum, count), (value, _)| (sum + f64::from(*value), count + 1.0));
    #[expect(clippy::cast_possible_truncation, reason = "a mean of 32-bit values")]
    let mean = if count > 0.0 { (sum / count) as f32 } else { 0.0 };
    let centre = |(value, item): (&f32, &Item)| if has_one(item) { value - mean } else { 0.0 };
    values.iter().zip(parts::items(sessions)).map(centre).collect()
}

/// Values as shares of their maximum; all 0 if that is 0.
fn shares(values: Values) -> Values {
    let most = values.iter().copied().fold(0.0, f32::max);
    if most > 0.0 { values.into_iter().map(|value| value / most).collect() } else { values }
}

/// Adds what the place in the conversation gives.
fn place(session: &Session, own: &[Explain], weights: &Weights) -> Vec<Explain> {
    let sums: Values = own.iter().map(Explain::own).collect();
    let lent: Values = (0..own.len()).map(|at| neighbours::lent(session, &sums, at, weights)).collect();
    let joined: Values = sums.iter().zip(&lent).map(|(own, lent)| own + lent).collect();
    let best = neighbours::bests(session, &joined);
    let terms = own.iter().zip(lent).zip(best);
    terms.map(|((own, lent), best)| Explain { neighbours: lent, session: weights.session * best, ..*own }).collect()
}

/// Adds names, dates, length, use and importance.
fn with_cues(place: Explain, item: &Item, question: &Question, named: Option<Named<'_>>, weights: &Weights) -> Explain {
    let is_theirs = named.is_some_and(|named| named.has(item));
    Explain {
        named: if is_theirs { weights.named } else { 0.0 },
        dated: weights.dated * closeness(&question.dates, item.time),
        length: -weights.length * (item.tokens as f32 / weights.length_pivot).max(1.0).ln(),
        factor: factor(item, question.now, weights),
        ..place
    }
}

/// Factor of use and importance.
fn factor(item: &Item, now: i64, weights: &Weights) -> f32 {
    let idle = now.saturating_sub(item.accessed).max(0) as f32;
    let recency = (-idle / weights.half_life).exp2();
    let importance = f32::from(item.importance) / 255.0;
    1.0 - weights.recency * (1.0 - recency) - weights.importance * (1.0 - importance)
}

// === impl Explain ===

impl Explain {
    /// Names and values of the terms, in the order of the sum; the factor is the last.
    #[must_use]
    pub fn terms(&self) -> [(&'static str, f32); 9] {
        [
            ("cosine", self.cosine),
            ("lexical", self.lexical),
            ("interaction", self.interaction),
            ("neighbours", self.neighbours),
            ("session", self.session),
            ("named", self.named),
            ("dated", self.dated),
            ("length", self.length),
            ("factor", self.factor),
        ]
    }

    /// Score of the terms.
    #[must_use]
    pub fn score(&self) -> f32 {
        let sum = self.own() + self.neighbours + self.session + self.named + self.dated + self.length;
        if sum < 0.0 { sum / self.factor } else { sum * self.factor }
    }

    fn own(&self) -> f32 {
        self.cosine + self.lexical + self.interaction
    }
}
