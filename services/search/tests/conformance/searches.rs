//! Searches: each option of the contract, and each error.

use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::search::v1::search_documents_request::Prefix;
use keyplane_contracts::search::v1::search_documents_response::Relation;
use serde_json::json;
use tonic::Code;

use crate::support::{COMPANIES, Service, TENANT, companies, details, document, ids, violated, with_companies};

/// Collection with five companies.
async fn filled() -> Service {
    let mut service = with_companies(&[]).await;
    let documents = [
        (
            "cloud",
            json!({"name": "Cloud Services AG", "description": "Runs data centres.", "country": "DE",
            "industries": ["software", "hosting"], "employees": 420, "founded": "1998-05-04T00:00:00Z", "listed": true}),
        ),
        (
            "bakery",
            json!({"name": "Bäckerei Müller", "description": "Bakes bread.", "country": "DE",
            "industries": ["food"], "employees": 12, "founded": "1950-01-01T00:00:00Z", "listed": false}),
        ),
        (
            "steel",
            json!({"name": "Steel Works", "description": "Cloud of smoke, and steel.", "country": "AT",
            "industries": ["metal"], "employees": 9000, "listed": true}),
        ),
        (
            "robot",
            json!({"name": "Robot AB-1234", "description": "Runs robots.", "country": "SE",
            "industries": ["software", "metal"], "employees": 80}),
        ),
        ("empty", json!({"name": "Nothing"})),
    ];
    let batch = documents.map(|(id, fields)| document(id, fields)).into();
    let written = service.batch(batch).await.unwrap();
    assert_eq!(written.failed_count, 0, "{written:?}");
    service
}

fn query(text: &str) -> pb::SearchDocumentsRequest {
    pb::SearchDocumentsRequest { query: text.to_owned(), ..pb::SearchDocumentsRequest::default() }
}

