//! Tenants in one shared index.

use std::collections::BTreeSet;

use keyplane_contracts::names::CollectionName;
use keyplane_search::domain::filter::Filter;
use keyplane_search::domain::query::{self, Vocabulary};
use keyplane_search::domain::request::PrefixMode;
use keyplane_search::domain::{Build, Clause, Language, Scope};
use keyplane_search::store::{AnyOf, Find, Matches};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::rig::schema;
use super::service::{Service, raw, titled};

/// Words of each tenant's vocabulary.
const WORDS: usize = 5_000;
const WORDS_OF_A_DOCUMENT: usize = 10;

async fn find(service: &Service, build: &Build, scope: &Scope, clause: &Clause, words: &[AnyOf]) -> Matches {
    let find = Find { scope, clause, words, not_words: &[], not_columns: &[], spread: None, texts: &[], limit: 1_000 };
    service.store.find(&build.generation.placement, &find).await.expect("found")
}

fn any_of(terms: Vec<String>) -> AnyOf {
    AnyOf { columns: vec![0], terms: terms.into_iter().map(|term| vec![term]).collect() }
}

async fn live(service: &Service, name: &CollectionName) -> Build {
    service.definitions.get(name).await.expect("a definition").live.clone()
}

#[tokio::test]
async fn tenants_of_one_index_find_all_and_only_their_own_words() {
    let (service, _) = Service::start().await;
    let tenants = ["acme", "bond"];
    let word = |tenant: &str, number: usize| format!("pre{tenant}{number}");
    let mut places = BTreeSet::new();
    for tenant in tenants {
        let name = service.create(tenant, schema()).await;
        places.insert(live(&service, &name).await.generation.placement);
        for group in (0..WORDS / WORDS_OF_A_DOCUMENT).collect::<Vec<_>>().chunks(250) {
            let title = |document: usize| {
                let words =
                    (0..WORDS_OF_A_DOCUMENT).map(|number| word(tenant, document * WORDS_OF_A_DOCUMENT + number));
                words.collect::<Vec<_>>().join(" ")
            };
            let documents = group.iter().map(|document| titled(&format!("{tenant}-{document}"), &title(*document)));
            let batch = service.upsert(&name, documents.collect()).await;
            assert!(batch.results.iter().all(Result::is_ok));
        }
    }
    assert_eq!(places.len(), 1, "they share an index");
    for (tenant, other) in [tenants, [tenants[1], tenants[0]]].map(|pair| (pair[0], pair[1])) {
        let name = super::service::collection(tenant);
        let (build, scope) = (live(&service, &name).await, Scope::new(&name));
        let lexicon = service.lexicon(&name).await;
        let own: BTreeSet<String> = (0..WORDS).map(|number| word(tenant, number)).collect();
        assert!(own.iter().all(|term| lexicon.contains_key(term)));
        assert!(!lexicon.keys().any(|term| term.starts_with(&format!("pre{other}"))));
        for chunk in (0..WORDS).collect::<Vec<_>>().chunks(50) {
            let words = |tenant: &str| any_of(chunk.iter().map(|number| word(tenant, *number)).collect());
            let found = find(&service, &build, &scope, &Clause::always(), &[words(tenant)]).await;
            let documents: BTreeSet<String> =
                chunk.iter().map(|number| format!("{tenant}-{}", number / WORDS_OF_A_DOCUMENT)).collect();
            assert_eq!(found.rows.into_iter().map(|row| row.id).collect::<BTreeSet<_>>(), documents);
            assert_eq!(find(&service, &build, &scope, &Clause::always(), &[words(other)]).await.total, 0);
        }
    }
}

/// Texts that mean something in the engines' query languages, to filters, or to people.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,40}",
        "[@:{}()|*%~=><\\[\\]\"'$\\\\ -]{1,20}",
        any::<String>(),
        Just("*".to_owned()),
        Just("} | @_s:{bond_2ftasks".to_owned()),
        Just("secret) | (@_s:{bond_2ftasks}".to_owned()),
        Just("secret -@_s:{acme_2ftasks}".to_owned()),
        Just("status = \"x\" OR status = \"secret\"".to_owned()),
        Just("NOT status = \"secret\"".to_owned()),
        Just("status = \"} | @_s:{bond_2ftasks\"".to_owned()),
        Just("tags : (\"secret\" OR \"*\")".to_owned()),
        Just("_s = \"bond_2ftasks\"".to_owned()),
        Just("amount >= -1000000".to_owned()),
        Just("status : *".to_owned()),
    ]
}

/// Runs hostile texts as queries and filters of one tenant.
#[tokio::test]
async fn no_query_and_no_filter_leaves_its_tenant() {
    let (service, _) = Service::start().await;
    for tenant in ["acme", "bond"] {
        let name = service.create(tenant, schema()).await;
        let fields = |status: &str| serde_json::json!({"title": "secret blue", "status": status, "tags": ["secret"], "amount": 7});
        let documents = (0..20).map(|number| raw(&format!("{tenant}-{number}"), fields("secret")));
        assert!(service.upsert(&name, documents.collect()).await.results.iter().all(Result::is_ok));
    }
    let name = super::service::collection("acme");
    let (build, scope) = (live(&service, &name).await, Scope::new(&name));
    let vocabulary = Vocabulary::new(&build.schema);
    let rules = query::Rules {
        vocabulary: &vocabulary,
        languages: &[Language::None],
        prefix: PrefixMode::Last,
        exact_words: false,
    };
    let mut runner = TestRunner::default();
    let (mut queries, mut filters, mut rows_of_words, mut rows_of_filters) = (0, 0, 0, 0);
    for _ in 0..600 {
        let text = hostile().new_tree(&mut runner).expect("a value").current();
        let mut check = async |clause: &Clause, words: &[AnyOf]| {
            let matches = find(&service, &build, &scope, clause, words).await;
            assert!(matches.rows.iter().all(|row| row.id.starts_with("acme-")), "{text}");
            assert!(matches.total <= 20, "{text}");
            let rows = if words.is_empty() { &mut rows_of_filters } else { &mut rows_of_words };
            *rows += matches.rows.len();
        };
        if let Ok(query) = query::parse(&text, &rules) {
            queries += 1;
            let words = query.words.iter().map(|word| AnyOf {
                columns: vec![0],
                terms: word.candidates.iter().map(|candidate| candidate.terms.clone()).collect(),
            });
            check(&Clause::always(), &words.collect::<Vec<_>>()).await;
        }
        if let Ok(filter) = Filter::parse(&text, &build.schema) {
            filters += 1;
            check(&filter.clauses(&build.layout()).split(1, 8_000).engine, &[]).await;
        }
    }
    assert!(queries > 100 && filters > 20, "{queries} {filters}");
    assert!(rows_of_words > 100 && rows_of_filters > 20, "{rows_of_words} {rows_of_filters}");
}
