//! Tests of the query parser.

use proptest::prelude::*;

use super::*;
use crate::domain::analysis::{Analyzer, distinct_terms, index_terms};
use crate::domain::schema::{Schema, Synonyms};

/// Parser with the vocabulary of the tests: English, type-ahead on the last word.
fn query(text: &str) -> Query {
    read(text, PrefixMode::Last, false).expect("a query")
}

fn read(text: &str, prefix: PrefixMode, exact_words: bool) -> Result<Query, QueryError> {
    let group = |words: &[&str]| Synonyms { words: words.iter().map(|word| (*word).to_owned()).collect() };
    let vocabulary = Vocabulary::new(&Schema {
        synonyms: vec![group(&["NY", "New York"]), group(&["laptop", "notebook", "Café-PC"])],
        stop_words: ["the", "Of", "...", "two words"].map(str::to_owned).to_vec(),
        ..Schema::default()
    });
    parse(
        text,
        &Rules { vocabulary: &vocabulary, languages: &[Language::None, Language::English], prefix, exact_words },
    )
}

/// Word in short: text, then each candidate with the first letter of its tier.
fn shape(word: &Word) -> String {
    let candidates: Vec<String> =
        word.candidates.iter().map(|candidate| format!("{:?}:{}", candidate.tier, candidate.terms.join("+"))).collect();
    format!("{} {}", word.surface, candidates.join(" "))
}

fn shapes(text: &str) -> Vec<String> {
    query(text).words.iter().map(shape).collect()
}

#[test]
fn words_have_exact_terms_and_stems() {
    assert_eq!(shapes("Running shoe"), ["running Exact:running Stem:_run Stem:run", "shoe Exact:shoe Stem:_shoe",]);
    let word = query("CAFÉS").words.remove(0);
    assert_eq!((word.surface.as_str(), word.spelling.as_str(), word.text.as_str()), ("cafes", "cafés", "CAFÉS"));
}

#[test]
fn identifiers_match_joined_and_in_parts() {
    assert_eq!(shapes("AB-1234"), ["ab1234 Exact:ab1234 Exact:ab+1234"]);
    assert_eq!(shapes("ab1234"), ["ab1234 Exact:ab1234 Exact:ab+1234"]);
    assert_eq!(shapes("ab 1234 "), ["ab Exact:ab Stem:_ab", "1234 Exact:1234"]);
    let word = query("john.doe@exam").words.remove(0);
    assert_eq!(shape(&word), "exam Exact:john+doe+exam");
    assert_eq!((word.before, word.prefix, word.typos), (vec!["john".to_owned(), "doe".to_owned()], true, 0));
    assert_eq!(shapes("1.2.3"), ["3 Exact:1+2+3"]);
    assert_eq!(shapes("red,blue;x").len(), 3);
}

#[test]
fn quotes_make_phrases() {
    let query = query("\"Red  shoes\" size “AB-12” \"open end");
    let phrases: Vec<_> = query.phrases.iter().map(|phrase| phrase.terms.join("+")).collect();
    assert_eq!(phrases, ["red+shoes", "ab+12", "open+end"]);
    assert_eq!(query.words.len(), 1);
}

#[test]
fn minus_excludes_words_and_phrases() {
    let query = query("-shoes -\"red hat\" e-mail - -AB-12 x -");
    let exclusions: Vec<_> =
        query.exclusions.iter().map(|exclusion| (exclusion.text.as_str(), exclusion.any.clone())).collect();
    let list = |terms: &[&str]| terms.iter().map(|term| (*term).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        exclusions,
        [
            ("shoes", vec![list(&["shoes"])]),
            ("red hat", vec![list(&["red", "hat"])]),
            ("AB-12", vec![list(&["ab12"]), list(&["ab", "12"])]),
        ]
    );
    assert_eq!(query.words.iter().map(|word| word.surface.as_str()).collect::<Vec<_>>(), ["email", "x"]);
}

#[test]
fn prefix_mode_decides_which_words_are_prefixes() {
    let prefixes = |text: &str, mode| -> Vec<bool> {
        read(text, mode, false).expect("a query").words.iter().map(|word| word.prefix).collect()
    };
    assert_eq!(prefixes("red sho", PrefixMode::Last), [false, true]);
    assert_eq!(prefixes("red sho ", PrefixMode::Last), [false, false], "a space ends the word");
    assert_eq!(prefixes("red sho,", PrefixMode::Last), [false, false], "and so does a sign");
    assert_eq!(prefixes("red sho -x", PrefixMode::Last), [false, false]);
    assert_eq!(prefixes("red sho", PrefixMode::All), [true, true]);
    assert_eq!(prefixes("red sho", PrefixMode::None), [false, false]);
    assert_eq!(prefixes("東 red 東京都", PrefixMode::Last), [true, false, false], "a lone letter begins pairs");
}

#[test]
fn typos_depend_on_the_length() {
    let typos = |text: &str| query(text).words[0].typos;
    let expected = [("shoe", 0), ("shoes", 1), ("keyboard", 1), ("keyboards", 2), ("ab-12345678", 0), ("東京都庁", 0)];
    for (text, edits) in expected {
        assert_eq!(typos(text), edits, "{text}");
    }
}

