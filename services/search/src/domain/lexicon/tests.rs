//! Lexicon against a map that is searched by brute force.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use strsim::osa_distance;

use super::base::WIDE;
use super::*;

type Model = BTreeMap<String, u32>;

fn lexicon(model: &Model) -> Lexicon {
    let terms = model.iter().map(|(term, frequency)| (term.clone(), *frequency));
    Lexicon::build(terms.collect(), LogId::default())
}

/// Expansions of `model` that `edits` admits, in the promised order.
fn expected(model: &Model, edits: impl Fn(&str) -> Option<u8>) -> Vec<Expansion> {
    let found = model.iter().filter(|(term, frequency)| **frequency > 0 && !term.starts_with('_'));
    let found = found
        .filter_map(|(term, &frequency)| edits(term).map(|edits| Expansion { term: term.clone(), edits, frequency }));
    let mut found: Vec<Expansion> = found.collect();
    found.sort_by(|one, other| {
        (one.edits, Reverse(one.frequency), &one.term).cmp(&(other.edits, Reverse(other.frequency), &other.term))
    });
    found.truncate(MAX_EXPANSIONS);
    found
}

/// Edits within the rules; `distance` is the true one.
fn admitted(word: &str, term: &str, distance: usize) -> Option<u8> {
    let edits = u8::try_from(distance).ok().filter(|edits| (1..=typo_edits(word)).contains(edits))?;
    (edits == 1 || term.chars().next() == word.chars().next()).then_some(edits)
}

fn typos(model: &Model, word: &str) -> Vec<Expansion> {
    expected(model, |term| admitted(word, term, osa_distance(word, term)))
}

fn prefix_typos(model: &Model, word: &str) -> Vec<Expansion> {
    expected(model, |term| {
        let ends = term.char_indices().map(|(at, _)| at).chain([term.len()]);
        let closest = ends.map(|end| osa_distance(word, &term[..end])).min();
        closest.and_then(|distance| admitted(word, term, distance))
    })
}

fn prefixes(model: &Model, prefix: &str) -> Vec<Expansion> {
    expected(model, |term| (term != prefix && term.starts_with(prefix)).then_some(0))
}

/// Terms over few letters, so that many resemble each other; some are stems, some of another script.
fn term() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[abc]{1,12}", 1 => "_[abc]{1,6}", 1 => "[äßцж]{1,10}", 1 => "[ab1]{2,8}"]
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![6 => "[abc]{1,12}", 1 => "[äßцж]{5,10}", 1 => "[ab1]{2,8}"]
}

proptest! {
    // Each case compares a dozen words with every term, letter by letter.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn lexicon_agrees_with_a_map_after_any_changes(
        start in vec((term(), 0_u32..50), 0..100),
        batches in vec(vec((term(), 0_u32..50), 0..40), 0..4),
        merge in any::<bool>(),
        words in vec(word(), 1..12),
    ) {
        let mut model: Model = Model::new();
        for (term, frequency) in &start {
            let known = model.entry(term.clone()).or_default();
            *known = (*known).max(*frequency);
        }
        let mut lexicon = lexicon(&model);
        for (at, batch) in batches.iter().enumerate() {
            let version = LogId { ms: 1, seq: at as u64 + 1 };
            lexicon = lexicon.changed(batch.iter().map(|(term, frequency)| (term.as_str(), *frequency)), version);
            model.extend(batch.iter().cloned());
            prop_assert_eq!(lexicon.version(), version);
            if merge && at == 1 {
                lexicon = lexicon.merged();
            }
        }
        prop_assert_eq!(lexicon.terms(), model.values().filter(|frequency| **frequency > 0).count());
        for (term, frequency) in &model {
            prop_assert_eq!(lexicon.frequency(term), *frequency, "{}", term);
        }
        for word in &words {
            prop_assert_eq!(lexicon.prefixes(word, MAX_EXPANSIONS), prefixes(&model, word), "prefix {}", word);
            prop_assert_eq!(lexicon.typos(word, MAX_EXPANSIONS), typos(&model, word), "typos of {}", word);
            let found = lexicon.prefix_typos(word, MAX_EXPANSIONS);
            prop_assert_eq!(found, prefix_typos(&model, word), "typos of the prefix {}", word);
        }
    }
}

#[test]
fn typos_follow_the_length_of_the_word() {
    let words = ["mail", "mails", "database", "databases", "b\u{e4}cker", "ab1234", "internationalizations1"];
    let edits: Vec<u8> = words.iter().map(|word| typo_edits(word)).collect();
    assert_eq!(edits, [0, 1, 1, 2, 1, 0, 0]);
}

#[test]
fn stem_has_a_frequency_and_is_no_expansion() {
    let lexicon = Lexicon::build(vec![("_abcde".to_owned(), 7), ("abcdef".to_owned(), 1)], LogId::default());
    assert_eq!(lexicon.frequency("_abcde"), 7);
    assert_eq!(lexicon.prefixes("_", 50), []);
    let terms: Vec<String> = lexicon.typos("abcde", 50).into_iter().map(|found| found.term).collect();
    assert_eq!(terms, ["abcdef"]);
}

/// Half a million terms under one letter.
fn wide() -> Model {
    let mut model = Model::new();
    for number in 0_u32..500_000 {
        let mut term = String::from("a");
        let mut rest = number;
        for _ in 0..8 {
            term.push(char::from(b'a' + u8::try_from(rest % 8).expect("a letter")));
            rest /= 8;
        }
        model.insert(term, number.wrapping_mul(2_654_435_761) % 1_000 + 1);
    }
    model
}

#[test]
fn wide_prefix_is_answered_from_its_list_and_the_changes() {
    let mut model = wide();
    let mut lexicon = lexicon(&model);
    assert!(model.len() > 100 * WIDE);
    let changes = [("aaaa", 5_000), ("abnew", 4_000), ("aaaaaaaaa", 6_000), ("acgone", 0)];
    lexicon = lexicon.changed(changes, LogId { ms: 2, seq: 0 });
    model.extend(changes.map(|(term, frequency)| (term.to_owned(), frequency)));
    for prefix in ["a", "ab", "abc", "aaa"] {
        assert_eq!(lexicon.prefixes(prefix, MAX_EXPANSIONS), prefixes(&model, prefix), "{prefix}");
    }
}
