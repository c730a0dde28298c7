//! Laws of the score, on real analyses of texts.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::analysis::{Analyzer, index_terms};
use super::super::lexicon::{Lexicon, LogId};
use super::super::query::{Rules, Vocabulary, parse};
use super::super::request::PrefixMode;
use super::super::schema::{FieldName, Language};
use super::*;

fn stream(text: &str) -> String {
    index_terms(&Analyzer::new(Language::English).analyze(text))
}

fn variant(terms: &[&str], tier: Tier) -> Variant {
    let terms = terms.iter().map(|term| (*term).to_owned()).collect();
    Variant { terms, tier, edits: u8::from(tier == Tier::Typo), frequency: 3 }
}

fn word(text: &str, variants: Vec<Variant>) -> Expected {
    Expected { text: text.to_owned(), spelling: text.to_owned(), phrase: false, variants }
}

/// Words that match exactly.
fn exact(words: &[&str]) -> Expanded {
    let words = words.iter().map(|text| word(text, vec![variant(&[text], Tier::Exact)]));
    Expanded { words: words.collect(), excluded: Vec::new() }
}

fn rules(weights: &[f32]) -> RankRules<'_> {
    RankRules { documents: 1_000, weights, rank_by: None, now: 0 }
}

/// Score of a document with these fields, all of weight 1.
fn score(query: &Expanded, fields: &[&str]) -> Option<f64> {
    score_by(query, fields, rules(&[1.0; 8]))
}

fn score_by(query: &Expanded, fields: &[&str], rules: RankRules<'_>) -> Option<f64> {
    let streams: Vec<String> = fields.iter().map(|field| stream(field)).collect();
    let texts: Vec<(u8, &str)> = (0..).zip(streams.iter().map(String::as_str)).collect();
    Ranker::new(query, rules).score(&Candidate { texts: &texts, rank_by: None })
}

/// Query over a lexicon with these terms, each in the number of documents.
fn expanded(text: &str, prefix: PrefixMode, terms: &[(&str, u32)]) -> Expanded {
    let terms = terms.iter().map(|(term, frequency)| ((*term).to_owned(), *frequency)).collect();
    let vocabulary = Vocabulary::default();
    let rules = Rules { vocabulary: &vocabulary, languages: &[Language::None], prefix, exact_words: false };
    expand(&parse(text, &rules).expect("a query"), &Lexicon::build(terms, LogId::default()))
}

#[test]
fn beginning_of_an_identifiers_last_part_is_a_prefix() {
    let terms = [("numpy", 3), ("doc", 5), ("dev", 9), ("b", 2), ("123", 4), ("1999", 7)];
    assert!(score(&expanded("numpy-d", PrefixMode::Last, &terms), &["python3-numpy-doc"]).is_some());
    let query = expanded("b-12", PrefixMode::Last, &terms);
    assert!(score(&query, &["A-B-123"]).is_some());
    assert_eq!(score(&query, &["b and 123"]), None, "the parts must be adjacent");
    assert_eq!(score(&query, &["A-B-1999"]), None);
    assert_eq!(score(&expanded("b-12 ", PrefixMode::Last, &terms), &["A-B-123"]), None, "a space ends the word");
}

#[test]
fn languages_named_with_signs_are_kept_apart() {
    let terms = [("c", 9), ("plusplus", 4), ("cplusplus", 3), ("cplusplus17", 1), ("sharp", 2), ("csharp", 2)];
    for (name, others) in [("C++", ["C developer", "C# developer"]), ("C#", ["C developer", "C++ developer"])] {
        let query = expanded(name, PrefixMode::Last, &terms);
        assert!(score(&query, &[&format!("{name} developer")]).is_some(), "{name}");
        for other in others {
            assert_eq!(score(&query, &[other]), None, "{name} finds {other}");
        }
    }
    assert!(score(&expanded("c++", PrefixMode::None, &terms), &["C++17"]).is_some());
}

