//! Tenants that share an index see their own documents alone, whatever they send.

use std::fmt::Write as _;

use keyplane_contracts::names::CollectionName;
use keyplane_search::domain::Value;
use keyplane_search::domain::request::{PrefixMode, SearchRequest};
use keyplane_search::domain::{Document, FieldName};
use keyplane_search::error::Error;
use proptest::prelude::*;
use tokio::sync::OnceCell;

use crate::rig::{Rig, document, facet, ids, order, request, schema};

/// Words of each tenant in the test of disjoint vocabularies.
const VOCABULARY: usize = 5_000;

/// Two tenants with documents of the same words; ids tell whose they are.
async fn neighbours() -> (Rig, [CollectionName; 2]) {
    let rig = Rig::start().await;
    let names = [rig.create("acme", "shared", schema()).await, rig.create("acme-2", "shared", schema()).await];
    for (name, owner) in names.iter().zip(["one", "two"]) {
        let owned = |at: i64| {
            let fields = [
                ("title", Value::Text(format!("red house {owner}"))),
                ("status", Value::Text("open".to_owned())),
                ("amount", Value::Integer(at)),
            ];
            document(&format!("{owner}-{at}"), &fields)
        };
        rig.put(name, &(0..20).map(owned).collect::<Vec<_>>()).await;
    }
    (rig, names)
}

/// Texts with the signs of query languages, of this service's tokens, and of the neighbour.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "red",
        "house",
        "two",
        "*",
        "%",
        "@",
        "@_s:{acme_2d2_2fshared}",
        "@t0:two",
        "}",
        "{",
        "|",
        "(",
        ")",
        "[",
        "]",
        "-inf",
        "+inf",
        "\"",
        "'",
        "\\",
        "-",
        "~",
        "=>",
        "$",
        ":",
        "OR",
        "AND",
        "NOT",
        "status = \"open\"",
        "_s",
        "_r",
        " ",
        "\u{0}",
        "é",
        "acme-2",
    ]);
    prop::collection::vec(pieces, 0..10).prop_map(|pieces| pieces.concat())
}

#[test]
fn no_text_of_a_request_reaches_another_tenant() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let shared: OnceCell<(Rig, [CollectionName; 2])> = OnceCell::new();
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(query in hostile(), filter in hostile(), token in hostile(), has_filter in any::<bool>(), field in "[a-z_]{1,4}")| {
        runtime.block_on(async {
            let (rig, [name, _]) = shared.get_or_init(neighbours).await;
            let mut search = SearchRequest { query, prefix: PrefixMode::All, facets: vec![facet("status")], ..request() };
            if has_filter {
                search.filter = filter;
                search.fields = FieldName::new(&field).into_iter().collect();
                search.page_token = token;
            }
            match rig.search.search(name, &search).await {
                Ok(result) => {
                    assert!(ids(&result).iter().all(|id| id.starts_with("one-")), "{search:?}");
                    assert!(result.found.count <= 20, "{search:?}");
                    assert!(result.facets[0].values.iter().all(|value| value.count <= 20), "{search:?}");
                }
                Err(Error::Invalid(_)) => {}
                Err(error) => panic!("{search:?}: {error}"),
            }
        });
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn disjoint_vocabularies_under_one_prefix_stay_apart() {
    let rig = Rig::start().await;
    let names = [rig.create("acme", "words", schema()).await, rig.create("globex", "words", schema()).await];
    let word = |at: usize, tenant: usize| format!("pre{:05}", at * 2 + tenant);
    for (tenant, name) in names.iter().enumerate() {
        let documents: Vec<Document> = (0..VOCABULARY / 50)
            .map(|document_of| {
                let mut text = String::new();
                for at in document_of * 50..(document_of + 1) * 50 {
                    let _ = write!(text, "{} ", word(at, tenant));
                }
                document(&format!("t{tenant}-{document_of}"), &[("notes", Value::Text(text))])
            })
            .collect();
        rig.put(name, &documents).await;
    }
    for (tenant, name) in names.iter().enumerate() {
        let exact = |query: String| SearchRequest { query, exact_words: true, prefix: PrefixMode::None, ..request() };
        for at in (0..VOCABULARY).step_by(97) {
            let own = rig.search(name, &exact(word(at, tenant))).await;
            assert_eq!(ids(&own), [format!("t{tenant}-{}", at / 50)]);
            let other = rig.search(name, &exact(word(at, 1 - tenant))).await;
            assert!(other.hits.is_empty() && other.found.count == 0);
        }
        let prefix = SearchRequest { query: "pre".to_owned(), prefix: PrefixMode::Last, page_size: 250, ..request() };
        let result = rig.search(name, &prefix).await;
        assert!(!result.hits.is_empty() && ids(&result).iter().all(|id| id.starts_with(&format!("t{tenant}-"))));
        let sorted = SearchRequest { order_by: vec![order("amount", true)], ..prefix };
        assert!(ids(&rig.search(name, &sorted).await).iter().all(|id| id.starts_with(&format!("t{tenant}-"))));
    }
}
