//! Candidates of a ranking: pages share them, whatever happens between two pages.

use keyplane_contracts::names::CollectionName;
use keyplane_search::app::search::Search;
use keyplane_search::domain::request::{PrefixMode, SearchRequest};
use keyplane_search::domain::{Document, Value};

use crate::rig::{Rig, document, ids, request, schema};

fn titled(id: &str, title: &str) -> Document {
    document(id, &[("title", Value::Text(title.to_owned()))])
}

fn noted(id: &str, notes: &str) -> Document {
    document(id, &[("notes", Value::Text(notes.to_owned()))])
}

fn red() -> SearchRequest {
    SearchRequest { query: "red".to_owned(), page_size: 50, ..request() }
}

/// Ids of the first page of `first`, and of the pages after it of `rest`.
async fn pages(first: &Search, rest: &Search, name: &CollectionName, search: &SearchRequest) -> Vec<String> {
    let (mut found, mut page, mut instance) = (Vec::new(), search.clone(), first);
    loop {
        let result = instance.search(name, &page).await.expect("a page");
        found.extend(ids(&result).into_iter().map(ToOwned::to_owned));
        if result.next_page_token.is_empty() {
            return found;
        }
        (page.page_token, instance) = (result.next_page_token, rest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn later_pages_keep_the_candidates_of_the_best_tier() {
    let rig = Rig::start().await;
    let name = rig.create("acme", "tiers", schema()).await;
    let best = (0..100).map(|at| titled(&format!("best{at}"), "red"));
    let documents: Vec<_> = best.chain((0..1_400).map(|at| noted(&format!("d{at}"), "red meadow"))).collect();
    rig.put(&name, &documents).await;
    let found = pages(&rig.search, &rig.search, &name, &red()).await;
    let ranked = rig.search(&name, &red()).await.candidates.expect("a ranking").ranked;
    assert_eq!(found.iter().take(100).filter(|id| id.starts_with("best")).count(), 100);
    assert_eq!(found.len(), usize::try_from(ranked).expect("small"), "every candidate is on a page");
}

#[tokio::test(flavor = "multi_thread")]
async fn page_after_the_last_tier_vanished_has_the_rest() {
    let rig = Rig::start().await;
    let name = rig.create("acme", "vanished", schema()).await;
    let both = (0..100).map(|at| titled(&format!("both{at}"), "red lantern"));
    let single = (0..800).flat_map(|at| [titled(&format!("r{at}"), "red"), titled(&format!("l{at}"), "lantern")]);
    let mut documents: Vec<_> = both.chain(single).collect();
    documents.push(titled("longer", "red lanterns"));
    rig.put(&name, &documents).await;
    let search = SearchRequest {
        query: "red lantern".to_owned(),
        query_fields: vec![crate::rig::field_name("title")],
        exact_words: true,
        prefix: PrefixMode::Last,
        page_size: 60,
        ..request()
    };
    let first = rig.search(&name, &search).await;
    assert_eq!(first.hits.len(), 60);
    rig.put(&name, &[titled("longer", "other")]).await;
    rig.forget(&name, "lanterns").await;
    let freshness = rig.token(&name).await;
    let next = SearchRequest { page_token: first.next_page_token, freshness, ..search };
    let second = rig.search(&name, &next).await;
    assert!(second.hits.len() >= 40, "{:?}", second.hits.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_an_instance_with_a_lower_maximum_are_those_of_the_first_page() {
    let rig = Rig::start().await;
    let name = rig.create("acme", "lowered", schema()).await;
    rig.put(&name, &(0..1_500).map(|at| noted(&format!("d{at}"), "red meadow")).collect::<Vec<_>>()).await;
    let found = pages(&rig.search, &rig.search, &name, &red()).await;
    assert!(found.len() > 150, "{}", found.len());
    assert_eq!(pages(&rig.search, &rig.instance(10), &name, &red()).await, found);
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_raises_the_maximum_of_candidates() {
    let rig = Rig::start().await;
    let name = rig.create("acme", "raised", schema()).await;
    rig.put(&name, &(0..2_000).map(|at| noted(&format!("d{at}"), "red meadow")).collect::<Vec<_>>()).await;
    let candidates = rig.instance(1_000).search(&name, &red()).await.expect("a page").candidates.expect("a ranking");
    assert!(candidates.ranked > 500 && candidates.cap >= 1_000 && candidates.capped, "{candidates:?}");
}