#[test]
fn word_expands_to_the_terms_that_documents_have() {
    let terms = [("server", 5), ("servers", 9), ("serverless", 2), ("sever", 7), ("client", 3)];
    let query = expanded("server unknown", PrefixMode::All, &terms);
    let found = query.words[0].variants.iter();
    let found: Vec<(&str, Tier, u8)> = found.map(|variant| (&*variant.terms[0], variant.tier, variant.edits)).collect();
    let expected = [
        ("server", Tier::Exact, 0),
        ("servers", Tier::Prefix, 0),
        ("serverless", Tier::Prefix, 0),
        ("sever", Tier::Typo, 1),
    ];
    assert_eq!(found, expected);
    assert_eq!(query.words[1].variants, []);
}

#[test]
fn phrase_is_a_sequence_and_has_no_expansions() {
    let query = expanded("\"red apple\" -green", PrefixMode::Last, &[("red", 5), ("apple", 2), ("apples", 9)]);
    assert_eq!(query.words.len(), 1);
    assert!(query.words[0].phrase);
    assert_eq!(
        query.words[0].variants,
        [Variant { frequency: 2, edits: 0, ..variant(&["red", "apple"], Tier::Exact) }]
    );
    assert_eq!(query.excluded, [["green"]]);
}

#[test]
fn first_eight_misspelt_words_are_corrected() {
    let words = ["papera", "paperb", "paperc", "paperd", "papere", "paperf", "paperg", "paperh", "paperi"];
    let query = expanded(&words.join(" "), PrefixMode::None, &[("paper", 1)]);
    let corrected: Vec<usize> = query.words.iter().map(|word| word.variants.len()).collect();
    assert_eq!(corrected, [1, 1, 1, 1, 1, 1, 1, 1, 0]);
}

#[test]
fn tiers_rank_in_their_order() {
    let tiers = [Tier::Exact, Tier::Stem, Tier::Synonym, Tier::Prefix, Tier::Typo];
    let scores = tiers.map(|tier| {
        let query = Expanded { words: vec![word("x", vec![variant(&["term"], tier)])], excluded: Vec::new() };
        score(&query, &["some term here"]).expect("a match")
    });
    assert!(scores.windows(2).all(|pair| pair[0] > pair[1]), "{scores:?}");
}

#[test]
fn document_without_a_word_does_not_match() {
    let query = exact(&["red", "apple"]);
    assert!(score(&query, &["red", "the apple"]).is_some(), "words may stand in different fields");
    assert_eq!(score(&query, &["red pear"]), None);
    assert_eq!(score_by(&query, &["red", "apple"], rules(&[1.0])), None, "a column without a weight is not searched");
}

#[test]
fn phrase_matches_adjacent_words_of_one_field() {
    let phrase = Expected { phrase: true, ..word("red apple", vec![variant(&["red", "apple"], Tier::Exact)]) };
    let query = Expanded { words: vec![phrase], excluded: Vec::new() };
    assert!(score(&query, &["a red apple"]).is_some());
    for text in ["apple red", "red big apple", "red"] {
        assert_eq!(score(&query, &[text, "apple"]), None, "{text}");
    }
}

#[test]
fn exclusions_reject_words_and_sequences() {
    let mut query = exact(&["apple"]);
    query.excluded = vec![vec!["green".to_owned()], vec!["red".to_owned(), "big".to_owned()]];
    assert!(score(&query, &["big red apple"]).is_some());
    assert_eq!(score(&query, &["apple", "green"]), None);
    assert_eq!(score(&query, &["red big apple"]), None);
}

#[test]
fn joined_identifier_and_its_parts_match() {
    for (query, text) in [("ab1234", "AB-1234"), ("ab1234", "ab1234"), ("1234", "AB-1234")] {
        assert!(score(&exact(&[query]), &[text]).is_some(), "{query} in {text}");
    }
    let sequence = Expanded { words: vec![word("ab1234", vec![variant(&["ab", "1234"], Tier::Exact)])], ..exact(&[]) };
    assert!(score(&sequence, &["ab 1234"]).is_some());
    assert_eq!(score(&sequence, &["1234 ab"]), None);
}

