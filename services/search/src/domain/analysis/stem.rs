//! Stems by Snowball's algorithms.

use std::fmt;

use snowball_stemmers_rs::{Algorithm, Stemmer};

use super::MAX_TERM_BYTES;
use super::classes::has_no_spaces;
use super::fold::surface;
use crate::domain::schema::Language;

/// Stemmer of a language, or none.
pub(super) struct Stems {
    language: Language,
    stemmer: Option<Stemmer>,
}

// === impl Stems ===

impl Stems {
    pub(super) fn new(language: Language) -> Stems {
        Stems { language, stemmer: algorithm(language).map(Stemmer::create) }
    }

    /// Folded stem of a word, if it differs from the word's surface.
    pub(super) fn stem(&self, spelling: &str, word: &str) -> Option<String> {
        let stemmer = self.stemmer.as_ref().filter(|_| is_stemmable(word))?;
        let stem = surface(&stemmer.stem(spelling));
        let usable = !stem.is_empty() && stem.len() < MAX_TERM_BYTES;
        (usable && stem != word).then_some(stem)
    }
}

/// Returns whether a surface is a word of an alphabet, without numbers.
fn is_stemmable(surface: &str) -> bool {
    surface.chars().next().is_some_and(|letter| letter.is_alphabetic() && !has_no_spaces(letter))
        && !surface.chars().any(char::is_numeric)
}

impl fmt::Debug for Stems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stems").field(&self.language).finish()
    }
}

fn algorithm(language: Language) -> Option<Algorithm> {
    Some(match language {
        Language::None => return None,
        Language::Arabic => Algorithm::Arabic,
        Language::Danish => Algorithm::Danish,
        Language::Dutch => Algorithm::Dutch,
        Language::English => Algorithm::English,
        Language::Finnish => Algorithm::Finnish,
        Language::French => Algorithm::French,
        Language::German => Algorithm::German,
        Language::Greek => Algorithm::Greek,
        Language::Hungarian => Algorithm::Hungarian,
        Language::Italian => Algorithm::Italian,
        Language::Norwegian => Algorithm::Norwegian,
        Language::Portuguese => Algorithm::Portuguese,
        Language::Romanian => Algorithm::Romanian,
        Language::Russian => Algorithm::Russian,
        Language::Spanish => Algorithm::Spanish,
        Language::Swedish => Algorithm::Swedish,
        Language::Tamil => Algorithm::Tamil,
        Language::Turkish => Algorithm::Turkish,
    })
}
