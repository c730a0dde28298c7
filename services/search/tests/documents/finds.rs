//! Searches of the index by words, conditions and spread.

use std::ops::Bound;

use keyplane_search::domain::{Clause, Column, Packed, Scope, Slot, Spread, Token, Value};
use keyplane_search::error::Error;
use keyplane_search::store::{AnyOf, Find, Row};
use keyplane_valkey::ErrorKind;

use super::rig::{Rig, document, id};

fn tag(value: &str) -> Clause {
    Clause::Tag(Column::Tag(0), vec![Token::new(value)])
}

fn not(clause: Clause) -> Clause {
    Clause::Not(Box::new(clause))
}

fn any_of(terms: &[&[&str]]) -> AnyOf {
    let list = |terms: &&[&str]| terms.iter().map(|term| (*term).to_owned()).collect();
    AnyOf { columns: vec![0], terms: terms.iter().map(list).collect() }
}

async fn rig() -> Rig {
    let rig = Rig::start().await;
    let made = |id: &str, title: &str, status: &str, amount: i64| {
        let fields = [
            ("title", Value::Text(title.to_owned())),
            ("status", Value::Text(status.to_owned())),
            ("amount", Value::Integer(amount)),
        ];
        document(id, &fields)
    };
    rig.put(&[
        made("a", "blue sky", "open", 1),
        made("b", "blue sea", "Open!", 2),
        made("c", "red sky", "open", 3),
        document("d", &[("title", Value::Text("blue".to_owned()))]),
    ])
    .await;
    rig
}

/// Search of every document in `scope`.
fn all<'a>(scope: &'a Scope, always: &'a Clause) -> Find<'a> {
    Find { scope, clause: always, words: &[], not_words: &[], not_columns: &[0], spread: None, texts: &[], limit: 100 }
}

async fn rows(rig: &Rig, find: &Find<'_>) -> Result<Vec<Row>, Error> {
    let found = rig.store.find(&rig.definition.live.generation.placement, find).await?;
    let mut rows = found.rows;
    assert_eq!(found.total, rows.len() as u64);
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(rows)
}

fn ids(rows: Result<Vec<Row>, Error>) -> String {
    rows.expect("found").into_iter().map(|row| row.id).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn conditions_words_and_exclusions_are_combined() {
    let rig = rig().await;
    let (scope, always) = (Scope::new(&rig.definition.name), Clause::always());
    let all = all(&scope, &always);
    for (clause, expected) in [
        (tag("open"), "a c"),
        (tag("Open!"), "b"),
        (not(tag("open")), "b d"),
        (Clause::Tag(Column::Tag(0), vec![Token::missing()]), "d"),
        (Clause::Range(Column::Number(0), Bound::Excluded(1.0), Bound::Unbounded), "b c"),
        (Clause::Any(vec![tag("Open!"), Clause::All(vec![tag("open"), not(amount(3.0))])]), "a b"),
        (Clause::never(), ""),
    ] {
        assert_eq!(ids(rows(&rig, &Find { clause: &clause, ..all }).await), expected, "{clause:?}");
    }
    let words = [any_of(&[&["blue"], &["red", "sky"]]), any_of(&[&["sky"], &["sea"]])];
    assert_eq!(ids(rows(&rig, &Find { words: &words, ..all }).await), "a b c");
    let not_words = ["sea".to_owned(), "red".to_owned()];
    assert_eq!(ids(rows(&rig, &Find { words: &words, not_words: &not_words, ..all }).await), "a");
}

fn amount(number: f64) -> Clause {
    Clause::Range(Column::Number(0), Bound::Included(number), Bound::Included(number))
}

#[tokio::test]
async fn spread_narrows_to_its_range() {
    let rig = rig().await;
    let (scope, always) = (Scope::new(&rig.definition.name), Clause::always());
    let all = all(&scope, &always);
    for name in ["a", "b", "c", "d"] {
        let number = Spread::new(&rig.definition.name.collection, &id(name)).number;
        assert_eq!(ids(rows(&rig, &Find { spread: Some((number, number)), ..all }).await), name);
    }
    assert_eq!(ids(rows(&rig, &Find { spread: Some((0, u32::MAX)), ..all }).await), "a b c d");
}

#[tokio::test]
async fn row_holds_what_ranking_and_filters_need() {
    let rig = rig().await;
    let (scope, always) = (Scope::new(&rig.definition.name), Clause::always());
    let all = all(&scope, &always);
    let rows = rows(&rig, &Find { texts: &[0], ..all }).await.expect("found");
    assert_eq!(rows[0].texts, [Some("blue sky".into())]);
    let stored = rig.load("a").await.expect("a document");
    assert_eq!((rows[0].revision, rows[0].expires), (stored.revision, None));
    let packed = Packed::read(&rows[0].packed).expect("packed values");
    assert!(matches!(packed.get(1), Slot::Text("open")));
    assert!(matches!(packed.get(3), Slot::Number(number) if number == 1.0));
}

#[tokio::test]
async fn search_that_is_too_long_is_known_before_it_is_sent() {
    let rig = rig().await;
    let (scope, always) = (Scope::new(&rig.definition.name), Clause::always());
    let all = all(&scope, &always);
    let long: Vec<String> = (0..700).map(|number| format!("a-rather-long-word-{number}").replace('-', "")).collect();
    let words = [AnyOf { columns: vec![0], terms: long.into_iter().map(|term| vec![term]).collect() }];
    let find = Find { words: &words, ..all };
    assert_eq!(find.text(), None);
    let result = rows(&rig, &find).await;
    assert!(matches!(result, Err(Error::Store(error)) if error.kind() == ErrorKind::Script));
    let foreign = [any_of(&[&["blue*"]])];
    let result = rows(&rig, &Find { words: &foreign, ..all }).await;
    assert!(matches!(result, Err(Error::Corrupt(_))), "no term has such a character");
}
