//! Tests of the analyser.

use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

use super::*;

const LANGUAGES: [Language; 19] = [
    Language::None,
    Language::Arabic,
    Language::Danish,
    Language::Dutch,
    Language::English,
    Language::Finnish,
    Language::French,
    Language::German,
    Language::Greek,
    Language::Hungarian,
    Language::Italian,
    Language::Norwegian,
    Language::Portuguese,
    Language::Romanian,
    Language::Russian,
    Language::Spanish,
    Language::Swedish,
    Language::Tamil,
    Language::Turkish,
];

/// Term stream of a text in a language.
fn stream(text: &str, language: Language) -> String {
    index_terms(&Analyzer::new(language).analyze(text))
}

fn plain(text: &str) -> String {
    stream(text, Language::None)
}

#[test]
fn words_are_folded_and_keep_their_spelling() {
    assert_eq!(plain("The QUICK fox."), "the quick fox");
    assert_eq!(plain("Café"), "cafe __café");
    assert_eq!(plain("Cafe\u{301}"), "cafe __café", "decomposed");
    assert_eq!(plain("STRAẞE Straße"), "strasse strasse");
    assert_eq!(plain("Łódź Ærø"), "lodz __łódź aero __ærø");
    assert_eq!(plain("ＡＢＣ ﬁn"), "abc fin", "compatibility forms");
    assert_eq!(plain("co\u{ad}operate zero\u{200b}width"), "cooperate zero width");
    assert_eq!(plain("Acme™ m²"), "acme m 2  m2");
}

#[test]
fn scripts_fold_by_their_own_rules() {
    assert_eq!(plain("Привет МИР"), "привет мир");
    assert_eq!(plain("Ёлка"), "елка __ёлка");
    assert_eq!(plain("ΣΊΣΥΦΟΣ σίσυφος"), "σισυφοσ __σίσυφοσ σισυφοσ __σίσυφοσ", "final sigma");
    assert_eq!(plain("İstanbul ISTANBUL ısı"), "istanbul __i\u{307}stanbul istanbul isi __ısı");
    assert_eq!(plain("مُحَمَّد العربيّة"), "محمد __مُحَمَّد العربيه __العربيّة");
    assert_eq!(plain("أحمد كـتاب ١٢٣"), "احمد __أحمد كتاب 123");
    assert_eq!(plain("हिन्दी भाषा"), "हिन्दी भाषा", "vowel signs stay");
    assert_eq!(plain("שָׁלוֹם"), "שלום __ש\u{5b8}\u{5c1}לו\u{5b9}ם");
    assert_eq!(plain("Tiếng Việt"), "tieng __tiếng viet __việt");
}

#[test]
fn scripts_without_spaces_are_paired() {
    assert_eq!(plain("東京都"), "東京 京都");
    assert_eq!(plain("東 京"), "東 京", "lone letters");
    assert_eq!(plain("ｶﾞﾗｽ"), "ガラ ラス", "half-width letters with a voicing mark");
    assert_eq!(plain("Sony株式会社2024年"), "sony 株式 式会 会社 2024 年");
    assert_eq!(plain("삼성전자"), "삼성 성전 전자");
    assert_eq!(plain("ภาษาไทย"), "ภา าษ ษา าไ ไท ทย");
    assert_eq!(plain("コーヒー"), "コー ーヒ ヒー");
}

#[test]
fn identifiers_are_split_and_joined() {
    assert_eq!(plain("AB-1234"), "ab 1234  ab1234");
    assert_eq!(plain("ab1234"), "ab 1234  ab1234");
    assert_eq!(plain("python3-numpy"), "python 3  python3 numpy  python3numpy");
    assert_eq!(plain("x86_64"), "x 86  x86 64  x8664");
    assert_eq!(plain("O'Brien don’t"), "o brien  obrien don t  dont");
    assert_eq!(plain("1.2.3-4ubuntu5"), "1 2 3 4 ubuntu 5  4ubuntu5", "no joined form of a version");
    assert_eq!(plain("3.14 U.S.A."), "3 14 u s a  usa");
    assert_eq!(plain("john.doe@example.com"), "john doe  johndoe example com  examplecom");
    assert_eq!(plain("/usr/lib/libfoo.so"), "usr lib libfoo so  libfooso");
    assert_eq!(plain("libexpr2.5 v1.2"), "libexpr 2  libexpr2 5  libexpr25 v 1  v1 2  v12", "a name with a version");
    assert_eq!(plain("a--b -c d-"), "a b c d");
    assert_eq!(plain("AT&T AC/DC GTK+"), "at t  att ac dc gtk");
    assert_eq!(plain("see a47dfd5910d7-b x"), "see a47dfd5910d7 b  a47dfd5910d7b x", "a long mix is one word");
    assert_eq!(plain("0.4.0-1 2024-01-15"), "0 4 0 1 2024 01 15  20240115");
    assert_eq!(plain("a-b-c-d-e-f-g-h-i"), "a b c d e f g h i", "no joined form of nine words");
}

