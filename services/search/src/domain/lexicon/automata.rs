//! Automata that accept the terms within one or two edits of a word.

use std::cell::Cell;
use std::sync::LazyLock;

use fst::Automaton;
use levenshtein_automata::{DFA, Distance, LevenshteinAutomatonBuilder, SINK_STATE};

/// Steps of an automaton in the transducer, 40 ns each. A usual word takes some thousands; a lexicon made to be slow ends here,
/// with the terms that were found until then.
const BUDGET: u32 = 30_000;

/// Tables for one edit; a transposition counts as one.
static ONE: LazyLock<LevenshteinAutomatonBuilder> = LazyLock::new(|| LevenshteinAutomatonBuilder::new(1, true));
/// Tables for two edits.
static TWO: LazyLock<LevenshteinAutomatonBuilder> = LazyLock::new(|| LevenshteinAutomatonBuilder::new(2, true));

/// Distance of a state that accepts nothing.
const FAR: u8 = u8::MAX;

/// Automaton of a word.
pub(super) struct Similar {
    dfa: DFA,
    /// True if a term matches by its beginning. The library's own automaton for that misses some terms, whose best beginning
    /// is followed by letters that might have made a better one.
    prefix: bool,
}

/// State of [`Similar`].
#[derive(Clone, Copy)]
pub(super) struct Progress {
    state: u32,
    /// Edits of the term so far, or of its best beginning; [`FAR`] beyond the limit.
    edits: u8,
}

/// Automaton with a budget of steps.
pub(super) struct Bounded<'a> {
    similar: &'a Similar,
    left: Cell<u32>,
}

// === impl Similar ===

impl Similar {
    /// Accepts terms within `edits` (1 or 2) of `word`; with `prefix`, terms that start with one.
    pub(super) fn new(word: &str, edits: u8, prefix: bool) -> Similar {
        let builder = if edits > 1 { &*TWO } else { &*ONE };
        Similar { dfa: builder.build_dfa(word), prefix }
    }

    /// Automaton for one walk.
    pub(super) fn bounded(&self) -> Bounded<'_> {
        Bounded { similar: self, left: Cell::new(BUDGET) }
    }

    /// Edits between the word and `term`, if they are within the limit.
    pub(super) fn edits(&self, term: &str) -> Option<u8> {
        let mut progress = self.first();
        for byte in term.bytes() {
            progress = self.next(progress, byte);
            if progress.state == SINK_STATE {
                break;
            }
        }
        Some(progress.edits).filter(|edits| *edits != FAR)
    }

    fn first(&self) -> Progress {
        let state = self.dfa.initial_state();
        Progress { state, edits: self.distance(state) }
    }

    fn next(&self, progress: Progress, byte: u8) -> Progress {
        let state = self.dfa.transition(progress.state, byte);
        let edits = self.distance(state);
        Progress { state, edits: if self.prefix { edits.min(progress.edits) } else { edits } }
    }

    fn distance(&self, state: u32) -> u8 {
        match self.dfa.distance(state) {
            Distance::Exact(edits) => edits,
            Distance::AtLeast(_) => FAR,
        }
    }
}

// === impl Bounded ===

impl Automaton for &Bounded<'_> {
    type State = Progress;

    fn start(&self) -> Progress {
        self.similar.first()
    }

    fn is_match(&self, progress: &Progress) -> bool {
        progress.edits != FAR
    }

    fn can_match(&self, progress: &Progress) -> bool {
        (progress.state != SINK_STATE || progress.edits != FAR) && self.left.get() > 0
    }

    fn accept(&self, progress: &Progress, byte: u8) -> Progress {
        self.left.set(self.left.get().saturating_sub(1));
        self.similar.next(*progress, byte)
    }
}
