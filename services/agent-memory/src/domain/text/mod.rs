//! Analysis of texts: the terms that the lexical score counts, and the names that a question is searched for.
//!
//! | step | rule | example |
//! |---|---|---|
//! | speaker | first words of the text | `Ann: I ran` → `Ann`, `I`, `ran` |
//! | word | words of UAX #29; letters of scripts without spaces stand alone | `7th`, `Ann's` |
//! | fold | NFKD without combining marks, lower case, straight apostrophes | `Café` → `cafe` |
//! | stop word | left out | `the`, `don't` |
//! | stem | Snowball, English | `running`, `runs` → `run` |
//! | term | FNV-1a of the stem, 32 bits | |

mod stop_words;

use std::borrow::Cow;
use std::collections::BTreeMap;

use icu_normalizer::DecomposingNormalizer;
use snowball_stemmers_rs::{Algorithm, Stemmer};
use unicode_segmentation::UnicodeSegmentation;

use super::item::Term;

/// Terms of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Analysis {
    /// Terms, in order of their hashes; none twice.
    pub terms: Vec<Term>,
    /// Words, stop words left out.
    pub length: u32,
}

/// Text with its speaker before it, as it is embedded, analysed and rendered: `speaker: text`.
#[must_use]
pub fn spoken<'a>(speaker: &str, text: &'a str) -> Cow<'a, str> {
    if speaker.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(format!("{speaker}: {text}")) }
}

/// Terms of a text, its speaker's name among them. Linear in its length.
#[must_use]
pub fn analyze(speaker: &str, text: &str) -> Analysis {
    let stemmer = Stemmer::create(Algorithm::English);
    let mut counts: BTreeMap<u32, u8> = BTreeMap::new();
    let mut length = 0_u32;
    for word in speaker.unicode_words().chain(text.unicode_words()) {
        let word = fold(word);
        if is_stop_word(&word) {
            continue;
        }
        length = length.saturating_add(1);
        let count = counts.entry(hash(&stemmer.stem(&word))).or_default();
        *count = count.saturating_add(1);
    }
    Analysis { terms: counts.into_iter().map(|(hash, frequency)| Term { hash, frequency }).collect(), length }
}

/// Folded form of a word.
#[must_use]
pub fn fold(word: &str) -> String {
    if word.is_ascii() {
        return word.to_ascii_lowercase();
    }
    let decomposed = DecomposingNormalizer::new_nfkd().normalize(word);
    let plain = decomposed.chars().filter(|character| !('\u{300}'..='\u{36f}').contains(character));
    let straight = plain.map(|character| if character == '\u{2019}' { '\'' } else { character });
    straight.flat_map(char::to_lowercase).collect()
}

/// Returns whether a folded word says too little to be a term.
#[must_use]
pub fn is_stop_word(folded: &str) -> bool {
    stop_words::STOP_WORDS.contains(folded)
}

/// Returns whether a word-piece of a model's vocabulary carries content, and belongs into sketches: neither a mark of
/// the model such as `[CLS]`, nor punctuation, nor a stop word. `##` marks the rest of a word.
#[must_use]
pub fn is_content_piece(piece: &str) -> bool {
    let is_mark = piece.len() > 2 && piece.starts_with('[') && piece.ends_with(']');
    let letters = piece.strip_prefix("##").unwrap_or(piece);
    !is_mark && letters.chars().any(char::is_alphanumeric) && !is_stop_word(&fold(letters))
}

/// Hash of a name: of its folded words, with one space between them and without a possessive `'s`.
#[must_use]
pub fn name_hash(name: &str) -> u32 {
    let words: Vec<String> = name_words(name);
    if words.is_empty() { hash(&fold(name.trim())) } else { hash(&words.join(" ")) }
}

/// Folded words of a name, without a possessive `'s`.
#[must_use]
pub fn name_words(text: &str) -> Vec<String> {
    text.unicode_words().map(name_word).collect()
}

/// Folded word, without a possessive `'s`.
#[must_use]
pub fn name_word(word: &str) -> String {
    let mut word = fold(word);
    if let Some(owner) = word.strip_suffix("'s") {
        word.truncate(owner.len());
    }
    word
}

/// FNV-1a, 32 bits (<http://www.isthe.com/chongo/tech/comp/fnv>).
#[must_use]
pub fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hashes(speaker: &str, text: &str) -> Vec<u32> {
        analyze(speaker, text).terms.iter().map(|term| term.hash).collect()
    }

    #[test]
    fn forms_of_a_word_are_one_term() {
        assert_eq!(hashes("", "running"), hashes("", "Runs"));
        assert_eq!(hashes("", "Café"), hashes("", "CAFE"));
        assert_eq!(hashes("", "Caroline’s"), hashes("Caroline", ""));
    }

    #[test]
    fn stop_words_are_no_terms() {
        assert_eq!(analyze("", "What did she do, and why don't they?"), Analysis::default());
    }

    #[test]
    fn speaker_is_part_of_the_text() {
        let analysis = analyze("Ann", "Ann adopted a dog");
        let ann = analysis.terms.iter().find(|term| term.hash == hash("ann"));
        assert_eq!(ann.map(|term| term.frequency), Some(2));
        assert_eq!(analysis.length, 4);
        assert_eq!(spoken("Ann", "Hi"), "Ann: Hi");
        assert_eq!(spoken("", "Hi"), "Hi");
    }

    #[test]
    fn hash_is_fnv_1a() {
        assert_eq!(hash(""), 0x811c_9dc5);
        assert_eq!(hash("a"), 0xe40c_292c);
        assert_eq!(hash("foobar"), 0xbf9c_f968);
    }

    #[test]
    fn name_hashes_ignore_case_and_possession() {
        assert_eq!(name_hash("Mary  Ann"), name_hash("mary ann's"));
        assert_ne!(name_hash("Mary"), name_hash("Ann"));
        assert_ne!(name_hash("👍"), name_hash("👎"));
    }

    #[test]
    fn only_content_enters_sketches() {
        for piece in ["dog", "##ing", "2023", "é"] {
            assert!(is_content_piece(piece), "{piece}");
        }
        for piece in ["[CLS]", "[SEP]", "the", "?", "##'", "##s", "##"] {
            assert!(!is_content_piece(piece), "{piece}");
        }
    }

    proptest! {
        #[test]
        fn terms_are_sorted_and_count_the_words(speaker in "\\PC{0,12}", text in "\\PC{0,200}") {
            let analysis = analyze(&speaker, &text);
            prop_assert!(analysis.terms.is_sorted_by(|a, b| a.hash < b.hash));
            let counted: u32 = analysis.terms.iter().map(|term| u32::from(term.frequency)).sum();
            prop_assert_eq!(counted, analysis.length);
        }

        #[test]
        fn case_does_not_matter(text in "[a-zA-Z' ]{0,60}") {
            prop_assert_eq!(analyze("", &text), analyze("", &text.to_uppercase()));
        }
    }
}
