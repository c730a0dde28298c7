//! Query text: words, phrases and exclusions, each with the terms that match it.
//!
//! | text | meaning |
//! |---|---|
//! | `red shoes` | documents with both words, in any order |
//! | `"red shoes"` | the words next to each other, as they are spelt; an open quote ends with the text |
//! | `-shoes`, `-"red shoes"` | documents without the word or phrase |
//! | `AB-1234`, `1.2.3`, `a@b.org` | words without a space between them match next to each other, or as a joined form |
//! | `red sho` | the last word is a prefix, by [`PrefixMode`]; a space behind it ends it |
//!
//! Words pass through the analyser, and so do synonyms and stop words. No text is an error but one that is too long: signs
//! without a word are left out. Words of a query are in an order of tiers: as spelt, stem, synonym; the lexicon adds prefixes
//! and typos.

mod parse;
#[cfg(test)]
mod tests;
mod vocabulary;
mod words;

pub use parse::parse;
pub use vocabulary::Vocabulary;

use super::request::PrefixMode;
use super::schema::Language;

/// Largest query text, in bytes.
pub const MAX_QUERY_BYTES: usize = 1024;
/// Largest number of words in a query; pairs of a script without spaces count each.
pub const MAX_QUERY_WORDS: usize = 32;

/// Settings that a query text is read by.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Synonyms and stop words of the collection.
    pub vocabulary: &'a Vocabulary,
    /// Languages of the searched fields.
    pub languages: &'a [Language],
    /// Words that match as prefixes.
    pub prefix: PrefixMode,
    /// True if words match only as they are spelt, or by their stem: without synonyms and typos.
    pub exact_words: bool,
}

/// Query text, parsed. A document matches if it has each word and each phrase, and no exclusion.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Query {
    /// Words, in the order of the text.
    pub words: Vec<Word>,
    /// Phrases, in the order of the text.
    pub phrases: Vec<Phrase>,
    /// Exclusions, in the order of the text.
    pub exclusions: Vec<Exclusion>,
}

/// Word of a query, or several without a space between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Word as the caller spelt it.
    pub text: String,
    /// Term that prefixes and typos begin from: the surface, the joined form, or the last of several words.
    pub surface: String,
    /// Surfaces directly before a prefix or typo of `surface`; empty for a word that is one term.
    pub before: Vec<String>,
    /// Surfaces that a joined `surface` consists of, the last of which is a prefix too: `numpy-d` begins a part of
    /// `python3-numpy-doc`. Empty for another word.
    pub parts: Vec<String>,
    /// Form with diacritics of `surface`; equal to it without any.
    pub spelling: String,
    /// True if terms that begin with `surface` match.
    pub prefix: bool,
    /// Largest number of edits between `surface` and a term that matches as a typo: 0, 1 or 2.
    pub typos: u8,
    /// Terms that match, the best tier first.
    pub candidates: Vec<Candidate>,
}

/// Terms that match a word.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Quality of the match.
    pub tier: Tier,
    /// Terms at consecutive positions; mostly one.
    pub terms: Vec<String>,
}

/// Quality of a match, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// The word itself, or another form of an identifier.
    Exact,
    /// Another form of the word, by its stem.
    Stem,
    /// Synonym of the collection.
    Synonym,
    /// Word that begins with the query's.
    Prefix,
    /// Word that is one or two edits away.
    Typo,
}

/// Words next to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    /// Phrase as the caller spelt it, without quotes.
    pub text: String,
    /// Surfaces at consecutive positions, one or more.
    pub terms: Vec<String>,
}

/// Word or phrase that rules a document out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// Word or phrase as the caller spelt it, without quotes.
    pub text: String,
    /// Terms at consecutive positions; a document with any of the lists is ruled out.
    pub any: Vec<Vec<String>>,
}

/// Query text over one of its caps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Too many bytes.
    #[error("must have at most {MAX_QUERY_BYTES} bytes; got {bytes}")]
    TooLong {
        /// Length of the text, in bytes.
        bytes: usize,
    },
    /// Too many words.
    #[error("must have at most {MAX_QUERY_WORDS} words; got {words}")]
    TooManyWords {
        /// Number of words.
        words: usize,
    },
}

// === impl Query ===

impl Query {
    /// Returns whether the query rules nothing out: every document matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty() && self.phrases.is_empty() && self.exclusions.is_empty()
    }
}
