//! Single writes, and what each leaves behind.

use std::collections::HashMap;

use keyplane_search::domain::lexicon::LogId;
use keyplane_search::domain::{Document, Outcome, Value};
use keyplane_search::store::LogRead;
use keyplane_search::store::documents::{Fenced, Put, PutResult, Receipt, Removal, Removed, Room};

use super::rig::{Rig, document, field_name, id, schema, titled};

fn receipt(result: &PutResult) -> Receipt {
    let PutResult::Stored(stored) = result else { panic!("not stored: {result:?}") };
    stored.receipt
}

fn outcome(result: &PutResult) -> Outcome {
    receipt(result).outcome
}

/// Time in milliseconds since 1970, some seconds away.
fn millis(away: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_millis()).expect("a date") + away * 1_000
}

#[tokio::test]
async fn document_is_read_as_it_was_written_and_found() {
    let rig = Rig::start().await;
    let mut sent = document(
        "a",
        &[
            ("title", Value::Text("Blue sky".into())),
            ("status", Value::Text("Open!".into())),
            ("tags", Value::Tags(vec!["x".into(), "y|z".into()])),
            ("amount", Value::Integer(-7)),
        ],
    );
    (sent.version, sent.expires) = (Some(3), Some(millis(60)));
    let first = receipt(&rig.put(std::slice::from_ref(&sent)).await[0]);
    assert_eq!(first.outcome, Outcome::Created);
    let stored = rig.load("a").await.expect("a document");
    assert_eq!((&stored.document, stored.revision), (&sent, first.revision));
    assert!(stored.created > 0 && stored.created == stored.updated);
    assert_eq!(rig.ids(&rig.definition.live, &["blue", "sky"]).await, ["a"]);
    assert!(rig.ids(&rig.definition.live, &["sea"]).await.is_empty());
}

#[tokio::test]
async fn same_content_is_written_once() {
    let rig = Rig::start().await;
    let first = receipt(&rig.put(&[titled("a", "blue")]).await[0]);
    let same = receipt(&rig.put(&[titled("a", "blue")]).await[0]);
    assert_eq!(same, Receipt { outcome: Outcome::Unchanged, ..first });
    let other = receipt(&rig.put(&[titled("a", "red")]).await[0]);
    assert_eq!((other.outcome, other.created), (Outcome::Updated, first.created));
    assert!(other.revision > first.revision && other.updated >= first.updated);
    assert!(rig.ids(&rig.definition.live, &["blue"]).await.is_empty(), "vanished words are not found");
}

#[tokio::test]
async fn older_version_never_overwrites_a_newer_one() {
    let rig = Rig::start().await;
    let at = |version, title: &str| keyplane_search::domain::Document { version, ..titled("a", title) };
    assert_eq!(outcome(&rig.put(&[at(Some(5), "five")]).await[0]), Outcome::Created);
    assert_eq!(rig.put(&[at(Some(4), "four")]).await, [PutResult::Older { current: 5 }]);
    assert_eq!(outcome(&rig.put(&[at(Some(5), "five again")]).await[0]), Outcome::Updated);
    assert_eq!(rig.remove("a", Some(4), None).await, Removed::Older { current: 5 });
    assert!(matches!(rig.remove("a", Some(7), None).await, Removed::Gone { existed: true, .. }));
    assert_eq!(rig.put(&[at(Some(6), "six")]).await, [PutResult::Older { current: 7 }], "the deletion is newer");
    assert_eq!(rig.load("a").await, None);
    assert!(matches!(rig.remove("a", Some(3), None).await, Removed::Gone { existed: false, .. }));
    assert_eq!(
        rig.put(&[at(Some(6), "six")]).await,
        [PutResult::Older { current: 7 }],
        "an older deletion changes nothing"
    );
    assert_eq!(outcome(&rig.put(&[at(Some(8), "eight")]).await[0]), Outcome::Created);
    assert_eq!(
        outcome(&rig.put(&[at(None, "none")]).await[0]),
        Outcome::Updated,
        "a write without a version is not compared"
    );
}

