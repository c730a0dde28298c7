//! Term stream of a text column: what the engine indexes, and what the ranking reads.
//!
//! Surfaces stand in the order of the text, one space between them, each at its own position. Forms without a position belong
//! to the surface before them: `_stem`, `__spelling`, and a joined form behind two spaces. `AB-1234 Café running` becomes
//! `ab 1234  ab1234 cafe __café running _run`.
//!
//! Terms consist of ASCII letters and digits, `_`, and characters outside ASCII. Both engines break text at the space, and at
//! no other character of the stream.

use super::{MAX_TERM_BYTES, Tokens};

/// Term of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Position of the word, or of the first that is joined.
    pub position: u32,
    /// Number of positions: 1, or the number of joined words.
    pub span: u32,
    /// Kind of the term.
    pub kind: EntryKind,
    /// Term as the engine knows it; a stem with its `_`, a spelling without its `__`.
    pub term: &'a str,
}

/// Kind of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryKind {
    /// Folded form of a word.
    Surface,
    /// Stem of the word before it, where it differs from its surface.
    Stem,
    /// Form with diacritics of the word before it, where it differs from its surface.
    Spelling,
    /// Words before it, joined.
    Joined,
}

/// Reader of a stream.
struct Reader<'a> {
    rest: &'a str,
    /// Number of surfaces so far.
    positions: u32,
    /// Lengths of the last surfaces, the last one first.
    lengths: [u8; 8],
}

/// Stream of `tokens`, in their order.
#[must_use]
pub fn index_terms(tokens: &Tokens) -> String {
    let mut stream = String::with_capacity(tokens.forms.len() + tokens.slots.len() * 2);
    for token in tokens.iter() {
        if !stream.is_empty() {
            stream.push_str(if token.joined { "  " } else { " " });
        }
        stream.push_str(token.surface);
        if let Some(stem) = token.stem {
            stream.push(' ');
            stream.push_str(stem);
        }
        if let Some(spelling) = token.spelling {
            stream.push_str(" __");
            stream.push_str(spelling);
        }
    }
    stream
}

/// Terms of a stream, in its order. Text that is no stream gives some terms, and never fails. Linear.
pub fn read_terms(stream: &str) -> impl Iterator<Item = Entry<'_>> {
    Reader { rest: stream, positions: 0, lengths: [0; 8] }
}

/// Distinct terms of streams that the lexicon counts: surfaces, stems and joined forms, sorted.
#[must_use]
pub fn distinct_terms<'a>(streams: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let entries = streams.into_iter().flat_map(read_terms);
    let mut terms: Vec<&str> =
        entries.filter(|entry| entry.kind != EntryKind::Spelling).map(|entry| entry.term).collect();
    terms.sort_unstable();
    terms.dedup();
    terms
}

// === impl Reader ===

impl<'a> Iterator for Reader<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let rest = self.rest.strip_prefix(' ');
        let joined = rest.is_some();
        let rest = rest.unwrap_or(self.rest).trim_start_matches(' ');
        if rest.is_empty() {
            return None;
        }
        let (term, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        self.rest = rest;
        Some(if joined { self.joined(term) } else { self.plain(term) })
    }
}

impl<'a> Reader<'a> {
    fn plain(&mut self, term: &'a str) -> Entry<'a> {
        let last = self.positions.saturating_sub(1);
        if let Some(spelling) = term.strip_prefix("__") {
            return Entry { position: last, span: 1, kind: EntryKind::Spelling, term: spelling };
        }
        if term.starts_with('_') {
            return Entry { position: last, span: 1, kind: EntryKind::Stem, term };
        }
        self.lengths.rotate_right(1);
        self.lengths[0] = u8::try_from(term.len().min(MAX_TERM_BYTES)).unwrap_or(u8::MAX);
        self.positions = self.positions.saturating_add(1);
        Entry { position: self.positions - 1, span: 1, kind: EntryKind::Surface, term }
    }

    /// Joined form: its length tells the number of words.
    fn joined(&self, term: &'a str) -> Entry<'a> {
        let mut length = 0;
        let mut span = 0;
        for part in self.lengths {
            if length >= term.len() || span == self.positions {
                break;
            }
            length += usize::from(part);
            span += 1;
        }
        let span = span.max(1);
        Entry { position: self.positions.saturating_sub(span), span, kind: EntryKind::Joined, term }
    }
}
