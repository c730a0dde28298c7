//! Lexicon: the terms of one collection, and the number of documents that hold each.
//!
//! Terms lie in a finite-state transducer, which later changes overlay. Prefixes and typos are expanded to exact terms here, so
//! that the engine never sees a wildcard. Terms that start with `_` are stems: they have a frequency and are never expansions.

mod automata;
mod base;
mod expansion;
mod overlay;
#[cfg(test)]
mod tests;
mod version;

use std::sync::Arc;

pub use expansion::{Expansion, MAX_EXPANSIONS, typo_edits};
pub use version::LogId;

use base::Base;
use overlay::Overlay;

/// Terms of a collection's generation and their document frequencies, at one version. A change makes a new lexicon that shares
/// the transducer with the old one.
#[derive(Clone, Debug)]
pub struct Lexicon {
    base: Arc<Base>,
    overlay: Overlay,
    version: LogId,
}

// === impl Lexicon ===

impl Lexicon {
    /// Lexicon without terms, at the beginning of the log.
    #[must_use]
    pub fn empty() -> Lexicon {
        Lexicon::build(Vec::new(), LogId::default())
    }

    /// Builds a lexicon of terms with their frequencies, in any order. A repeated term keeps its largest frequency, and terms
    /// without documents are left out. Takes about 1 µs a term, so large ones belong on a thread that may block.
    #[must_use]
    pub fn build(mut terms: Vec<(String, u32)>, version: LogId) -> Lexicon {
        terms.retain(|(_, frequency)| *frequency > 0);
        terms.sort_unstable_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1)));
        terms.dedup_by(|later, earlier| later.0 == earlier.0);
        Lexicon { base: Arc::new(Base::build(&terms)), overlay: Overlay::default(), version }
    }

    /// Lexicon after `changes`, pairs of a term and its frequency from then on; 0 removes the term. Changes that are applied
    /// already do no harm. Copies the overlay, which [`Lexicon::is_heavy`] keeps small.
    #[must_use]
    pub fn changed<'a>(&self, changes: impl IntoIterator<Item = (&'a str, u32)>, version: LogId) -> Lexicon {
        let mut overlay = self.overlay.clone();
        for (term, frequency) in changes {
            overlay.set(term, frequency, self.base.frequency(term));
        }
        Lexicon { base: Arc::clone(&self.base), overlay, version: version.max(self.version) }
    }

    /// Returns whether the overlay is large enough to be merged by [`Lexicon::merged`].
    #[must_use]
    pub fn is_heavy(&self) -> bool {
        self.overlay.is_heavy(self.base.len())
    }

    /// Lexicon of the same terms with an empty overlay. Takes about 1 µs a term.
    #[must_use]
    pub fn merged(&self) -> Lexicon {
        let mut terms = Vec::with_capacity(self.base.len() + self.overlay.fresh().len());
        self.base.visit(|term, frequency| {
            terms.push((term.to_owned(), self.overlay.changed(term).unwrap_or(frequency)));
        });
        terms.extend(self.overlay.fresh().iter().map(|(term, frequency)| (term.to_string(), *frequency)));
        Lexicon::build(terms, self.version)
    }

    /// The same terms over the transducer of `merged`, which is [`Lexicon::merged`] of `before`, an earlier version of this one.
    /// None if this one has another transducer than `before`. Takes about 1 µs a change.
    #[must_use]
    pub fn over(&self, merged: &Lexicon, before: &Lexicon) -> Option<Lexicon> {
        if !Arc::ptr_eq(&self.base, &before.base) {
            return None;
        }
        let mut overlay = Overlay::default();
        // A change that `before` had and that was undone since then is absent here, and present in `merged`.
        let undone = before.overlay.all().filter(|(term, _)| self.overlay.get(term).is_none());
        let undone = undone.map(|(term, _)| (term, self.base.frequency(term)));
        for (term, frequency) in undone.chain(self.overlay.all()) {
            overlay.set(term, frequency, merged.base.frequency(term));
        }
        Some(Lexicon { base: Arc::clone(&merged.base), overlay, version: self.version })
    }

    /// Number of documents that hold `term`; 0 for an unknown one.
    #[must_use]
    pub fn frequency(&self, term: &str) -> u32 {
        self.overlay.get(term).unwrap_or_else(|| self.base.frequency(term))
    }

    /// Log entry up to which changes are applied.
    #[must_use]
    pub fn version(&self) -> LogId {
        self.version
    }

    /// Approximate size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.base.bytes() + self.overlay.bytes()
    }

    /// Number of changes in the overlay.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.overlay.len()
    }

    /// Number of terms, stems included.
    #[must_use]
    pub fn terms(&self) -> usize {
        self.base.len() + self.overlay.fresh().len() - self.overlay.removed()
    }
}

impl Default for Lexicon {
    fn default() -> Lexicon {
        Lexicon::empty()
    }
}
