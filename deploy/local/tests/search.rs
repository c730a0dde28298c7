//! Search through the gateway, as JSON callers use it.

mod support;

use std::path::Path;
use std::sync::OnceLock;

use keyplane_local::{Mesh, Options};
use reqwest::{Method, Response};
use serde_json::{Value, json};

const DOCUMENTS: &str = "/v1/tenants/acme/collections/companies/documents";

fn mesh() -> &'static Mesh {
    static MESH: OnceLock<Mesh> = OnceLock::new();
    MESH.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("search");
        let options = Options::on_free_ports(env!("CARGO_BIN_EXE_keyplane-up"), folder);
        std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(Mesh::start(options)).unwrap())
            .join()
            .unwrap()
    })
}

async fn send(method: Method, path: &str, body: Option<&str>) -> Response {
    let base = mesh().endpoints().gateway.as_deref().unwrap();
    let request = support::http(&mesh().endpoints().token).request(method, format!("{base}{path}"));
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_owned()),
        None => request,
    };
    request.send().await.unwrap()
}

async fn call(method: Method, path: &str, body: Value) -> (u16, Value) {
    let text = (!body.is_null()).then(|| body.to_string());
    let response = send(method, path, text.as_deref()).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Collection of the test `tenant`.
async fn collection(tenant: &str) -> String {
    let fields = json!([
        {"name": "name", "type": "TYPE_TEXT", "weight": 2, "sortable": true},
        {"name": "country", "type": "TYPE_TAG", "facet": true},
        {"name": "page_size", "type": "TYPE_INTEGER", "sortable": true, "facet": true},
        {"name": "extra", "type": "TYPE_STORED"},
    ]);
    let path = format!("/v1/tenants/{tenant}/collections?collectionId=companies");
    let (status, made) = call(Method::POST, &path, json!({"fields": fields})).await;
    assert_eq!(status, 200, "{made}");
    DOCUMENTS.replace("acme", tenant)
}

fn violations(error: &Value) -> Vec<&str> {
    let details = error["details"].as_array().unwrap();
    let listed = details.iter().find_map(|detail| detail["fieldViolations"].as_array()).unwrap();
    listed.iter().map(|violation| violation["field"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn document_of_any_json_comes_back_as_it_was_sent() {
    let documents = collection("any-json").await;
    let fields = json!({
        "name": "Ünïcode \"quoted\"", "page_size": -9_007_199_254_740_991_i64, "country": "",
        "extra": {"": {"": ""}, "null": null, "list": [[], {}, 0, 1.5, true, "x"]},
    });
    let path = format!("{documents}/urn%3Ac%407");
    let (status, written) =
        call(Method::PUT, &path, json!({"fields": fields, "sourceVersion": 1_795_856_400_123_i64})).await;
    assert_eq!((status, &written["outcome"]), (200, &json!("WRITE_OUTCOME_CREATED")), "{written}");
    assert_eq!(written["sourceVersion"], json!(1_795_856_400_123_i64), "a number, and no string");
    let (status, read) = call(Method::GET, &path, Value::Null).await;
    assert_eq!(status, 200, "{read}");
    assert_eq!((&read["fields"], &read["documentId"]), (&fields, &json!("urn:c@7")));
    // A whole answer may be sent back.
    let (status, patched) = call(Method::PATCH, &path, read.clone()).await;
    assert_eq!((status, &patched["outcome"]), (200, &json!("WRITE_OUTCOME_UNCHANGED")), "{patched}");
    let (status, removed) = call(Method::POST, &format!("{path}:update"), json!({"fields": {"extra": null}})).await;
    assert_eq!((status, &removed["outcome"]), (200, &json!("WRITE_OUTCOME_UPDATED")), "{removed}");
    let (_, read) = call(Method::GET, &path, Value::Null).await;
    assert!(read["fields"].get("extra").is_none(), "{read}");
    let (status, deleted) = call(Method::DELETE, &format!("{path}?sourceVersion=1795856400124"), Value::Null).await;
    assert_eq!((status, &deleted["existed"]), (200, &json!(true)), "{deleted}");
    let (status, stale) = call(Method::PUT, &path, json!({"sourceVersion": 7})).await;
    assert_eq!((status, &stale["details"][0]["reason"]), (409, &json!("STALE_WRITE")), "{stale}");
}

#[tokio::test]
async fn post_and_get_search_alike() {
    let documents = collection("both").await;
    let batch = json!({"documents": [
        {"documentId": "c-1", "fields": {"name": "Cloud Services AG", "country": "DE", "page_size": 420}},
        {"documentId": "c-2", "fields": {"name": "Cloudberry Farm", "country": "SE", "page_size": 12}},
        {"documentId": "c-3", "fields": {"page_size": "many"}},
    ]});
    let (status, written) = call(Method::POST, &format!("{documents}:batchUpsert"), batch).await;
    assert_eq!((status, &written["failedCount"]), (200, &json!(1)), "{written}");
    let message = written["results"][2]["error"]["message"].as_str().unwrap();
    assert!(message.contains("documents[2].fields.page_size: must be a whole number"), "{message}");

    let body = json!({
        "query": "clould servises", "facets": [{"field": "country"}], "highlight": {}, "orderBy": "",
        "freshnessToken": written["freshnessToken"],
    });
    let (status, found) = call(Method::POST, &format!("{documents}:search"), body).await;
    assert_eq!(
        (status, &found["found"], &found["foundRelation"]),
        (200, &json!(1), &json!("RELATION_EXACT")),
        "{found}"
    );
    let hit = &found["hits"][0];
    assert_eq!(hit["document"]["documentId"], "c-1");
    assert_eq!(hit["highlights"][0]["text"], "<mark>Cloud</mark> <mark>Services</mark> AG");
    let facet = json!({"value": "DE", "count": 1, "minCount": 1, "maxCount": 1, "rough": false});
    assert_eq!(found["facets"][0]["values"], json!([facet]));

    let query = "query=cloud&filter=page_size%20%3C%20100&orderBy=page_size+desc&fields=name&highlight.fields=name";
    let (status, found) = call(Method::GET, &format!("{documents}:search?{query}"), Value::Null).await;
    assert_eq!((status, &found["found"]), (200, &json!(1)), "{found}");
    assert_eq!(found["hits"][0]["document"]["fields"], json!({"name": "Cloudberry Farm"}));
    assert_eq!(found["hits"][0]["highlights"][0]["text"], "<mark>Cloudberry</mark> Farm");
}

#[tokio::test]
async fn wrong_bodies_name_each_field_and_leave_the_gateway_alone() {
    let documents = collection("wrong").await;
    let path = format!("{documents}/c-1");
    for (body, field) in [
        (r#"{"fields":{"page_size":9007199254740993}}"#, "document.fields.page_size"),
        (r#"{"fields":{"extra":{"id":[12345678901234567890]}}}"#, "document.fields.extra.id[0]"),
        (r#"{"fields":{"name":"a","name":"b"}}"#, "document.fields.name"),
        (r#"{"fields":{"page_size":"7"}}"#, "document.fields.page_size"),
        (r#"{"fields":{"owner":"x"}}"#, "document.fields.owner"),
        (r#"{"fields":[]}"#, "document.fields"),
        (r#"{"sourceVersion":0.5}"#, "document.sourceVersion"),
        (r#"{"sourceVersion":"NaN"}"#, "document.sourceVersion"),
        (r#"{"name":"tenants/other/collections/companies/documents/c-1"}"#, "document.name"),
        (r#"{"value":1}"#, "document.value"),
    ] {
        let response = send(Method::PUT, &path, Some(body)).await;
        let status = response.status();
        let error: Value = response.json().await.unwrap();
        assert_eq!((status.as_u16(), violations(&error)), (400, vec![field]), "{body}: {error}");
    }
    let deep = format!(r#"{{"fields":{{"extra":{}1{}}}}}"#, "[".repeat(5000), "]".repeat(5000));
    let response = send(Method::PUT, &path, Some(&deep)).await;
    assert_eq!(response.status(), 400);
    let large = json!({"query": "x".repeat(1 << 20)}).to_string();
    assert_eq!(send(Method::POST, &format!("{documents}:search"), Some(&large)).await.status(), 413);
    let (status, error) =
        call(Method::POST, &format!("{documents}:search"), json!({"filter": "page_size = \"x\""})).await;
    assert_eq!((status, violations(&error)), (400, vec!["filter"]));
    assert!(error["message"].as_str().unwrap().contains("position 13"), "{error}");
    let (status, _) = call(Method::PUT, &path, json!({"fields": {"name": "fine"}})).await;
    assert_eq!(status, 200, "the gateway lives");
}

#[tokio::test]
async fn wrong_method_names_the_right_ones() {
    for (method, path, allow) in [
        (Method::POST, format!("{DOCUMENTS}/c-1"), "GET, PUT, PATCH, DELETE"),
        (Method::GET, format!("{DOCUMENTS}:batchUpsert"), "POST"),
        (Method::PUT, format!("{DOCUMENTS}:search"), "GET, POST"),
        (Method::GET, format!("{DOCUMENTS}/c-1:update"), "POST"),
        (Method::PUT, "/v1/tenants/acme/collections/companies".to_owned(), "GET, PATCH, DELETE"),
        (Method::DELETE, "/v1/tenants/acme/collections".to_owned(), "GET, POST"),
        (Method::GET, "/v1/tenants/acme/collections/companies:rollback".to_owned(), "POST"),
    ] {
        let response = send(method.clone(), &path, None).await;
        assert_eq!(response.status(), 405, "{method} {path}");
        assert_eq!(response.headers()["allow"], allow, "{method} {path}");
    }
}