#[tokio::test]
async fn write_of_another_revision_changes_nothing() {
    let rig = Rig::start().await;
    let missing = rig.put_with(&[titled("a", "x")], |put: &mut Put<'_>| put.revision = Some(1)).await;
    assert_eq!(missing, [PutResult::Changed { current: None }]);
    let first = receipt(&rig.put(&[titled("a", "blue")]).await[0]);
    let second = rig.put_with(&[titled("a", "red")], |put: &mut Put<'_>| put.revision = Some(first.revision)).await;
    let late = rig.put_with(&[titled("a", "late")], |put: &mut Put<'_>| put.revision = Some(first.revision)).await;
    assert_eq!(late, [PutResult::Changed { current: Some(receipt(&second[0]).revision) }]);
    let current = Some(receipt(&second[0]).revision);
    assert_eq!(rig.remove("a", None, Some(first.revision)).await, Removed::Changed { current });
    assert!(matches!(rig.remove("a", None, current).await, Removed::Gone { existed: true, .. }));
}

#[tokio::test]
async fn full_tenant_keeps_and_shrinks_its_documents() {
    let rig = Rig::start().await;
    rig.put(&[titled("a", "blue")]).await;
    let no_new = |put: &mut Put<'_>| put.room = Room::NoNew;
    assert_eq!(rig.put_with(&[titled("b", "red")], no_new).await, [PutResult::Full]);
    assert_eq!(outcome(&rig.put_with(&[titled("a", "a longer title")], no_new).await[0]), Outcome::Updated);
    let no_larger = |put: &mut Put<'_>| put.room = Room::NoLarger;
    assert_eq!(rig.put_with(&[titled("a", "a much longer title")], no_larger).await, [PutResult::Full]);
    assert_eq!(outcome(&rig.put_with(&[titled("a", "red")], no_larger).await[0]), Outcome::Updated);
}

#[tokio::test]
async fn expired_document_is_as_good_as_missing() {
    let rig = Rig::start().await;
    let expired =
        keyplane_search::domain::Document { expires: Some(millis(-1)), version: Some(9), ..titled("a", "blue") };
    assert_eq!(outcome(&rig.put(std::slice::from_ref(&expired)).await[0]), Outcome::Created);
    let again = keyplane_search::domain::Document { version: Some(1), ..titled("a", "red") };
    let PutResult::Stored(stored) = &rig.put(&[again]).await[0] else { panic!("stored") };
    assert_eq!(
        (stored.receipt.outcome, stored.replaced.as_str()),
        (Outcome::Created, "blue"),
        "its terms are still replaced"
    );
    let counters = rig.store.counters(&rig.definition.name, 1).await.expect("counters");
    assert_eq!(counters.documents, 1);
}

#[tokio::test]
async fn expiry_ends_the_key_a_day_later_unless_it_is_lifted() {
    let rig = Rig::start().await;
    let document = keyplane_search::domain::Document { expires: Some(millis(60)), ..titled("a", "blue") };
    rig.put(&[document]).await;
    let shape = rig.definition.live.generation.placement.shape;
    let partition = keyplane_search::domain::Spread::new(&rig.definition.name.collection, &id("a")).partition;
    let key = format!("{}:search~s-{shape}~g0:{{acme:p{partition}}}:tasks:a", rig.valkey.app());
    let ttl = rig.command(&["TTL", &key]).int().expect("a number");
    assert!((86_400..=86_460).contains(&ttl), "{ttl}");
    assert_eq!(rig.command(&["ZCARD", &rig.key(partition, "expiry")]).int(), Some(1));
    rig.put(&[titled("a", "blue")]).await;
    assert_eq!(rig.command(&["TTL", &key]).int(), Some(-1));
    assert_eq!(rig.command(&["ZCARD", &rig.key(partition, "expiry")]).int(), Some(0));
}

#[tokio::test]
async fn writer_of_an_outdated_definition_changes_nothing() {
    let mut rig = Rig::start().await;
    rig.put(&[titled("a", "blue")]).await;
    let old = rig.definition.clone();
    rig.definition.epoch = 9;
    rig.put(&[titled("a", "red")]).await;
    let partition = keyplane_search::domain::Spread::new(&old.name.collection, &id("a")).partition;
    let removal = Removal { id: &id("a"), version: None, revision: None };
    assert_eq!(rig.store.remove(&old, partition, &[removal]).await.expect("an answer"), Fenced::Stale);
    assert_eq!(rig.store.put(&old, partition, &[]).await.expect("an answer"), Fenced::Stale);
    rig.command(&["DEL", &rig.key(partition, "state")]);
    assert_eq!(rig.store.put(&rig.definition, partition, &[]).await.expect("an answer"), Fenced::Stale, "deleted");
}

#[tokio::test]
async fn rebuild_has_writes_in_both_generations() {
    let mut rig = Rig::start().await;
    let mut other = schema();
    other.fields.retain(|field| field.name != field_name("status"));
    other.fields[2].kind = keyplane_search::domain::FieldKind::Boolean;
    rig.second(other).await;
    let second = rig.definition.second().expect("a second generation").clone();
    rig.put(&[titled("a", "blue"), titled("b", "blue sky")]).await;
    for build in [&rig.definition.live, &second] {
        assert_eq!(rig.ids(build, &["blue"]).await, ["a", "b"]);
    }
    rig.remove("a", None, None).await;
    // An amount is no boolean: the second generation has no place for the document.
    let misfit = document("b", &[("title", Value::Text("blue".into())), ("amount", Value::Integer(7))]);
    rig.put(&[misfit]).await;
    assert_eq!(rig.ids(&rig.definition.live, &["blue"]).await, ["b"]);
    assert!(rig.ids(&second, &["blue"]).await.is_empty());
    let counters = rig.store.counters(&rig.definition.name, 2).await.expect("counters");
    assert_eq!((counters.documents, counters.bytes), (0, 0));
    let partition = keyplane_search::domain::Spread::new(&rig.definition.name.collection, &id("b")).partition;
    let state = rig.key(partition, "state");
    let reason = rig.command(&["HGET", &state, &format!("bad:{}", rig.definition.epoch)]);
    assert!(reason.text().is_some_and(|reason| !reason.is_empty()), "{reason:?}");
}

#[tokio::test]
async fn lexicon_change_of_a_batch_happens_once() {
    let rig = Rig::start().await;
    let name = &rig.definition.name;
    let deltas: Vec<(String, i64)> = (0..1_200).map(|number| (format!("w{number}"), 2)).collect();
    let first = rig.store.lexicon_update(name, 1, "batch", &deltas).await.expect("changed");
    let again = rig.store.lexicon_update(name, 1, "batch", &deltas).await.expect("changed");
    assert_eq!(first, again);
    assert_eq!(rig.store.lexicon_head(name, 1).await.ok(), first);
    let lexicon = rig.lexicon(1).await;
    assert!(lexicon.len() == 1_200 && lexicon.values().all(|frequency| *frequency == 2));
    let less: Vec<(String, i64)> = vec![("w0".to_owned(), -1), ("w1".to_owned(), -5), ("new".to_owned(), -1)];
    rig.store.lexicon_update(name, 1, "other", &less).await.expect("changed");
    let lexicon = rig.lexicon(1).await;
    assert_eq!((lexicon.get("w0"), lexicon.get("w1"), lexicon.get("new")), (Some(&1), None, None), "never below zero");
    assert_eq!(rig.store.lexicon_update(name, 7, "batch", &deltas).await.ok(), Some(None), "no such generation");
}

#[tokio::test]
async fn log_that_was_trimmed_says_so() {
    let rig = Rig::start().await;
    let name = &rig.definition.name;
    let head = rig.store.lexicon_head(name, 1).await.expect("a version");
    let log = format!("{}:search:{{acme:lexicon}}:tasks:1:log", rig.valkey.app());
    rig.store.lexicon_update(name, 1, "batch", &[("w".to_owned(), 1)]).await.expect("changed");
    assert!(matches!(rig.store.lexicon_log(name, 1, head).await, Ok(LogRead::Changes { .. })));
    let before = rig.store.lexicon_head(name, 1).await.expect("a version");
    rig.store.lexicon_update(name, 1, "later", &[("w".to_owned(), 1)]).await.expect("changed");
    rig.command(&["XTRIM", &log, "MAXLEN", "1"]);
    let read = rig.store.lexicon_log(name, 1, before).await.expect("an answer");
    let LogRead::Changes { changes, .. } = read else { panic!("nothing is missing after {before}") };
    assert_eq!(changes, [("w".to_owned(), 2)]);
    for version in [head, LogId::default()] {
        let read = rig.store.lexicon_log(name, 1, version).await.expect("an answer");
        assert_eq!(read, LogRead::Trimmed);
    }
}

#[tokio::test]
async fn log_loses_its_old_entries_to_later_ones() {
    let rig = Rig::start().await;
    let name = &rig.definition.name;
    let log = format!("{}:search:{{acme:lexicon}}:tasks:1:log", rig.valkey.app());
    rig.command(&["DEL", &log]);
    rig.command(&["XADD", &log, "1-1", "init", "1"]);
    rig.command(&["XADD", &log, "2-1", "d", "old\u{1f}1"]);
    let update = async |batch: &str| {
        let updated = rig.store.lexicon_update(name, 1, batch, &[("w".to_owned(), 1)]).await.expect("changed");
        updated.expect("an open lexicon")
    };
    update("first").await;
    assert_eq!(rig.command(&["XLEN", &log]).int(), Some(1));
    let last = update("second").await;
    assert_eq!(rig.command(&["XLEN", &log]).int(), Some(2), "entries of the last ten minutes stay");
    let read = rig.store.lexicon_log(name, 1, LogId { ms: 2, seq: 1 }).await.expect("an answer");
    let changes = vec![("w".to_owned(), 1), ("w".to_owned(), 2)];
    assert_eq!(read, LogRead::Changes { changes, version: last, more: false });
}

/// Lua's stack holds some 8,000 values.
#[tokio::test]
async fn thousands_of_tags_that_end_at_once_are_uncounted() {
    let rig = Rig::start().await;
    let tags = |document: usize| Value::Tags((0..256).map(|tag| format!("{document}x{tag}")).collect());
    let mut documents = (0..).map(|number| document(&format!("d{number}"), &[("tags", tags(number))]));
    let here = |document: &Document| {
        keyplane_search::domain::Spread::new(&rig.definition.name.collection, &document.id).partition == 3
    };
    let tagged: Vec<Document> = documents.by_ref().filter(here).take(40).collect();
    rig.put(&tagged).await;
    let ids: Vec<_> = tagged.iter().map(|document| document.id.clone()).collect();
    let removals: Vec<Removal<'_>> = ids.iter().map(|id| Removal { id, version: None, revision: None }).collect();
    rig.store.remove(&rig.definition, 3, &removals).await.expect("removed");
    let counters = rig.store.counters(&rig.definition.name, 1).await.expect("counters");
    assert_eq!(counters, keyplane_search::store::Counters { values: Some(HashMap::new()), ..Default::default() });
}

#[tokio::test]
async fn id_of_any_length_is_found() {
    let rig = Rig::start().await;
    let long = "|".repeat(128);
    rig.put(&[titled(&long, "blue"), titled("a|b", "blue")]).await;
    let mut expected = vec![long.clone(), "a|b".to_owned()];
    expected.sort();
    assert_eq!(rig.ids(&rig.definition.live, &["blue"]).await, expected);
    assert!(rig.load(&long).await.is_some());
}