#[test]
fn exact_words_have_neither_synonyms_nor_typos() {
    let query = read("running laptop", PrefixMode::Last, true).expect("a query");
    assert_eq!(
        query.words.iter().map(shape).collect::<Vec<_>>(),
        ["running Exact:running Stem:_run Stem:run", "laptop Exact:laptop Stem:_laptop"]
    );
    assert!(query.words.iter().all(|word| word.typos == 0));
}

#[test]
fn synonyms_of_several_words_work_both_ways() {
    assert_eq!(shapes("ny ")[0], "ny Exact:ny Stem:_ny Synonym:new+york");
    let words = shapes("hotels in New York ");
    assert_eq!(words[2], "new Exact:new Stem:_new Synonym:ny");
    assert_eq!(words[3], "york Exact:york Stem:_york Synonym:ny");
    assert_eq!(shapes("new ")[0], "new Exact:new Stem:_new");
    assert_eq!(shapes("cafe pc ")[1], "pc Exact:pc Stem:_pc Synonym:laptop Synonym:notebook");
    assert!(shapes("laptop ")[0].ends_with("Synonym:notebook Synonym:cafepc Synonym:cafe+pc"));
}

#[test]
fn stop_words_are_dropped_unless_alone() {
    let surfaces = |text: &str| -> Vec<String> { query(text).words.into_iter().map(|word| word.surface).collect() };
    assert_eq!(surfaces("The lord of the rings"), ["lord", "rings"]);
    assert_eq!(surfaces("the of"), ["the", "of"]);
    assert_eq!(surfaces("the \"of rings\""), Vec::<String>::new());
    assert_eq!(query("\"of the\"").phrases[0].terms, ["of", "the"]);
}

#[test]
fn scripts_without_spaces_match_next_to_each_other() {
    assert_eq!(shapes("東京都"), ["京都 Exact:東京+京都"]);
    assert_eq!(query("東京都").words[0].before, ["東京"]);
    assert_eq!(shapes("Sony株式"), ["株式 Exact:sony+株式"]);
}

#[test]
fn signs_alone_are_no_query() {
    for text in ["", " ", "-", "\"\"", "\"", "-\"", "!? ... @@", "\u{301}", "*", "%", "--"] {
        assert!(query(text).is_empty(), "{text:?}");
    }
}

#[test]
fn caps_are_named_with_the_length() {
    let long = read(&"a".repeat(1025), PrefixMode::Last, false).expect_err("too long");
    assert_eq!(long.to_string(), "must have at most 1024 bytes; got 1025");
    let many = read(&"a ".repeat(33), PrefixMode::Last, false).expect_err("too many words");
    assert_eq!(many.to_string(), "must have at most 32 words; got 33");
    assert!(read(&"a ".repeat(32), PrefixMode::Last, false).is_ok());
    assert!(read(&"東".repeat(34), PrefixMode::Last, false).is_err(), "pairs count each");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_parsed_into_safe_terms(text in "(\\PC|[ \"-]|[a-c]){0,60}", exact in any::<bool>()) {
        if let Ok(query) = read(&text, PrefixMode::All, exact) {
            let words = query.words.iter().flat_map(|word| word.candidates.iter().flat_map(|candidate| &candidate.terms));
            let phrases = query.phrases.iter().flat_map(|phrase| &phrase.terms);
            let excluded = query.exclusions.iter().flat_map(|exclusion| exclusion.any.iter().flatten());
            for term in words.chain(phrases).chain(excluded) {
                let safe = |letter: char| letter == '_' || letter.is_ascii_lowercase() || letter.is_ascii_digit() || !letter.is_ascii();
                prop_assert!(!term.is_empty() && term.chars().all(safe), "{term}");
            }
            for word in &query.words {
                prop_assert!(!word.candidates.is_empty() && !word.surface.is_empty());
            }
        }
    }

    #[test]
    fn document_is_found_by_each_of_its_own_pieces(text in "[a-zA-Z0-9éß東京-]{1,12}( [a-zA-Z0-9._@-]{1,12}){0,3}") {
        let stream = index_terms(&Analyzer::new(Language::English).analyze(&text));
        let terms = distinct_terms([stream.as_str()]);
        let query = read(&text.replace(" -", " "), PrefixMode::Last, false).expect("a query");
        for word in &query.words {
            let found = word.candidates.iter().any(|candidate| {
                candidate.terms.iter().all(|term| terms.binary_search(&term.as_str()).is_ok())
            });
            prop_assert!(found, "{word:?} is not in {stream}");
        }
    }

    #[test]
    fn beginning_of_a_word_is_a_prefix_of_its_term(word in "[a-zA-Zéüøßя]{1,12}", letters in 1usize..12) {
        let begin: String = word.chars().take(letters).collect();
        let tokens = Analyzer::new(Language::None).analyze(&word);
        let surface = tokens.iter().next().map(|token| token.surface.to_owned()).unwrap_or_default();
        let query = read(&begin, PrefixMode::Last, false).expect("a query");
        if let [word] = query.words.as_slice() {
            prop_assert!(word.prefix && surface.starts_with(&word.surface), "{} begins {surface}", word.surface);
        }
    }
}