#[test]
fn signs_that_name_a_language_are_words() {
    assert_eq!(plain("C++, C#"), "c plusplus  cplusplus c sharp  csharp");
    assert_eq!(
        plain("C++17 libstdc++-dev"),
        "c plusplus 17  cplusplus17 libstdc plusplus  libstdcplusplus dev  libstdcplusplusdev"
    );
    assert_eq!(plain("C#-Entwickler (F#)"), "c sharp  csharp entwickler  csharpentwickler f sharp  fsharp");
    assert_eq!(
        plain("issue#12 a+b a+++ ++ # 1++ x#\u{fe0f}\u{20e3}"),
        "issue 12  issue12 a b  ab a 1 x",
        "other signs are none"
    );
    let tokens = Analyzer::new(Language::None).analyze("in C++");
    let ranges: Vec<_> = tokens.iter().map(|token| (token.start, token.end, token.joined)).collect();
    assert_eq!(ranges, [(0, 2, false), (3, 4, false), (4, 6, false), (3, 6, true)]);
}

#[test]
fn emoji_are_words() {
    assert_eq!(plain("I ❤️ 🍕!"), "i ❤ 🍕");
    assert_eq!(plain("👍🏽 👨‍👩‍👧 🇩🇪"), "👍 __👍🏽 👨👩👧 🇩🇪");
}

#[test]
fn stems_follow_the_language_of_the_field() {
    assert_eq!(stream("running shoes run", Language::English), "running _run shoes _shoe run");
    assert_eq!(stream("running", Language::None), "running");
    assert_eq!(stream("Bücher", Language::German), "bucher _buch __bücher");
    assert_eq!(stream("книги", Language::Russian), "книги _книг");
    assert_eq!(stream("étudiantes", Language::French), "etudiantes _etudi __étudiantes");
    assert_eq!(stream("x86 東京", Language::English), "x 86  x86 東京");
}

#[test]
fn positions_and_ranges_point_into_the_text() {
    let text = "Ein Café-2, bitte";
    let tokens = Analyzer::new(Language::None).analyze(text);
    let seen: Vec<_> =
        tokens.iter().map(|token| (token.position, token.span, &text[token.start..token.end], token.joined)).collect();
    let expected = [
        (0, 1, "Ein", false),
        (1, 1, "Café", false),
        (2, 1, "2", false),
        (1, 2, "Café-2", true),
        (3, 1, "bitte", false),
    ];
    assert_eq!(seen, expected);
    assert_eq!(tokens.positions(), 4);
}

#[test]
fn long_words_and_texts_are_cut() {
    let word = "ä".repeat(100);
    let tokens = Analyzer::new(Language::German).analyze(&word);
    let lengths: Vec<_> =
        tokens.iter().map(|token| (token.surface.len(), token.spelling.map(str::len), token.end)).collect();
    assert_eq!(lengths, [(64, Some(64), 200)]);
    let text = "é ".repeat(MAX_TEXT_BYTES);
    let end = Analyzer::new(Language::None).analyze(&text).iter().last().map(|token| token.end);
    assert!(end.is_some_and(|end| end <= MAX_TEXT_BYTES && end > MAX_TEXT_BYTES - 4), "{end:?}");
}

#[test]
fn distinct_terms_are_what_the_lexicon_counts() {
    let streams = [plain("Café cafe AB-1"), stream("running", Language::English)];
    let terms = distinct_terms(streams.iter().map(String::as_str));
    assert_eq!(terms, ["1", "_run", "ab", "ab1", "cafe", "running"]);
}

/// Text of pieces that meet the rules' corners, and of any characters.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zA-Z]{1,8}",
        "[0-9]{1,4}",
        "[-_.'&+~#@/: \u{a0}]{1,2}",
        "(\\+\\+|#)\u{fe0f}?",
        "[東京都ガｶﾞ한국ไทย่]{1,4}",
        "[áÉßİıłøΣς]{1,4}",
        "[👍🏽\u{200d}\u{fe0f}❤🇩🇪]{1,3}",
        "[\u{300}-\u{310}\u{ad}\u{200b}\u{640}]{1,2}",
        "\\PC{0,6}",
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn sign_that_folds_into_several_pairs_like_them() {
    let analyzer = Analyzer::new(Language::None);
    let surfaces = |text| analyzer.analyze(text).iter().map(|token| token.surface.to_owned()).collect::<Vec<_>>();
    assert_eq!(surfaces("の\u{1f200}"), surfaces("のほか"));
}

