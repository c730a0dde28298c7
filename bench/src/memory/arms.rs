//! Rankings that are compared: the recipe, its parts in turn, and the usual ones.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use keyplane_agent_memory::domain::Session;
use keyplane_agent_memory::domain::question::Question;
use keyplane_agent_memory::domain::rank::{Corpus, Explain, Scored, Weights, rank};

/// Candidates of each kind.
const CANDIDATES: usize = 200;
/// Neighbours of a candidate on each side.
const REACH: u32 = 2;

/// Ranking under measurement.
#[derive(Clone, Debug)]
pub(super) struct Arm {
    pub name: &'static str,
    weights: Weights,
    source: Source,
    /// False to forget the question's names and dates.
    cues: bool,
    /// False for a date line of its own for each memory.
    pub blocks: bool,
    /// False to stop at the first memory that does not fit.
    pub skip: bool,
}

/// Memories that are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Whole scope.
    Whole,
    /// Nearest vectors and best BM25, with their neighbours.
    Candidates,
    /// Whole scope, the newest first.
    Newest,
}

/// Weights of a ranking by cosine and BM25 alone.
const BARE: Weights = Weights {
    cosine: 1.0,
    lexical: 0.0,
    interaction: 0.0,
    borrowed: 0.0,
    near: 0.0,
    far: 0.0,
    session: 0.0,
    named: 0.0,
    dated: 0.0,
    length: 0.0,
    ..Weights::RELEVANCE
};

// === impl Arm ===

impl Arm {
    fn new(name: &'static str, weights: Weights) -> Arm {
        Arm { name, weights, source: Source::Whole, cues: true, blocks: true, skip: true }
    }

    /// Recipe, and the usual rankings.
    pub(super) fn compared() -> Vec<Arm> {
        vec![
            Arm::new("recipe, whole scope", Weights::RELEVANCE),
            Arm { source: Source::Candidates, ..Arm::new("recipe, candidates", Weights::RELEVANCE) },
            Arm { cues: false, ..Arm::new("recipe, no speaker or date cues", Weights::RELEVANCE) },
            Arm::new("vector-only", BARE),
            Arm::new("cosine + BM25", Weights { cosine: 0.6, lexical: 0.4, ..BARE }),
            Arm { source: Source::Newest, ..Arm::new("newest turns", BARE) },
        ]
    }

    /// Recipe without each of its parts in turn.
    pub(super) fn ablated() -> Vec<Arm> {
        let all = Weights::RELEVANCE;
        vec![
            Arm::new("− cosine", Weights { cosine: 0.0, ..all }),
            Arm::new("− BM25", Weights { lexical: 0.0, ..all }),
            Arm::new("− late interaction", Weights { interaction: 0.0, ..all }),
            Arm::new("− matches borrowed of neighbours", Weights { borrowed: 0.0, ..all }),
            Arm::new("− neighbours' score", Weights { near: 0.0, far: 0.0, ..all }),
            Arm::new("− session's best", Weights { session: 0.0, ..all }),
            Arm::new("− speaker or entity", Weights { named: 0.0, ..all }),
            Arm::new("− dates", Weights { dated: 0.0, ..all }),
            Arm::new("− length", Weights { length: 0.0, ..all }),
            Arm { blocks: false, ..Arm::new("− blocks (a date for each)", all) },
            Arm { skip: false, ..Arm::new("− skipping what does not fit", all) },
            Arm::new("+ recency and importance", Weights::SERVICE),
        ]
    }

    /// Ranked memories, the best first.
    pub(super) fn rank(&self, question: &Question, sessions: &[Session], whole: &Corpus) -> Vec<Scored> {
        let uncued = (!self.cues).then(|| question.clone().without_cues());
        let question = uncued.as_ref().unwrap_or(question);
        match self.source {
            Source::Whole => rank(question, sessions, whole, &self.weights),
            Source::Candidates => self.rank_candidates(question, sessions, whole),
            Source::Newest => newest(sessions),
        }
    }

    /// Ranks the candidates as the service does: frequencies of terms are the scope's, those of word-pieces the candidates'.
    fn rank_candidates(&self, question: &Question, sessions: &[Session], whole: &Corpus) -> Vec<Scored> {
        let places = candidates(question, sessions, whole);
        let mut chosen = Vec::new();
        let mut origins = Vec::new();
        for (number, session) in sessions.iter().enumerate() {
            let own: Vec<usize> = places.range((number, 0)..(number + 1, 0)).map(|(_, item)| *item).collect();
            let items = own.iter().map(|item| session.items[*item].clone()).collect();
            chosen.push(Session { id: session.id.clone(), conversation: session.conversation, items });
            origins.push(own);
        }
        let found = Corpus::count(question, &chosen);
        let corpus = Corpus { sketched: found.sketched, pieces: found.pieces, ..whole.clone() };
        let mut scored = rank(question, &chosen, &corpus, &self.weights);
        scored.iter_mut().for_each(|scored| scored.item = origins[scored.session][scored.item]);
        scored
    }
}

/// Places of the nearest vectors and the best by BM25, with their neighbours.
fn candidates(question: &Question, sessions: &[Session], whole: &Corpus) -> BTreeSet<(usize, usize)> {
    let lexical = Weights { cosine: 0.0, lexical: 1.0, ..BARE };
    let best = |weights: &Weights| rank(question, sessions, whole, weights).into_iter().take(CANDIDATES);
    let with_words = best(&lexical).filter(|scored| scored.score > 0.0);
    let mut places = BTreeSet::new();
    for scored in best(&BARE).chain(with_words) {
        let items = &sessions[scored.session].items;
        let sequence = items[scored.item].sequence;
        let range = scored.item.saturating_sub(REACH as usize)..(scored.item + REACH as usize + 1).min(items.len());
        let near = range.filter(|item| items[*item].sequence.abs_diff(sequence) <= REACH);
        places.extend(near.map(|item| (scored.session, item)));
    }
    places
}

fn newest(sessions: &[Session]) -> Vec<Scored> {
    let places =
        sessions.iter().enumerate().flat_map(|(session, of)| (0..of.items.len()).map(move |item| (session, item)));
    let mut scored: Vec<Scored> =
        places.map(|(session, item)| Scored { session, item, score: 0.0, explain: Explain::default() }).collect();
    scored.sort_by_key(|scored| {
        let item = &sessions[scored.session].items[scored.item];
        Reverse((item.time, scored.session, item.sequence))
    });
    scored
}