fn filter(text: &str) -> pb::SearchDocumentsRequest {
    let order_by = "name".to_owned();
    pb::SearchDocumentsRequest { filter: text.to_owned(), order_by, ..pb::SearchDocumentsRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_match_by_the_rules_of_the_contract() {
    let mut service = filled().await;
    for (text, expected) in [
        ("cloud", &["cloud", "steel"][..]),
        ("clould servises", &["cloud"]),
        ("backerei", &["bakery"]),
        ("Müller", &["bakery"]),
        ("ab1234", &["robot"]),
        ("ab 1234", &["robot"]),
        ("1234", &["robot"]),
        ("bake", &["bakery"]),
        ("\"data centres\"", &["cloud"]),
        ("\"centres data\"", &[]),
        ("cloud -smoke", &["cloud"]),
        ("cloud -\"data centres\"", &["steel"]),
        ("serv", &["cloud"]),
        ("zebra", &[]),
    ] {
        let found = service.search(query(text)).await.unwrap();
        assert_eq!(ids(&found), expected, "{text}");
        assert_eq!((found.found as usize, found.found_relation()), (expected.len(), Relation::Exact), "{text}");
    }
    let none = pb::SearchDocumentsRequest { prefix: Prefix::None.into(), exact_words: true, ..query("serv") };
    assert_eq!(service.search(none).await.unwrap().found, 0);
    let names = pb::SearchDocumentsRequest { query_fields: vec!["name".into()], ..query("cloud") };
    assert_eq!(ids(&service.search(names).await.unwrap()), ["cloud"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_follow_the_language() {
    let mut service = filled().await;
    for (text, expected) in [
        ("", &["bakery", "cloud", "empty", "robot", "steel"][..]),
        ("country = \"DE\"", &["bakery", "cloud"]),
        ("country : (\"AT\" OR \"SE\")", &["robot", "steel"]),
        ("country != \"DE\"", &["empty", "robot", "steel"]),
        ("country : * AND country != \"DE\"", &["robot", "steel"]),
        ("industries : (\"software\" AND \"metal\")", &["robot"]),
        ("employees >= 80 AND employees < 9000", &["cloud", "robot"]),
        ("founded < 1990-01-01", &["bakery"]),
        ("listed = true", &["cloud", "steel"]),
        ("NOT listed = true AND country : *", &["bakery", "robot"]),
    ] {
        let found = service.search(filter(text)).await.unwrap();
        assert_eq!(ids(&found), expected, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_search_names_every_field_and_the_position() {
    let mut service = filled().await;
    for (text, position) in [
        ("country = ", "position 11"),
        ("owner = \"x\"", "position 1"),
        ("employees = \"x\"", "position 13"),
        ("name = \"x\"", "position 1"),
        ("country = \"DE\" country", "position 16"),
    ] {
        let status = service.search(filter(text)).await.unwrap_err();
        details(&status, Code::InvalidArgument, "INVALID_REQUEST");
        assert_eq!(violated(&status), ["filter"], "{text}");
        assert!(status.message().contains(position), "{text}: {}", status.message());
    }
    let many = "(".repeat(4096);
    let facet = |field: &str| pb::FacetOptions { field: field.into(), ..pb::FacetOptions::default() };
    let highlight = pb::HighlightOptions {
        fields: vec!["a b".into()],
        snippet_words: 101,
        pre_tag: "x".repeat(65),
        ..pb::HighlightOptions::default()
    };
    let wrong = pb::SearchDocumentsRequest {
        query: "x".repeat(1025),
        query_fields: vec!["Name".into()],
        filter: format!("{many}("),
        order_by: "name sideways".into(),
        page_size: -1,
        fields: vec![String::new()],
        highlight: Some(highlight),
        facets: vec![
            facet(""),
            pb::FacetOptions {
                max_values: 101,
                interval: f64::NAN,
                ranges: vec![pb::FacetBounds { from: Some(2.0), to: Some(1.0) }],
                ..facet("employees")
            },
        ],
        ..pb::SearchDocumentsRequest::default()
    };
    let status = service.search(wrong).await.unwrap_err();
    assert_eq!(
        violated(&status),
        [
            "query",
            "filter",
            "page_size",
            "query_fields[0]",
            "order_by",
            "fields[0]",
            "highlight.pre_tag",
            "highlight.fields[0]",
            "highlight.snippet_words",
            "facets[0].field",
            "facets[1].max_values",
            "facets[1].ranges[0]",
            "facets[1].interval",
        ]
    );
    // Rules that need the schema.
    for (request, field) in [
        (pb::SearchDocumentsRequest { order_by: "description".into(), ..query("") }, "order_by"),
        (pb::SearchDocumentsRequest { order_by: "nothing desc".into(), ..query("") }, "order_by"),
        (pb::SearchDocumentsRequest { query_fields: vec!["country".into()], ..query("") }, "query_fields"),
        (pb::SearchDocumentsRequest { fields: vec!["nothing".into()], ..query("") }, "fields"),
        (pb::SearchDocumentsRequest { facets: vec![facet("name")], ..query("") }, "facets[0]"),
        (pb::SearchDocumentsRequest { page_token: "x".into(), ..query("") }, "page_token"),
        (pb::SearchDocumentsRequest { freshness_token: "x".into(), ..query("") }, "freshness_token"),
    ] {
        let status = service.search(request).await.unwrap_err();
        details(&status, Code::InvalidArgument, "INVALID_REQUEST");
        let found = violated(&status);
        assert!(found.len() == 1 && found[0].starts_with(field), "{field}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_total_and_pages_follow_it() {
    let mut service = filled().await;
    for (order, expected) in [
        ("employees desc", &["steel", "cloud", "robot", "bakery", "empty"][..]),
        ("employees", &["bakery", "robot", "cloud", "steel", "empty"]),
        ("country, employees desc", &["steel", "cloud", "bakery", "robot", "empty"]),
        ("founded desc, name", &["cloud", "bakery", "empty", "robot", "steel"]),
    ] {
        let mut request = pb::SearchDocumentsRequest { order_by: order.into(), page_size: 2, ..query("") };
        let mut found = Vec::new();
        loop {
            let page = service.search(request.clone()).await.unwrap();
            assert_eq!((page.found, page.corpus_changed), (5, false));
            found.extend(ids(&page).into_iter().map(str::to_owned));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(found, expected, "{order}");
    }
    // A token is bound to its search; a changed corpus is flagged.
    let first = pb::SearchDocumentsRequest { order_by: "name".into(), page_size: 2, ..query("") };
    let page_token = service.search(first.clone()).await.unwrap().next_page_token;
    let other =
        pb::SearchDocumentsRequest { filter: "listed = true".into(), page_token: page_token.clone(), ..first.clone() };
    assert_eq!(violated(&service.search(other).await.unwrap_err()), ["page_token"]);
    service.upsert(document("zebra", json!({"name": "Zebra"}))).await.unwrap();
    let next = pb::SearchDocumentsRequest { page_token, page_size: 10, ..first };
    let next = service.search(next).await.unwrap();
    assert_eq!(ids(&next), ["empty", "robot", "steel", "zebra"]);
    assert!(next.corpus_changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn facets_count_and_ignore_their_own_filter() {
    let mut service = filled().await;
    let facet = |field: &str| pb::FacetOptions { field: field.into(), ..pb::FacetOptions::default() };
    let bound = |from, to| pb::FacetBounds { from, to };
    let ranges = vec![bound(None, Some(100.0)), bound(Some(100.0), Some(1000.0)), bound(Some(1000.0), None)];
    let request = pb::SearchDocumentsRequest {
        omit_hits: true,
        facets: vec![
            facet("country"),
            facet("industries"),
            pb::FacetOptions { ranges, stats: true, interval: 1000.0, ..facet("employees") },
            facet("listed"),
        ],
        ..filter("country = \"DE\"")
    };
    let response = service.search(request).await.unwrap();
    assert!(response.hits.is_empty() && response.found == 2);
    let counts = |facet: &pb::Facet| {
        assert!(!facet.approximate && facet.sample_count == 0);
        let count = |value: &pb::FacetValue| {
            assert_eq!((value.min_count, value.max_count, value.rough), (value.count, value.count, false));
            (value.value.clone(), value.count)
        };
        facet.values.iter().map(count).collect::<Vec<_>>()
    };
    let named =
        |values: &[(&str, i32)]| values.iter().map(|(value, count)| ((*value).to_owned(), *count)).collect::<Vec<_>>();
    let [country, industries, employees, listed] = &response.facets[..] else { panic!("{:?}", response.facets) };
    assert_eq!(counts(country), named(&[("DE", 2), ("AT", 1), ("SE", 1)]), "its own filter does not narrow it");
    assert_eq!(counts(industries), named(&[("food", 1), ("hosting", 1), ("software", 1)]));
    assert_eq!(counts(listed), named(&[("false", 1), ("true", 1)]));
    let ranges: Vec<_> = employees.ranges.iter().map(|range| (range.from, range.to, range.count)).collect();
    assert_eq!(ranges, [(None, Some(100.0), 1), (Some(100.0), Some(1000.0), 1), (Some(1000.0), None, 0)]);
    let buckets: Vec<_> = employees.histogram.iter().map(|range| (range.from, range.count)).collect();
    assert_eq!(buckets, [(Some(0.0), 2)]);
    assert_eq!(employees.stats, Some(pb::FacetStats { min: 12.0, max: 420.0, avg: 216.0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_have_the_requested_fields_and_highlights() {
    let mut service = filled().await;
    let highlight = pb::HighlightOptions { escape_html: true, ..pb::HighlightOptions::default() };
    let request = pb::SearchDocumentsRequest {
        fields: vec!["name".into(), "employees".into()],
        highlight: Some(highlight),
        explain: true,
        ..query("cloud serv")
    };
    let response = service.search(request).await.unwrap();
    let [hit] = &response.hits[..] else { panic!("{response:?}") };
    let fields = &hit.document.as_ref().unwrap().fields.as_ref().unwrap().fields;
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["employees", "name"]);
    let name = hit.highlights.iter().find(|highlight| highlight.field == "name").unwrap();
    assert_eq!((name.text.as_str(), name.snippet), ("<mark>Cloud</mark> <mark>Services</mark> AG", false));
    assert!(hit.score > 0.0 && !hit.score_parts.is_empty());
    let candidates = response.candidates.unwrap();
    assert_eq!((candidates.ranked_count, candidates.capped), (1, false));
    assert!(!response.plan.unwrap().steps.is_empty());
    let snippet = pb::HighlightOptions {
        fields: vec!["description".into()],
        pre_tag: "[".into(),
        post_tag: "]".into(),
        snippet_words: 2,
        ..pb::HighlightOptions::default()
    };
    let response =
        service.search(pb::SearchDocumentsRequest { highlight: Some(snippet), ..query("smoke") }).await.unwrap();
    let highlight = &response.hits[0].highlights[0];
    assert!(highlight.snippet && highlight.text.contains("[smoke]"), "{highlight:?}");
    assert!(response.plan.is_none() && response.hits[0].score_parts.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tenant_sees_another_ones_documents() {
    let mut service = filled().await;
    let foreign = "tenants/globex/collections/companies";
    let request = pb::CreateCollectionRequest {
        parent: "tenants/globex".into(),
        collection_id: "companies".into(),
        collection: Some(companies()),
    };
    service.client.create_collection(request).await.unwrap();
    let batch = pb::BatchUpsertDocumentsRequest {
        parent: foreign.into(),
        documents: vec![document("spy", json!({"name": "Cloud Spy", "country": "DE"}))],
    };
    let token = service.client.batch_upsert_documents(batch).await.unwrap().into_inner().freshness_token;
    for request in [query("cloud"), query(""), filter("country = \"DE\"")] {
        let own = service.search(request.clone()).await.unwrap();
        assert!(!ids(&own).contains(&"spy"));
        let request = pb::SearchDocumentsRequest { parent: foreign.into(), ..request };
        let response = service.client.search_documents(request).await.unwrap().into_inner();
        assert_eq!((ids(&response), response.found), (vec!["spy"], 1));
    }
    // A freshness token of another tenant's write is none of this collection's.
    let status = service.search(pb::SearchDocumentsRequest { freshness_token: token, ..query("") }).await.unwrap_err();
    assert_eq!(violated(&status), ["freshness_token"]);
    let other = pb::GetCollectionRequest { name: format!("{TENANT}/collections/other") };
    details(&service.client.get_collection(other).await.unwrap_err(), Code::NotFound, "COLLECTION_NOT_FOUND");
    assert!(COMPANIES.starts_with(TENANT));
}
