//! Ranked searches: every hit matches, the exact tier is complete, candidates are capped the same way each time.

use std::collections::{BTreeMap, BTreeSet};

use keyplane_search::domain::indexed::{Content, Indexed};
use keyplane_search::domain::layout::{Column, Layout};
use keyplane_search::domain::request::{PrefixMode, SearchRequest};
use keyplane_search::domain::{Document, Value};
use proptest::prelude::*;

use crate::dice::Dice;
use crate::rig::{Rig, document, ids, request, run, schema};

/// Surfaces of a document's texts.
fn surfaces(document: &Document, name: &keyplane_contracts::names::CollectionName) -> BTreeSet<String> {
    let schema = schema();
    let indexed = Indexed::new(&schema, &Layout::new(&schema), &name.collection, document);
    let texts = indexed.columns.iter().filter_map(|(column, content)| match (column, content) {
        (Column::Text(_), Content::Terms(terms)) => Some(terms.clone()),
        _ => None,
    });
    texts.flat_map(|text| text.split_ascii_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hits_have_every_word_and_exact_matches_are_complete(seed in any::<u64>()) {
        run(async move {
            let mut dice = Dice::new(seed);
            let rig = Rig::start().await;
            let documents = dice.documents(&schema(), 250);
            let name = rig.create("acme", "words", schema()).await;
            rig.put(&name, &documents).await;
            let words: BTreeMap<&str, BTreeSet<String>> =
                documents.iter().map(|document| (document.id.as_str(), surfaces(document, &name))).collect();
            for _ in 0..15 {
                let query = [dice.word(), dice.word()];
                let exact: BTreeSet<&str> = words
                    .iter()
                    .filter(|(_, words)| query.iter().all(|word| words.contains(&word.to_lowercase().replace("-1234", "1234").replace('é', "e"))))
                    .map(|(id, _)| *id)
                    .collect();
                let search = SearchRequest { query: query.join(" "), page_size: 250, ..request() };
                let result = rig.search(&name, &search).await;
                let found: BTreeSet<&str> = ids(&result).into_iter().collect();
                assert_eq!(found.len(), result.hits.len(), "no hit twice");
                assert!(exact.is_subset(&found), "{query:?}: {:?}", exact.difference(&found).collect::<Vec<_>>());
                let strict = SearchRequest { exact_words: true, prefix: PrefixMode::None, ..search.clone() };
                let strict = rig.search(&name, &strict).await;
                assert!(ids(&strict).iter().all(|id| found.contains(id)));
                assert!(result.hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
                assert_eq!(result.found.count, found.len() as u64);

                let excluded = SearchRequest { query: format!("{} -{}", query[0], query[1]), ..search };
                let excluded = rig.search(&name, &excluded).await;
                assert!(ids(&excluded).iter().all(|id| query[0] == query[1] || !exact.contains(id)), "{query:?}");
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn phrase_demands_adjacent_words() {
    let rig = Rig::start().await;
    let name = rig.create("acme", "phrases", schema()).await;
    let titled = |id: &str, title: &str| document(id, &[("title", Value::Text(title.to_owned()))]);
    let documents = [
        titled("adjacent", "the red house by the river"),
        titled("apart", "the house is red"),
        titled("reversed", "house red"),
        titled("other", "green garden"),
    ];
    rig.put(&name, &documents).await;
    let search = |query: &str| SearchRequest { query: query.to_owned(), ..request() };
    assert_eq!(ids(&rig.search(&name, &search("\"red house\"")).await), ["adjacent"]);
    assert_eq!(rig.search(&name, &search("red house")).await.found.count, 3);
    let without = rig.search(&name, &search("red -\"red house\"")).await;
    assert_eq!(ids(&without).into_iter().collect::<BTreeSet<_>>(), ["apart", "reversed"].into());
    assert_eq!(ids(&rig.search(&name, &search("hous gardne -red")).await), Vec::<&str>::new());
    assert_eq!(ids(&rig.search(&name, &search("gardne")).await), ["other"], "a typo");
    assert_eq!(ids(&rig.search(&name, &search("unheardof")).await), Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_are_capped_the_same_way_each_time() {
    let rig = Rig::start().await;
    let name = rig.create("acme", "many", schema()).await;
    let documents: Vec<_> = (0..1_500_usize)
        .map(|at| {
            let rare = if at % 100 == 0 { "lantern" } else { "meadow" };
            document(&format!("d{at}"), &[("notes", Value::Text(format!("red {rare} number{at}")))])
        })
        .collect();
    rig.put(&name, &documents).await;
    let search = SearchRequest { query: "red".to_owned(), page_size: 50, ..request() };
    let first = rig.search(&name, &search).await;
    let candidates = first.candidates.expect("a ranking");
    assert!(candidates.capped && candidates.ranked <= candidates.cap.max(375), "{candidates:?}");
    assert!(
        first.found.margin == 0 && first.found.count == 1_500
            || first.found.count.abs_diff(1_500) <= first.found.margin
    );
    assert_eq!(ids(&rig.search(&name, &search).await), ids(&first));

    let (mut seen, mut page) = (BTreeSet::new(), search.clone());
    loop {
        let result = rig.search(&name, &page).await;
        assert!(result.candidates.is_some_and(|again| again.capped && again.ranked == candidates.ranked));
        assert!(ids(&result).into_iter().all(|id| seen.insert(id.to_owned())), "no hit twice");
        if result.next_page_token.is_empty() {
            break;
        }
        page.page_token = result.next_page_token;
    }
    assert_eq!(seen.len(), usize::try_from(candidates.ranked).expect("small"));
    let rare = rig.search(&name, &SearchRequest { query: "red lantern".to_owned(), ..search }).await;
    assert_eq!(rare.found.count, 15);
    assert!(rare.candidates.is_some_and(|candidates| !candidates.capped));
}

#[tokio::test(flavor = "multi_thread")]
async fn rarity_is_that_of_ones_own_tenant() {
    let rig = Rig::start().await;
    let (one, other) = (rig.create("acme", "words", schema()).await, rig.create("globex", "words", schema()).await);
    let mixed = |common: &str, rare: &str| -> Vec<_> {
        let titled = |id: &str, title: String| document(id, &[("title", Value::Text(title))]);
        let many = (0..60).map(|at| titled(&format!("c{at}"), format!("{common} filler{at}")));
        many.chain([titled("both", format!("{common} filler {rare}")), titled("rare", format!("{rare} filler filler"))])
            .collect()
    };
    rig.put(&one, &mixed("alpha", "omega")).await;
    rig.put(&other, &mixed("omega", "alpha")).await;
    let score = async |name, query: &str| {
        let search = SearchRequest { query: query.to_owned(), exact_words: true, ..request() };
        rig.search(name, &search).await.hits[0].score
    };
    let [alpha, omega] = [score(&one, "alpha").await, score(&one, "omega").await];
    let [other_alpha, other_omega] = [score(&other, "alpha").await, score(&other, "omega").await];
    assert!(omega > alpha && other_alpha > other_omega, "{alpha} {omega} {other_alpha} {other_omega}");
    assert!(rig.search(&one, &SearchRequest { query: "omega".to_owned(), ..request() }).await.found.count == 2);
}
