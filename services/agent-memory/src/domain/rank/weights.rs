//! Constants of the ranking, in one table.
//!
//! They come from a study of dialogues with known evidence, in another program: halving or doubling one moved the recall of
//! evidence by at most 0.7 points on dialogues and 1.5 on long messages that were split. `just bench recall` measures this code.

/// Constants of the ranking. A weight of 0 takes its part out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Weight of the cosine, less the candidates' mean.
    pub cosine: f32,
    /// Weight of BM25, as a share of the candidates' maximum.
    pub lexical: f32,
    /// Saturation of a term's frequency, BM25's k1.
    pub saturation: f32,
    /// Influence of the text's length, BM25's b.
    pub length_norm: f32,
    /// Weight of the late interaction, less the candidates' mean.
    pub interaction: f32,
    /// Share of a better match of a word-piece among the neighbours that a memory borrows.
    pub borrowed: f32,
    /// Share of the score of the memories directly before and after it in a conversation.
    pub near: f32,
    /// Share of the score of the memories two places before and after it.
    pub far: f32,
    /// Share of the best score of its session.
    pub session: f32,
    /// Bonus of memories of the only speaker or entity that the question names.
    pub named: f32,
    /// Bonus of an event on a date that the question names; times the closeness to it.
    pub dated: f32,
    /// Malus of a long text, times the logarithm of its tokens over [`Self::length_pivot`].
    pub length: f32,
    /// Tokens up to which a text has no malus.
    pub length_pivot: f32,
    /// Share of the score that a memory loses while it is not used, at most.
    pub recency: f32,
    /// Time without use after which half of that share is lost, in milliseconds.
    pub half_life: f32,
    /// Share of the score that a memory without importance loses.
    pub importance: f32,
}

// === impl Weights ===

impl Weights {
    /// Constants of the service.
    pub const SERVICE: Weights = Weights {
        cosine: 0.6,
        lexical: 0.3,
        saturation: 1.2,
        length_norm: 0.75,
        interaction: 2.0,
        borrowed: 0.3,
        near: 0.2,
        far: 0.1,
        session: 0.4,
        named: 0.4,
        dated: 0.8,
        length: 0.1,
        length_pivot: 64.0,
        recency: 0.12,
        half_life: 7.0 * 86_400_000.0,
        importance: 0.08,
    };

    /// Constants of a measurement of evidence: relevance alone, without use and importance.
    pub const RELEVANCE: Weights = Weights { recency: 0.0, importance: 0.0, ..Weights::SERVICE };
}

impl Default for Weights {
    fn default() -> Weights {
        Weights::SERVICE
    }
}
