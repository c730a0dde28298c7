//! Tests of highlights.

use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

use super::*;

const STYLE: Style<'static> = Style { before: "[", after: "]", snippet_words: 0, escape: Escape::None };

fn highlighter(lists: &[&[&str]]) -> Highlighter {
    let lists: Vec<Vec<String>> =
        lists.iter().map(|list| list.iter().map(|term| (*term).to_owned()).collect()).collect();
    Highlighter::new(lists.iter().map(Vec::as_slice))
}

fn mark(text: &str, language: Language, lists: &[&[&str]]) -> String {
    highlighter(lists).mark(text, language, &STYLE).map_or_else(|| "-".to_owned(), |marked| marked.text)
}

fn plain(text: &str, lists: &[&[&str]]) -> String {
    mark(text, Language::None, lists)
}

#[test]
fn words_are_marked_in_their_own_spelling() {
    assert_eq!(plain("Ein CAFÉ, bitte", &[&["cafe"]]), "Ein [CAFÉ], bitte");
    assert_eq!(plain("Cafe\u{301}!", &[&["cafe"]]), "[Cafe\u{301}]!");
    assert_eq!(plain("STRAẞE Straße", &[&["strasse"]]), "[STRAẞE] [Straße]");
    assert_eq!(plain("Привет, МИР", &[&["мир"]]), "Привет, [МИР]");
    assert_eq!(plain("nothing", &[&["cafe"]]), "-");
}

#[test]
fn stems_are_marked() {
    assert_eq!(mark("He was running a run", Language::English, &[&["_run"], &["run"]]), "He was [running] a [run]");
    assert_eq!(mark("running", Language::None, &[&["_run"]]), "-");
}

#[test]
fn identifiers_are_marked_in_all_their_forms() {
    assert_eq!(plain("see AB-1234.", &[&["ab1234"]]), "see [AB-1234].");
    assert_eq!(plain("see ab1234.", &[&["1234"]]), "see ab[1234].");
    assert_eq!(plain("ab 1234 or 1234 ab", &[&["ab", "1234"]]), "[ab] [1234] or 1234 ab");
}

#[test]
fn lists_match_at_consecutive_positions_alone() {
    assert_eq!(plain("New York, York New, new  york", &[&["new", "york"]]), "[New] [York], York New, [new]  [york]");
    assert_eq!(plain("new", &[&["new", "york"]]), "-");
}

#[test]
fn pairs_share_a_mark() {
    assert_eq!(plain("私は東京都に", &[&["東京", "京都"]]), "私は[東京都]に");
    assert_eq!(plain("東京都", &[&["京都"]]), "東[京都]");
    assert_eq!(plain("👍🏽 👍", &[&["👍"]]), "[👍🏽] [👍]");
}

#[test]
fn text_is_escaped_on_request() {
    let style = Style { before: "<em>", after: "</em>", escape: Escape::Html, ..STYLE };
    let marked = highlighter(&[&["b"]]).mark("<a href='x'>B & \"c\"</a>", Language::None, &style).expect("a match");
    assert_eq!(marked.text, "&lt;a href=&#39;x&#39;&gt;<em>B</em> &amp; &quot;c&quot;&lt;/a&gt;");
}

#[test]
fn snippet_is_the_window_with_the_most_matches() {
    let snippet = |text: &str, words| {
        let style = Style { snippet_words: words, ..STYLE };
        highlighter(&[&["x"]]).mark(text, Language::None, &style).expect("a match")
    };
    assert_eq!(snippet("x b c d e f g x h x i j.", 5).text, "…g [x] h [x] i…");
    assert_eq!(snippet("(a b x d) e f g", 4).text, "…b [x] d) e…");
    assert_eq!(snippet("a b c d e x!", 4).text, "…c d e [x]!");
    assert_eq!(snippet("(x b c d e", 2).text, "([x] b…");
    let whole = snippet("a x.", 9);
    assert_eq!((whole.text.as_str(), whole.snippet, whole.matches), ("a [x].", false, 1));
}

#[test]
fn long_text_is_marked_in_linear_time() {
    let text = "new york ".repeat(7_000);
    let lists: Vec<Vec<String>> = vec![vec!["new".into(), "york".into()], vec!["york".into(), "new".into()]];
    let style = Style { snippet_words: 30, ..STYLE };
    let marked = Highlighter::new(lists.iter().map(Vec::as_slice)).mark(&text, Language::English, &style);
    assert_eq!(marked.map(|marked| marked.matches), Some(30));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whole_text_without_its_marks_is_the_original(
        text in "(\\PC|[ab ]|東|京|e\u{301}|👍🏽){0,60}", terms in prop::collection::vec("[ab]|東京|東|e|👍", 1..4),
    ) {
        let lists: Vec<Vec<String>> = terms.iter().map(|term| vec![term.clone()]).chain([terms.clone()]).collect();
        let highlighter = Highlighter::new(lists.iter().map(Vec::as_slice));
        let style = Style { before: "\u{e000}", after: "\u{e001}", ..STYLE };
        if let Some(marked) = highlighter.mark(&text, Language::English, &style) {
            let clean: String = text.chars().filter(|letter| !matches!(letter, '\u{e000}' | '\u{e001}')).collect();
            prop_assert_eq!(marked.text.replace(['\u{e000}', '\u{e001}'], ""), clean);
            prop_assert!(marked.matches > 0 && !marked.snippet);
        }
    }

    #[test]
    fn snippets_have_their_words_and_split_no_grapheme(
        text in "(\\PC|[ab ]|東|京|e\u{301}|👍🏽| ){0,60}", size in 1usize..8,
    ) {
        let highlighter = highlighter(&[&["a"], &["b"], &["東京"], &["e"], &["👍"]]);
        let style = Style { before: "\u{2}", after: "\u{3}", snippet_words: size, ..STYLE };
        if let Some(marked) = highlighter.mark(&text, Language::None, &style) {
            let parts: Vec<&str> = marked.text.trim_matches('…').split(['\u{2}', '\u{3}']).collect();
            let part = parts.concat();
            let start = text.find(&part);
            prop_assert!(start.is_some(), "{part:?} is no part of {text:?}");
            let boundaries: Vec<usize> = text.grapheme_indices(true).map(|(at, _)| at).chain([text.len()]).collect();
            let fits = text.match_indices(&part).any(|(at, _)| {
                let mut ends = parts.iter().scan(at, |end, part| { *end += part.len(); Some(*end) });
                boundaries.contains(&at) && ends.all(|end| boundaries.contains(&end))
            });
            prop_assert!(fits, "{marked:?} splits a grapheme");
            let words = Analyzer::new(Language::None).analyze(&part).positions();
            prop_assert!(words as usize <= size, "{words} words");
        }
    }
}
