//! Occurrences of a query's words in a document's terms.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::super::analysis::{Entry, EntryKind, read_terms};
use super::{Candidate, Expanded, Tier, weights};

/// Word of the query at a place of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Occurrence {
    /// Position of the word in the query.
    pub(super) word: usize,
    /// Position of the first term in the field.
    pub(super) start: u32,
    /// Position after the last term.
    pub(super) end: u32,
    /// Closeness to the word, above 0 to 1.
    pub(super) factor: f64,
    /// Kind of the match.
    pub(super) tier: Tier,
}

/// Field that was read, with its occurrences in order of their positions.
#[derive(Debug, Default)]
pub(super) struct Field {
    /// Weight of the column.
    pub(super) weight: f64,
    /// Number of positions.
    pub(super) terms: usize,
    /// Occurrences of the query's words.
    pub(super) found: Vec<Occurrence>,
}

/// Search for a query's words in the terms of documents. Keeps its buffers from one document to the next.
#[derive(Debug)]
pub(super) struct Matcher<'a> {
    words: usize,
    weights: &'a [f32],
    /// Variants and exclusions by their first term.
    starts: HashMap<&'a str, Vec<Start<'a>>, RandomState>,
    /// First bytes of those terms: most terms of a document need no look-up.
    first_bytes: [bool; 256],
    /// True if a variant or an exclusion has several terms.
    sequences: bool,
    fields: Vec<Field>,
    seen: Vec<Seen<'a>>,
}

/// Sequence of terms that begins with a given one.
#[derive(Clone, Copy, Debug)]
struct Start<'a> {
    /// Word that the sequence stands for; none for an exclusion.
    word: Option<usize>,
    /// Terms after the first.
    rest: &'a [String],
    factor: f64,
    tier: Tier,
    /// Spelling to prefer; empty if diacritics don't matter.
    spelling: &'a str,
}

/// Sequence whose first term is at a position.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    start: Start<'a>,
    position: u32,
    span: u32,
    /// True if the first term has the preferred spelling.
    spelt: bool,
}

// === impl Matcher ===

impl<'a> Matcher<'a> {
    /// Matcher of `query` in the text columns with a weight.
    pub(super) fn new(query: &'a Expanded, weights: &'a [f32]) -> Matcher<'a> {
        let mut starts: HashMap<&str, Vec<Start<'_>>, RandomState> = HashMap::default();
        let mut add = |terms: &'a [String], word: Option<usize>, factor: f64, tier: Tier, spelling: &'a str| {
            if let Some((first, rest)) = terms.split_first() {
                starts.entry(first).or_default().push(Start { word, rest, factor, tier, spelling });
            }
        };
        for (position, word) in query.words.iter().enumerate() {
            for variant in &word.variants {
                let spelt = variant.tier == Tier::Exact && variant.terms.len() == 1;
                let spelling = if spelt { word.spelling.as_str() } else { "" };
                add(&variant.terms, Some(position), weights::factor(variant), variant.tier, spelling);
            }
        }
        for terms in &query.excluded {
            add(terms, None, 0.0, Tier::Exact, "");
        }
        let sequences = starts.values().flatten().any(|start| !start.rest.is_empty());
        let mut first_bytes = [false; 256];
        starts.keys().filter_map(|term| term.bytes().next()).for_each(|byte| first_bytes[usize::from(byte)] = true);
        let words = query.words.len();
        Matcher { words, weights, starts, first_bytes, sequences, fields: Vec::new(), seen: Vec::new() }
    }

    /// Fields of `candidate` with their occurrences; none if a word is missing, or something excluded is there.
    pub(super) fn read(&mut self, candidate: &Candidate<'_>) -> Option<&[Field]> {
        let mut used = 0;
        for (ordinal, text) in candidate.texts {
            let weight = self.weights.get(usize::from(*ordinal)).copied().unwrap_or(0.0);
            if weight > 0.0 {
                if self.fields.len() == used {
                    self.fields.push(Field::default());
                }
                let mut seen = std::mem::take(&mut self.seen);
                let admitted = self.read_field(text, f64::from(weight), used, &mut seen);
                seen.clear();
                self.seen = seen;
                if !admitted {
                    return None;
                }
                used += 1;
            }
        }
        let fields = &self.fields[..used];
        let has = |word: usize| fields.iter().any(|field| field.found.iter().any(|found| found.word == word));
        (0..self.words).all(has).then_some(fields)
    }

    /// Reads one field into `self.fields[at]`; false if something excluded is there.
    fn read_field(&mut self, text: &str, weight: f64, at: usize, seen: &mut Vec<Seen<'a>>) -> bool {
        let mut surfaces: Vec<&str> = Vec::new();
        let mut terms = 0;
        for Entry { position, span, kind, term } in read_terms(text) {
            match kind {
                EntryKind::Spelling => {
                    let same = seen.iter_mut().rev().take_while(|seen| seen.position == position);
                    same.for_each(|seen| seen.spelt = seen.start.spelling == term);
                    continue;
                }
                EntryKind::Surface => {
                    terms += 1;
                    if self.sequences {
                        surfaces.push(term);
                    }
                }
                EntryKind::Stem | EntryKind::Joined => {}
            }
            if term.bytes().next().is_none_or(|byte| !self.first_bytes[usize::from(byte)]) {
                continue;
            }
            for start in self.starts.get(term).into_iter().flatten() {
                let spelt = kind != EntryKind::Surface || start.spelling == term;
                seen.push(Seen { start: *start, position, span, spelt });
            }
        }
        let field = &mut self.fields[at];
        (field.weight, field.terms) = (weight, terms);
        field.found.clear();
        for seen in seen.iter() {
            let Some(end) = seen.end(&surfaces) else { continue };
            let Some(word) = seen.start.word else { return false };
            let unspelt = !seen.start.spelling.is_empty() && !seen.spelt;
            let factor = seen.start.factor * weights::spelling(!unspelt);
            field.found.push(Occurrence { word, start: seen.position, end, factor, tier: seen.start.tier });
        }
        field.keep_the_best();
        true
    }
}

// === impl Seen ===

impl Seen<'_> {
    /// Position after the sequence; none if other terms follow the first.
    fn end(&self, surfaces: &[&str]) -> Option<u32> {
        let end = self.position + self.span;
        if self.start.rest.is_empty() {
            return Some(end);
        }
        let next = usize::try_from(end).ok()?;
        let following = surfaces.get(next..next + self.start.rest.len())?;
        let same = following.iter().zip(self.start.rest).all(|(surface, term)| surface == term);
        same.then(|| end + u32::try_from(self.start.rest.len()).unwrap_or(u32::MAX))
    }
}

// === impl Field ===

impl Field {
    /// Orders occurrences by position, and keeps the closest of each word at each.
    fn keep_the_best(&mut self) {
        let found = &mut self.found;
        found.sort_unstable_by(|one, other| {
            (one.start, one.word).cmp(&(other.start, other.word)).then(other.factor.total_cmp(&one.factor))
        });
        found.dedup_by_key(|found| (found.start, found.word));
    }

    /// Share of the field's positions that occurrences cover, 0 to 1.
    pub(super) fn coverage(&self) -> f64 {
        let (mut covered, mut reached) = (0, 0);
        for found in &self.found {
            covered += found.end.saturating_sub(found.start.max(reached));
            reached = reached.max(found.end);
        }
        let terms = u32::try_from(self.terms).unwrap_or(u32::MAX).max(1);
        f64::from(covered) / f64::from(terms)
    }
}
