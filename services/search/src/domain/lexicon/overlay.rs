//! Overlay: changes of a lexicon since its transducer was built.

use std::collections::BTreeMap;
use std::sync::Arc;

/// New terms at which the overlay is merged: each typo looks at all of them.
const MAX_FRESH: usize = 8_192;
/// Changed frequencies at which the overlay is merged: a short prefix looks at all of its range.
const MAX_CHANGED: usize = 32_768;
/// Terms below which an overlay is never merged.
const MIN_MERGED: usize = 1_024;
/// Bytes of an entry besides its text.
const ENTRY: usize = 48;

/// Changes by term.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlay {
    /// Frequencies of terms that the transducer has; 0 removes one.
    changed: BTreeMap<Arc<str>, u32>,
    /// Frequencies of terms that the transducer lacks; never 0.
    fresh: BTreeMap<Arc<str>, u32>,
    removed: usize,
    bytes: usize,
}

// === impl Overlay ===

impl Overlay {
    /// Sets a frequency; `base` is the transducer's.
    pub(super) fn set(&mut self, term: &str, frequency: u32, base: u32) {
        if base > 0 && frequency == base {
            self.restore(term);
        } else if base > 0 {
            let old = self.changed.insert(term.into(), frequency);
            self.removed -= usize::from(old == Some(0));
            self.removed += usize::from(frequency == 0);
            self.bytes += if old.is_none() { term.len() + ENTRY } else { 0 };
        } else if frequency > 0 {
            let old = self.fresh.insert(term.into(), frequency);
            self.bytes += if old.is_none() { term.len() + ENTRY } else { 0 };
        } else if self.fresh.remove(term).is_some() {
            self.bytes -= term.len() + ENTRY;
        }
    }

    /// Forgets the change of a term of the transducer.
    fn restore(&mut self, term: &str) {
        if let Some(old) = self.changed.remove(term) {
            self.removed -= usize::from(old == 0);
            self.bytes -= term.len() + ENTRY;
        }
    }

    /// All changes.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, u32)> {
        self.changed.iter().chain(&self.fresh).map(|(term, frequency)| (&**term, *frequency))
    }

    /// Frequency of a term that changed.
    pub(super) fn get(&self, term: &str) -> Option<u32> {
        self.changed(term).or_else(|| self.fresh.get(term).copied())
    }

    /// Frequency of a term of the transducer that changed.
    pub(super) fn changed(&self, term: &str) -> Option<u32> {
        if self.changed.is_empty() { None } else { self.changed.get(term).copied() }
    }

    /// Changed terms that start with `prefix`, in their order.
    pub(super) fn changed_from<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, u32)> {
        starting(&self.changed, prefix)
    }

    /// New terms that start with `prefix`, in their order.
    pub(super) fn fresh_from<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, u32)> {
        starting(&self.fresh, prefix)
    }

    /// New terms.
    pub(super) fn fresh(&self) -> &BTreeMap<Arc<str>, u32> {
        &self.fresh
    }

    /// Number of changes.
    pub(super) fn len(&self) -> usize {
        self.changed.len() + self.fresh.len()
    }

    /// Number of the transducer's terms that are removed.
    pub(super) fn removed(&self) -> usize {
        self.removed
    }

    /// Approximate size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether the overlay weighs an eighth of `terms`, or more than a look-up may cost.
    pub(super) fn is_heavy(&self, terms: usize) -> bool {
        let share = (terms / 8).max(MIN_MERGED);
        self.fresh.len() > share.min(MAX_FRESH) || self.changed.len() > share.min(MAX_CHANGED)
    }
}

/// Entries whose term starts with `prefix`.
fn starting<'a>(map: &'a BTreeMap<Arc<str>, u32>, prefix: &'a str) -> impl Iterator<Item = (&'a str, u32)> {
    let from = map.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
    from.take_while(move |(term, _)| term.starts_with(prefix)).map(|(term, frequency)| (&**term, *frequency))
}
