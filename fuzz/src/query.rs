//! Query texts: analysed, parsed, expanded, sent to the engine, and marked in a text.

use std::sync::LazyLock;

use keyplane_search::domain::analysis::{Analyzer, MAX_TERM_BYTES, distinct_terms, index_terms, read_terms};
use keyplane_search::domain::highlight::{Escape, Highlighter, Style};
use keyplane_search::domain::lexicon::{Lexicon, LogId};
use keyplane_search::domain::query::{self, Query, Rules, Vocabulary};
use keyplane_search::domain::rank::{Expanded, expand};
use keyplane_search::domain::request::PrefixMode;
use keyplane_search::domain::{Clause, Language, Schema, Synonyms};
use keyplane_search::store::AnyOf;

use crate::sent;

const LANGUAGES: [Language; 3] = [Language::None, Language::English, Language::German];
/// Marks that no text has: the noncharacters of the Arabic block.
const STYLE: Style<'_> = Style { before: "\u{fdd0}", after: "\u{fdd1}", snippet_words: 0, escape: Escape::None };

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let words = ["NY", "New York", "C++", "東京"].map(str::to_owned).to_vec();
    let stop_words = vec!["the".to_owned()];
    Vocabulary::new(&Schema { synonyms: vec![Synonyms { words }], stop_words, ..Schema::default() })
});

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let text = "red reds blue shoe shoes running new york ny python3-numpy-doc AB-1234 C++ café 東京都 a b c 1 12 123";
    let stream = index_terms(&Analyzer::new(Language::English).analyze(text));
    let terms = distinct_terms([stream.as_str()]).into_iter().map(|term| (term.to_owned(), 3));
    Lexicon::build(terms.collect(), LogId::default())
});

/// Runs any text behind a byte of settings.
pub(crate) fn run(data: &[u8]) {
    let Some((settings, text)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    analyse(&text);
    let prefix = [PrefixMode::Last, PrefixMode::All, PrefixMode::None][usize::from(settings % 3)];
    let exact_words = settings & 4 != 0;
    let rules = Rules { vocabulary: &VOCABULARY, languages: &LANGUAGES, prefix, exact_words };
    let Ok(query) = query::parse(&text, &rules) else { return };
    let expanded = expand(&query, &LEXICON);
    send(&query, &expanded);
    mark(&text, &query, &expanded);
}

fn analyse(text: &str) {
    for language in LANGUAGES {
        let tokens = Analyzer::new(language).analyze(text);
        for token in tokens.iter() {
            assert!(!token.surface.is_empty() && token.surface.len() <= MAX_TERM_BYTES, "{token:?}");
            assert!(token.start < token.end && text.get(token.start..token.end).is_some(), "{token:?}");
        }
        let stream = index_terms(&tokens);
        let surfaces: Vec<&str> = read_terms(&stream).map(|entry| entry.term).collect();
        assert!(tokens.iter().all(|token| surfaces.contains(&token.surface)), "{stream}");
    }
}

/// Sends each list of terms by itself, then all of them.
fn send(query: &Query, expanded: &Expanded) {
    let (scope, always) = (sent::scope("acme"), Clause::always());
    let alternatives = |lists: Vec<Vec<String>>| AnyOf { columns: vec![0, 1], terms: lists };
    let mut words: Vec<AnyOf> = Vec::new();
    for word in &query.words {
        words.push(alternatives(word.candidates.iter().map(|candidate| candidate.terms.clone()).collect()));
    }
    for word in &expanded.words {
        words.push(alternatives(word.variants.iter().map(|variant| variant.terms.clone()).collect()));
    }
    words.extend(query.phrases.iter().map(|phrase| alternatives(vec![phrase.terms.clone()])));
    for list in words.iter().flat_map(|word| &word.terms) {
        let alone = [alternatives(vec![list.clone()])];
        assert!(sent::checked(&scope, &always, &alone, &[]).is_some(), "a term can't be sent: {list:?}");
    }
    let not_words: Vec<String> = expanded.excluded.iter().filter_map(|list| list.first().cloned()).collect();
    sent::checked(&scope, &always, &words, &not_words);
}

fn mark(text: &str, query: &Query, expanded: &Expanded) {
    if text.contains(['\u{fdd0}', '\u{fdd1}']) {
        return;
    }
    let candidates = query.words.iter().flat_map(|word| &word.candidates).map(|candidate| candidate.terms.as_slice());
    let variants = expanded.words.iter().flat_map(|word| &word.variants).map(|variant| variant.terms.as_slice());
    let highlighter = Highlighter::new(candidates.chain(variants));
    for language in LANGUAGES {
        if let Some(marked) = highlighter.mark(text, language, &STYLE) {
            assert_eq!(marked.text.replace(['\u{fdd0}', '\u{fdd1}'], ""), text);
        }
        let _ = highlighter.mark(text, language, &Style { snippet_words: 3, escape: Escape::Html, ..STYLE });
    }
}