fn languages() -> impl Strategy<Value = Language> {
    prop::sample::select(LANGUAGES.to_vec())
}

fn is_safe(term: &str) -> bool {
    !term.is_empty()
        && term.len() <= MAX_TERM_BYTES
        && term.chars().all(|character| {
            if character.is_ascii() {
                character.is_ascii_lowercase() || character.is_ascii_digit()
            } else {
                !character.is_whitespace() && !character.is_control()
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_gives_safe_terms_on_grapheme_boundaries(text in texts(), language in languages()) {
        let boundaries: Vec<usize> = text.grapheme_indices(true).map(|(at, _)| at).chain([text.len()]).collect();
        let tokens = Analyzer::new(language).analyze(&text);
        let mut next = 0;
        for token in tokens.iter() {
            prop_assert!(is_safe(token.surface), "{token:?}");
            prop_assert!(token.spelling.is_none_or(is_safe), "{token:?}");
            prop_assert!(token.stem.is_none_or(|stem| stem.strip_prefix('_').is_some_and(is_safe)), "{token:?}");
            prop_assert!(token.start < token.end);
            prop_assert!(boundaries.binary_search(&token.start).is_ok() && boundaries.binary_search(&token.end).is_ok());
            if !token.joined {
                prop_assert_eq!(token.position, next);
                next += 1;
            }
        }
        prop_assert_eq!(tokens.positions(), next);
    }

    #[test]
    fn stream_reads_back_as_the_tokens(text in texts(), language in languages()) {
        let tokens = Analyzer::new(language).analyze(&text);
        let stream = index_terms(&tokens);
        let mut expected = Vec::new();
        for token in tokens.iter() {
            let kind = if token.joined { EntryKind::Joined } else { EntryKind::Surface };
            let entry = Entry { position: token.position, span: token.span, kind, term: token.surface };
            expected.push(entry);
            expected.extend(token.stem.map(|term| Entry { kind: EntryKind::Stem, term, ..entry }));
            expected.extend(token.spelling.map(|term| Entry { kind: EntryKind::Spelling, term, ..entry }));
        }
        prop_assert_eq!(read_terms(&stream).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn terms_are_their_own_surface(text in texts()) {
        let analyzer = Analyzer::new(Language::None);
        let first = analyzer.analyze(&text);
        for token in first.iter() {
            let again: String =
                analyzer.analyze(token.surface).iter().filter(|part| !part.joined).map(|part| part.surface).collect();
            prop_assert_eq!(&again, token.surface);
        }
    }

    #[test]
    fn stems_asked_for_later_are_the_same(text in texts(), words in "[a-zà-ÿа-яά-ώ]{2,12}( [a-zß-ÿ]{3,9}){2}", language in languages()) {
        let text = text + &words;
        let eager = Analyzer::new(language).analyze(&text);
        let later = Analyzer::new(Language::None).analyze(&text);
        for (token, plain) in eager.iter().zip(later.iter()) {
            if token.surface.len() < MAX_TERM_BYTES - 8 {
                let stem = Analyzer::new(language).stem_of(&plain);
                prop_assert_eq!(stem.as_deref(), token.stem);
            }
            if let Some(stem) = token.stem.filter(|_| stems_keep_the_first_letter(language)) {
                prop_assert_eq!(stem.chars().nth(1), token.surface.chars().next());
            }
        }
    }

    #[test]
    fn reader_takes_any_text(text in any::<String>()) {
        for entry in read_terms(&text) {
            prop_assert!(entry.span >= 1);
        }
    }

    #[test]
    fn case_and_composition_do_not_matter(text in "[a-zA-Zà-öø-ÿĀ-ňŊ-žА-яёα-ω0-9 .-]{0,30}") {
        let decomposed = icu_normalizer::DecomposingNormalizer::new_nfd().normalize(&text).into_owned();
        prop_assert_eq!(plain(&text), plain(&decomposed));
        let surfaces = |text: &str| {
            let tokens = Analyzer::new(Language::None).analyze(text);
            tokens.iter().map(|token| token.surface.to_owned()).collect::<Vec<_>>()
        };
        prop_assert_eq!(surfaces(&text), surfaces(&text.to_uppercase()));
    }
}
