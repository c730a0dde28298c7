//! Results of queries.

use std::ops::Bound::{self, Excluded, Included, Unbounded};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;

fn range(low: Bound<f64>, high: Bound<f64>) -> Condition {
    Condition::Range(NUMBER, low, high)
}

fn not(condition: Condition) -> Condition {
    Condition::Not(Box::new(condition))
}

#[tokio::test]
async fn words_tags_and_numbers_are_found_within_the_scope() {
    let rig = Rig::start().await;
    for tenant in ["acme", "bond"] {
        rig.put(tenant, "a", &[("t0", "blue sky"), ("g0", "x|y"), ("n0", "-5")]).await;
        rig.put(tenant, "b", &[("t0", "blue sea"), ("g0", "y"), ("n0", "0")]).await;
        rig.put(tenant, "c", &[("t0", "red"), ("g0", "z")]).await;
    }
    for (condition, expected) in [
        (Condition::All(vec![]), "a b c"),
        (word("blue"), "a b"),
        (tags(&["x", "z"]), "a c"),
        (range(Included(-5.0), Excluded(0.0)), "a"),
        (range(Excluded(-5.0), Unbounded), "b"),
        (range(Unbounded, Unbounded), "a b"),
        (not(range(Unbounded, Unbounded)), "c"),
        (not(word("blue")), "c"),
        (Condition::All(vec![not(word("sky")), not(tags(&["z"]))]), "b"),
        (Condition::Any(vec![not(word("blue")), Condition::All(vec![word("sky"), tags(&["y"])])]), "a c"),
        (not(Condition::Any(vec![word("sky"), word("red")])), "b"),
        (Condition::Any(vec![]), ""),
        (tags(&[]), ""),
    ] {
        let found = rig.ids("acme", &condition).await.join(" ");
        assert_eq!(found, expected, "{}", query("acme").and(&condition).as_str());
        let matching = u64::try_from(expected.split_whitespace().count()).expect("a small number");
        assert_eq!(rig.valkey.count(&rig.index, &query("acme").and(&condition)).await, Ok(matching));
    }
}

/// Words that a lexer may take for something else.
#[tokio::test]
async fn word_of_any_form_is_found() {
    let rig = Rig::start().await;
    let words = [
        "as",
        "AS",
        "and",
        "or",
        "not",
        "inf",
        "nan",
        "1234",
        "0",
        "12e5",
        "0x10",
        "1e",
        "_x",
        "_0",
        "isempty",
        "ismissing",
        "true",
        "knn",
        "a_b",
        "\u{6771}\u{4eac}",
        "\u{43c}\u{438}\u{440}",
        "na\u{ef}ve",
        "\u{ba8}\u{bbf}",
        "x1\u{e9}",
        "\u{1f600}",
        "range",
        "dialect",
        "w",
        "007",
    ];
    for (position, text) in words.iter().enumerate() {
        rig.put("acme", &format!("d{position}"), &[("t0", text)]).await;
    }
    let long = "\u{6771}".repeat(21);
    rig.put("acme", "long", &[("t0", &long)]).await;
    for (position, text) in words.iter().enumerate() {
        let found = rig.ids("acme", &word(text)).await;
        // The engines fold the case of ASCII.
        assert!(found.contains(&format!("d{position}")), "{text}: {found:?}");
        assert!(found.len() <= 2, "{text}: {found:?}");
    }
    assert_eq!(rig.ids("acme", &word(&long)).await, ["long"]);
}

#[tokio::test]
async fn deleted_document_is_not_found() {
    let rig = Rig::start().await;
    rig.put("acme", "a", &[("t0", "blue")]).await;
    assert_eq!(rig.ids("acme", &word("blue")).await, ["a"]);
    rig.valkey.run(&DELETE, &[&rig.key("acme", "a")], &[]).await.expect("deleted");
    assert!(rig.ids("acme", &word("blue")).await.is_empty());
}

#[tokio::test]
async fn id_whose_key_holds_a_hash_is_none() {
    let rig = Rig::start().await;
    let long = "|".repeat(100);
    rig.put("acme", &long, &[("t0", "blue")]).await;
    rig.put("acme", "a|b", &[("t0", "blue")]).await;
    let rows = rig.rows(&query("acme"), |all| all).await.expect("found");
    let mut ids: Vec<_> = rows.into_iter().map(|row| row.id).collect();
    ids.sort();
    assert_eq!(ids, [None, Some("a|b".to_owned())]);
}

