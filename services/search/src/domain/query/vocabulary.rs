//! Synonyms and stop words of a collection, analysed once for all its queries.

use std::collections::{HashMap, HashSet};

use super::words::{forms, parts};
use crate::domain::analysis::Analyzer;
use crate::domain::schema::{Language, Schema};

/// Synonyms and stop words of a collection. Immutable; made when a definition is loaded.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    stop_words: HashSet<String>,
    /// Surfaces of a word or phrase → terms of the others in its groups.
    synonyms: HashMap<Vec<String>, Vec<Vec<String>>>,
    /// Words of the longest phrase with synonyms.
    longest: usize,
}

// === impl Vocabulary ===

impl Vocabulary {
    /// Vocabulary of a schema. Stop words of several words, and words without letters and digits, are left out.
    #[must_use]
    pub fn new(schema: &Schema) -> Vocabulary {
        let analyzer = Analyzer::new(Language::None);
        let mut vocabulary = Vocabulary::default();
        for word in &schema.stop_words {
            if let [word] = parts(&analyzer.analyze(word)).as_slice() {
                vocabulary.stop_words.insert(word.clone());
            }
        }
        for group in &schema.synonyms {
            let words: Vec<_> = group.words.iter().map(|word| analyzer.analyze(word)).collect();
            for (index, word) in words.iter().enumerate() {
                let others = words.iter().enumerate().filter(|(other, _)| *other != index);
                vocabulary.add(parts(word), others.flat_map(|(_, other)| forms(other)).collect());
            }
        }
        vocabulary
    }

    fn add(&mut self, surfaces: Vec<String>, others: Vec<Vec<String>>) {
        if surfaces.is_empty() {
            return;
        }
        self.longest = self.longest.max(surfaces.len());
        let known = self.synonyms.entry(surfaces).or_default();
        for other in others {
            if !known.contains(&other) {
                known.push(other);
            }
        }
    }

    /// Returns whether queries drop the word.
    pub(super) fn is_stop_word(&self, surface: &str) -> bool {
        self.stop_words.contains(surface)
    }

    /// Words of the longest phrase with synonyms.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Synonyms of a word or phrase.
    pub(super) fn synonyms(&self, surfaces: &[String]) -> &[Vec<String>] {
        self.synonyms.get(surfaces).map_or(&[], Vec::as_slice)
    }
}