#[test]
fn spelling_of_the_query_is_preferred() {
    let query = |spelling: &str| {
        let cafe = Expected { spelling: spelling.to_owned(), ..word("cafe", vec![variant(&["cafe"], Tier::Exact)]) };
        Expanded { words: vec![cafe], excluded: Vec::new() }
    };
    let (plain, marked) = (query("cafe"), query("caf\u{e9}"));
    assert!(score(&plain, &["Cafe Roma"]) > score(&plain, &["Caf\u{e9} Roma"]));
    assert!(score(&marked, &["Caf\u{e9} Roma"]) > score(&marked, &["Cafe Roma"]));
    assert!(score(&plain, &["Caf\u{e9} Roma"]).is_some());
}

#[test]
fn order_and_closeness_of_words_count() {
    let query = exact(&["open", "source"]);
    let texts = ["an open source tool here", "an source open tool here", "an open tool source here"];
    let scores = texts.map(|text| score(&query, &[text]).expect("a match"));
    assert!(scores[0] > scores[1] && scores[0] > scores[2], "{scores:?}");
}

#[test]
fn whole_field_precedes_a_part_of_one() {
    let query = exact(&["vim"]);
    assert!(score(&query, &["vim"]) > score(&query, &["vim common"]));
    assert!(score(&query, &["vim", "an editor of text"]) > score(&query, &["editor of text", "vim and emacs"]));
}

#[test]
fn heavier_field_counts_more() {
    let query = exact(&["vim"]);
    let weights = [5.0, 1.0];
    let title = score_by(&query, &["vim modes", "an editor"], rules(&weights));
    assert!(title > score_by(&query, &["an editor", "vim modes"], rules(&weights)));
}

#[test]
fn one_word_has_each_tenants_own_rarity() {
    let lexicon = |frequency: u32| Lexicon::build(vec![("bolt".to_owned(), frequency)], LogId::default());
    let query = |lexicon: &Lexicon| {
        let bolt = Variant { frequency: lexicon.frequency("bolt"), ..variant(&["bolt"], Tier::Exact) };
        Expanded { words: vec![word("bolt", vec![bolt])], excluded: Vec::new() }
    };
    let (rare, common) = (query(&lexicon(2)), query(&lexicon(900)));
    assert!(score(&rare, &["bolt"]) > score(&common, &["bolt"]));
}

#[test]
fn popularity_and_recency_raise_scores() {
    let field = FieldName::new("n").expect("a name");
    let query = exact(&["vim"]);
    let texts = [(0, "vim")];
    let bonus = |rank_by: RankBy, value: Option<f64>| {
        let rules = RankRules { rank_by: Some(&rank_by), now: 1_000, ..rules(&[1.0]) };
        Ranker::new(&query, rules).score(&Candidate { texts: &texts, rank_by: value }).expect("a match")
    };
    let popular = |value| bonus(RankBy::Popularity { field: field.clone(), weight: 1.0 }, value);
    let recent = |value| bonus(RankBy::Recency { field: field.clone(), half_life: 100, weight: 1.0 }, value);
    assert!(popular(Some(10.0)) > popular(Some(1.0)) && popular(Some(1.0)) > popular(None));
    assert!((popular(Some(-5.0)) - popular(None)).abs() < 1e-9);
    let (now, older, oldest) = (recent(Some(1_000.0)), recent(Some(900.0)), recent(Some(800.0)));
    assert!((now - older - 2.0 * (older - oldest)).abs() < 1e-9, "the bonus halves with each half-life");
    assert!((recent(Some(9_000.0)) - now).abs() < 1e-9, "a time in the future counts as now");
}

#[test]
fn explanation_sums_up_to_the_score() {
    let query = exact(&["open", "source"]);
    let text = stream("Open the source of open things");
    let texts = [(0, text.as_str())];
    let candidate = Candidate { texts: &texts, rank_by: None };
    let mut ranker = Ranker::new(&query, rules(&[1.0]));
    let total: f64 = ranker.explain(&candidate).iter().map(|part| part.value).sum();
    assert!((total - ranker.score(&candidate).expect("a match")).abs() < 1e-9);
    let names: Vec<String> = ranker.explain(&candidate).into_iter().map(|part| part.name).collect();
    assert_eq!(names, ["open", "source", "proximity", "whole_field", "rank_by", "brevity"]);
}

