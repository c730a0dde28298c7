//! Pages of a fixed collection neither skip nor repeat a document; changes are told.

use keyplane_search::domain::Value;
use keyplane_search::domain::request::SearchRequest;
use proptest::prelude::*;

use crate::dice::{Dice, sortable, with};
use crate::oracle::Oracle;
use crate::rig::{Rig, document, ids, order, request, run, schema, violations};

/// Ids of all pages.
async fn all_pages(rig: &Rig, name: &keyplane_contracts::names::CollectionName, search: &SearchRequest) -> Vec<String> {
    let (mut pages, mut search) = (Vec::new(), search.clone());
    loop {
        let result = rig.search(name, &search).await;
        assert!(!result.corpus_changed);
        pages.extend(ids(&result).into_iter().map(ToOwned::to_owned));
        if result.next_page_token.is_empty() {
            return pages;
        }
        assert_eq!(result.hits.len(), usize::try_from(search.page_size).expect("small"), "only the last page is short");
        search.page_token = result.next_page_token;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_add_up_to_the_sorted_result(seed in any::<u64>()) {
        run(async move {
            let mut dice = Dice::new(seed);
            let rig = Rig::start().await;
            let schema = schema();
            let count = 1_500;
            let documents = dice.documents(&schema, count);
            let name = rig.create("acme", "pages", schema.clone()).await;
            rig.put(&name, &documents).await;
            let oracle = Oracle { name: &name, schema: &schema, documents: &documents };
            let names = sortable(&schema);
            for page_size in [37, 101, 250] {
                let one = order(names[dice.roll(names.len())], dice.chance(50));
                let two = order(names[dice.roll(names.len())], dice.chance(50));
                let order_by = if dice.chance(50) { vec![one] } else { vec![one, two] };
                let filter = if dice.chance(50) { String::new() } else { "amount >= -5 AND NOT status = \"open\"".to_owned() };
                let search = SearchRequest { filter, order_by, page_size, ..request() };
                let sorted = oracle.sorted(&search.filter, &search.order_by);
                assert_eq!(all_pages(&rig, &name, &search).await, sorted, "{search:?}");
            }
            let browse = SearchRequest { page_size: 250, ..request() };
            assert_eq!(all_pages(&rig, &name, &browse).await, oracle.sorted("", &[]), "without an order, by the hash");
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_collection_is_told() {
    let rig = Rig::start().await;
    let name = rig.create("acme", "changes", schema()).await;
    let documents: Vec<_> = (0..10).map(|at| document(&format!("d{at}"), &[("amount", Value::Integer(at))])).collect();
    rig.put(&name, &documents).await;
    let search = SearchRequest { order_by: vec![order("amount", false)], page_size: 4, ..request() };
    let first = rig.search(&name, &search).await;
    let next = SearchRequest { page_token: first.next_page_token, ..search.clone() };
    assert!(!rig.search(&name, &next).await.corpus_changed);
    rig.put(&name, &[with(&documents[9], "amount", Value::Integer(-1))]).await;
    let second = rig.search(&name, &next).await;
    assert!(second.corpus_changed);
    assert_eq!(ids(&second), ["d4", "d5", "d6", "d7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cursor_of_another_search_or_collection_is_rejected() {
    let rig = Rig::start().await;
    let names = [rig.create("acme", "one", schema()).await, rig.create("other", "one", schema()).await];
    let documents: Vec<_> = (0..3).map(|at| document(&format!("d{at}"), &[("amount", Value::Integer(at))])).collect();
    for name in &names {
        rig.put(name, &documents).await;
    }
    let search = SearchRequest { order_by: vec![order("amount", false)], page_size: 1, ..request() };
    let token = rig.search(&names[0], &search).await.next_page_token;
    let next = SearchRequest { page_token: token.clone(), ..search };
    let [foreign] = &violations(rig.fails(&names[1], &next).await)[..] else { panic!("one violation") };
    assert!(foreign.starts_with("page_token: belongs to another search"), "{foreign}");
    let other = SearchRequest { filter: "amount > 0".to_owned(), ..next.clone() };
    assert!(violations(rig.fails(&names[0], &other).await)[0].starts_with("page_token: belongs to another search"));
    let mut forged = token.into_bytes();
    forged[40] ^= 1;
    let forged = SearchRequest { page_token: String::from_utf8(forged).expect("ASCII"), ..next };
    assert!(violations(rig.fails(&names[0], &forged).await)[0].starts_with("page_token: must be the"));
}
