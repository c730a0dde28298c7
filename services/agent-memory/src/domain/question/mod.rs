//! Questions: all that the ranking reads of a query, made once for each recall.

mod dates;

use std::collections::{BTreeSet, HashSet};

use unicode_segmentation::UnicodeSegmentation;

pub use dates::{DateCue, closeness};

use super::item::Sketch;
use super::text;

/// Words of the longest name that a question is searched for.
const NAME_WORDS: usize = 3;

/// Query as the ranking reads it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question {
    /// Hashes of the terms, in order; none twice.
    pub terms: Vec<u32>,
    /// Vector of length 1; absent if the query is not embedded.
    pub vector: Option<Vec<f32>>,
    /// Sketch; absent if the caller brought the vector.
    pub sketch: Option<Sketch>,
    /// Names that the query may hold: hashes of its runs of 1 to 3 words.
    pub names: HashSet<u32>,
    /// Dates, months and years.
    pub dates: Vec<DateCue>,
    /// Moment of the recall, in milliseconds since 1970.
    pub now: i64,
}

// === impl Question ===

impl Question {
    /// Reads a query that is embedded as `vector` and `sketch`. Linear in its length.
    #[must_use]
    pub fn new(query: &str, vector: Option<Vec<f32>>, sketch: Option<Sketch>, now: i64) -> Question {
        let words: Vec<&str> = query.unicode_words().collect();
        Question {
            terms: text::analyze("", query).terms.iter().map(|term| term.hash).collect(),
            vector,
            sketch,
            names: names(&words),
            dates: dates::read(&words),
            now,
        }
    }

    /// Returns whether the query holds a name: the whole of it, or its first word.
    #[must_use]
    pub fn holds_name(&self, name: &str) -> bool {
        let first = name.unicode_words().next().unwrap_or_default();
        self.names.contains(&text::name_hash(name))
            || (!first.is_empty() && self.names.contains(&text::name_hash(first)))
    }

    /// Forgets speakers, entities and dates: the measurement of what they are worth.
    #[must_use]
    pub fn without_cues(self) -> Question {
        Question { names: HashSet::new(), dates: Vec::new(), ..self }
    }
}

/// Hashes of the runs of 1 to [`NAME_WORDS`] words. A stop word alone is a name only with a capital inside the query, as
/// in "did Will call".
fn names(words: &[&str]) -> HashSet<u32> {
    let folded: Vec<String> = words.iter().map(|word| text::name_word(word)).collect();
    let is_plain = |at: usize| {
        let capital = at > 0 && words[at].starts_with(char::is_uppercase) && words[at].chars().nth(1).is_some();
        text::is_stop_word(&folded[at]) && !capital
    };
    let runs = |length: usize| folded.windows(length).map(|run| text::hash(&run.join(" ")));
    let single = (0..folded.len()).filter(|at| !is_plain(*at)).map(|at| text::hash(&folded[at]));
    let found: BTreeSet<u32> = single.chain((2..=NAME_WORDS).flat_map(runs)).collect();
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(query: &str) -> Question {
        Question::new(query, None, None, 0)
    }

    #[test]
    fn names_are_found_in_possessives_and_by_their_first_word() {
        let found = question("What is Mary Ann's sister doing?");
        for name in ["mary ann", "Mary Ann", "Mary", "Mary Smith"] {
            assert!(found.holds_name(name), "{name}");
        }
        for name in ["Caroline Ann", "Caroline", "", "👍"] {
            assert!(!found.holds_name(name), "{name}");
        }
    }

    #[test]
    fn stop_words_are_names_only_with_a_capital_inside_the_query() {
        assert!(!question("Will it rain?").holds_name("Will"));
        assert!(!question("when will it rain?").holds_name("Will"));
        assert!(question("When did Will call?").holds_name("Will"));
    }

    #[test]
    fn terms_stand_once() {
        assert_eq!(question("dog dogs Dog").terms, [text::hash("dog")]);
    }
}