// === against a model ===

#[derive(Clone, Debug)]
struct Document {
    words: Vec<u8>,
    tags: Vec<u8>,
    number: Option<i8>,
}

fn document() -> impl Strategy<Value = Document> {
    let some = || proptest::collection::vec(0..4u8, 0..3);
    (some(), some(), proptest::option::of(-3..3i8)).prop_map(|(words, tags, number)| Document { words, tags, number })
}

#[derive(Clone, Debug)]
enum Tree {
    Word(u8),
    Tags(Vec<u8>),
    Range(Bound<i8>, Bound<i8>),
    Not(Box<Tree>),
    All(Vec<Tree>),
    Any(Vec<Tree>),
}

fn end() -> impl Strategy<Value = Bound<i8>> {
    prop_oneof![Just(Unbounded), (-3..3i8).prop_map(Included), (-3..3i8).prop_map(Excluded)]
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        (0..4u8).prop_map(Tree::Word),
        proptest::collection::vec(0..4u8, 0..3).prop_map(Tree::Tags),
        (end(), end()).prop_map(|(low, high)| Tree::Range(low, high)),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        let list = proptest::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            inner.prop_map(|tree| Tree::Not(Box::new(tree))),
            list.clone().prop_map(Tree::All),
            list.prop_map(Tree::Any),
        ]
    })
}

impl Tree {
    fn holds(&self, document: &Document) -> bool {
        match self {
            Tree::Word(word) => document.words.contains(word),
            Tree::Tags(tags) => tags.iter().any(|tag| document.tags.contains(tag)),
            Tree::Range(low, high) => {
                document.number.is_some_and(|number| std::ops::RangeBounds::contains(&(*low, *high), &number))
            }
            Tree::Not(tree) => !tree.holds(document),
            Tree::All(list) => list.iter().all(|tree| tree.holds(document)),
            Tree::Any(list) => list.iter().any(|tree| tree.holds(document)),
        }
    }

    fn condition(&self) -> Condition {
        let list = |list: &[Tree]| list.iter().map(Tree::condition).collect();
        match self {
            Tree::Word(number) => word(&format!("w{number}")),
            Tree::Tags(numbers) => {
                let texts: Vec<String> = numbers.iter().map(|number| format!("v{number}")).collect();
                tags(&texts.iter().map(String::as_str).collect::<Vec<_>>())
            }
            Tree::Range(low, high) => range(low.map(f64::from), high.map(f64::from)),
            Tree::Not(tree) => not(tree.condition()),
            Tree::All(trees) => Condition::All(list(trees)),
            Tree::Any(trees) => Condition::Any(list(trees)),
        }
    }
}

/// Holds the documents that a tenant finds against its tree, and against the scope.
#[tokio::test]
async fn query_finds_what_its_tree_says_within_the_scope() {
    let mut runner = TestRunner::default();
    let documents: Vec<Document> =
        proptest::collection::vec(document(), 40).new_tree(&mut runner).expect("a value").current();
    let rig = Rig::start().await;
    for (position, document) in documents.iter().enumerate() {
        let list = |prefix: &str, numbers: &[u8], separator: &str| {
            numbers.iter().map(|number| format!("{prefix}{number}")).collect::<Vec<_>>().join(separator)
        };
        let (words, tags) = (list("w", &document.words, " "), list("v", &document.tags, "|"));
        let number = document.number.map(|number| number.to_string());
        let mut fields = vec![("t0", words.as_str()), ("g0", if tags.is_empty() { "_0" } else { &tags })];
        fields.extend(number.as_deref().map(|number| ("n0", number)));
        let tenant = if position % 2 == 0 { "acme" } else { "bond" };
        rig.put(tenant, &format!("{position:02}"), &fields).await;
    }
    for _ in 0..400 {
        let tree = tree().new_tree(&mut runner).expect("a value").current();
        let query = query("acme").and(&tree.condition());
        let expected: Vec<String> = (0..documents.len())
            .filter(|position| position % 2 == 0 && tree.holds(&documents[*position]))
            .map(|position| format!("{position:02}"))
            .collect();
        assert_eq!(rig.ids("acme", &tree.condition()).await, expected, "{}", query.as_str());
    }
}
