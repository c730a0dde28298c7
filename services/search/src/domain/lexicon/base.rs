//! Transducer of a lexicon, with the most frequent terms of its widest prefixes.

use std::collections::HashMap;

use fst::{IntoStreamer, Map, MapBuilder, Streamer};

use super::automata::Bounded;

/// Terms under a prefix above which the most frequent ones are listed; fewer are read one by one (0.1 µs each).
pub(super) const WIDE: usize = 2_048;
/// Terms of a list. More than an expansion takes, since later changes may remove some.
pub(super) const LISTED: usize = 64;
/// Longest prefix with a list, in characters. Under a longer one the first [`WIDE`] terms are read.
const MAX_LISTED_PREFIX: usize = 8;
/// Bytes of a listed term besides its text.
const ENTRY: usize = 24;

/// Terms with their frequencies, immutable.
#[derive(Debug, Default)]
pub(super) struct Base {
    terms: Map<Vec<u8>>,
    wide: HashMap<Box<str>, Listed>,
    listed_bytes: usize,
}

/// Most frequent terms of a prefix, with their frequencies.
type Listed = Box<[(Box<str>, u32)]>;

/// Terms in order, distinct, with their frequencies.
type Terms<'a> = &'a [(String, u32)];

// === impl Base ===

impl Base {
    /// Builds from sorted, distinct terms.
    pub(super) fn build(terms: Terms<'_>) -> Base {
        let mut builder = MapBuilder::memory();
        for (term, frequency) in terms {
            // Neither order nor memory can fail here: terms are sorted and distinct.
            if builder.insert(term, u64::from(*frequency)).is_err() {
                return Base::default();
            }
        }
        let mut base = Base { terms: builder.into_map(), wide: HashMap::new(), listed_bytes: 0 };
        base.list(terms, 1);
        base
    }

    /// Lists the most frequent terms of each prefix of `length` characters that has more than [`WIDE`] terms, then of longer ones.
    fn list(&mut self, terms: Terms<'_>, length: usize) {
        if length > MAX_LISTED_PREFIX {
            return;
        }
        let mut rest = terms;
        while let Some((first, _)) = rest.first() {
            let prefix = prefix(first, length);
            let same = rest.partition_point(|(term, _)| term.as_str() < prefix || term.starts_with(prefix));
            let (group, after) = rest.split_at(same);
            rest = after;
            if group.len() > WIDE && !prefix.starts_with('_') {
                let listed = most_frequent(group);
                self.listed_bytes += prefix.len() + listed.iter().map(|(term, _)| term.len() + ENTRY).sum::<usize>();
                self.wide.insert(prefix.into(), listed);
                self.list(group, length + 1);
            }
        }
    }

    /// Frequency of a term; 0 for an unknown one.
    pub(super) fn frequency(&self, term: &str) -> u32 {
        self.terms.get(term).map_or(0, frequency)
    }

    /// Number of terms.
    pub(super) fn len(&self) -> usize {
        self.terms.len()
    }

    /// Approximate size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.terms.as_fst().size() + self.listed_bytes
    }

    /// Visits all terms, in order.
    pub(super) fn visit(&self, mut each: impl FnMut(&str, u32)) {
        let mut stream = self.terms.stream();
        while let Some((term, value)) = stream.next() {
            if let Ok(term) = str::from_utf8(term) {
                each(term, frequency(value));
            }
        }
    }

    /// Most frequent terms under a prefix with more than [`WIDE`] terms.
    pub(super) fn listed(&self, prefix: &str) -> Option<&[(Box<str>, u32)]> {
        self.wide.get(prefix).map(|listed| &**listed)
    }

    /// Visits the first [`WIDE`] terms that start with `prefix`, in order.
    pub(super) fn visit_prefix(&self, prefix: &str, mut each: impl FnMut(&str, u32)) {
        let mut stream = self.terms.range().ge(prefix).into_stream();
        for _ in 0..WIDE {
            let Some((term, value)) = stream.next() else { return };
            let Ok(term) = str::from_utf8(term) else { return };
            if !term.starts_with(prefix) {
                return;
            }
            each(term, frequency(value));
        }
    }

    /// Visits the terms that `automaton` accepts within its budget and that start with `prefix`, in order.
    pub(super) fn visit_similar(&self, automaton: &Bounded<'_>, prefix: &str, mut each: impl FnMut(&str, u32)) {
        let mut end = prefix.as_bytes().to_vec();
        let mut search = self.terms.search(automaton).ge(prefix);
        if let Some(last) = end.last_mut() {
            *last += 1; // no byte of UTF-8 is 0xff
            search = search.lt(end);
        }
        let mut stream = search.into_stream();
        while let Some((term, value)) = stream.next() {
            if let Ok(term) = str::from_utf8(term) {
                each(term, frequency(value));
            }
        }
    }
}

/// First `length` characters of a term, or all of a shorter one.
fn prefix(term: &str, length: usize) -> &str {
    term.char_indices().nth(length).map_or(term, |(end, _)| &term[..end])
}

/// The [`LISTED`] most frequent of `terms`; ties in the order of the terms.
fn most_frequent(terms: Terms<'_>) -> Listed {
    let mut order: Vec<usize> = (0..terms.len()).collect();
    let rank = |&at: &usize| (std::cmp::Reverse(terms[at].1), at);
    if order.len() > LISTED {
        order.select_nth_unstable_by_key(LISTED, rank);
        order.truncate(LISTED);
    }
    order.sort_unstable_by_key(rank);
    order.into_iter().map(|at| (terms[at].0.as_str().into(), terms[at].1)).collect()
}

/// Frequency from a value of the transducer, which got it as `u32`.
fn frequency(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