#[test]
fn shorter_document_precedes_an_equal_one() {
    let query = exact(&["frobnicate"]);
    let [short, long] = ["frobnicate data", "frobnicate dataset"].map(|text| score(&query, &[text]).expect("a match"));
    assert!(short > long && short - long < 1e-6, "{short} {long}");
}

#[test]
fn equal_scores_order_by_hash_then_by_id() {
    let mut hits = [(1.0, 7, "b"), (1.0, 7, "a"), (1.0, 3, "z"), (2.0, 9, "y")];
    hits.sort_by(|one, other| by_relevance(*one, *other));
    assert_eq!(hits.map(|hit| hit.2), ["y", "z", "a", "b"]);
}

/// Terms of a small vocabulary.
fn text() -> impl Strategy<Value = Vec<&'static str>> {
    vec(prop::sample::select(vec!["red", "reed", "apple", "apples", "tree", "of", "the"]), 1..12)
}

proptest! {
    #[test]
    fn closer_variant_never_scores_lower(fields in vec(text(), 1..4), lesser in 0..5_usize, at in 0..4_usize) {
        let tiers = [Tier::Exact, Tier::Stem, Tier::Synonym, Tier::Prefix, Tier::Typo];
        let closer = lesser.saturating_sub(at);
        let query = |tier: Tier| Expanded {
            words: vec![
                word("red", vec![variant(&["red"], Tier::Prefix), variant(&["reed"], tier)]),
                word("apple", vec![variant(&["apple"], Tier::Exact), variant(&["apples"], tier)]),
            ],
            excluded: Vec::new(),
        };
        // The rarity of a word must not change with the tier of its variants: all have one frequency.
        let fields: Vec<String> = fields.iter().map(|words| words.join(" ")).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let (close, far) = (score(&query(tiers[closer]), &fields), score(&query(tiers[lesser]), &fields));
        prop_assert_eq!(close.is_some(), far.is_some());
        prop_assert!(close >= far, "{close:?} {far:?}");
    }

    #[test]
    fn rarer_word_never_scores_lower(words in text(), frequency in 1_u32..500, more in 1_u32..500) {
        let text = format!("{} tree", words.join(" "));
        let query = |frequency: u32| {
            let tree = Variant { frequency, ..variant(&["tree"], Tier::Exact) };
            Expanded { words: vec![word("tree", vec![tree])], excluded: Vec::new() }
        };
        prop_assert!(score(&query(frequency), &[&text]) > score(&query(frequency + more), &[&text]));
    }

    #[test]
    fn longer_field_never_scores_higher(words in text(), more in text()) {
        let short = format!("{} needle", words.join(" "));
        let long = format!("{short} {}", more.join(" "));
        let query = exact(&["needle"]);
        prop_assert!(score(&query, &[&short]) >= score(&query, &[&long]));
    }

    #[test]
    fn heavier_weight_never_scores_lower(fields in vec(text(), 2), weight in 0.1_f32..10.0, more in 0.0_f32..5.0) {
        let query = exact(&["tree"]);
        let texts: Vec<String> = fields.iter().map(|words| format!("{} tree", words.join(" "))).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let light = score_by(&query, &texts[..1], rules(&[weight]));
        prop_assert!(score_by(&query, &texts[..1], rules(&[weight + more])) >= light);
    }

    #[test]
    fn any_stored_text_is_scored_without_a_panic(text in "\\PC{0,200}") {
        let texts = [(0, text.as_str()), (200, text.as_str())];
        let query = exact(&["red"]);
        let found = Ranker::new(&query, rules(&[1.0])).score(&Candidate { texts: &texts, rank_by: Some(f64::MAX) });
        prop_assert!(found.is_none_or(f64::is_finite));
    }
}
