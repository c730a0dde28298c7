//! Batches and imports.

use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::search::v1::WriteOutcome;
use serde_json::json;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::support::{COMPANIES, details, document, ids, violated, with_companies};

fn import(parent: &str, documents: Vec<pb::Document>) -> pb::ImportDocumentsRequest {
    pb::ImportDocumentsRequest { parent: parent.to_owned(), documents }
}

#[tokio::test(flavor = "multi_thread")]
async fn document_that_fails_leaves_the_others_alone() {
    let mut service = with_companies(&[]).await;
    service
        .upsert(pb::Document { source_version: Some(5.0), ..document("old", json!({"name": "Old"})) })
        .await
        .unwrap();
    let named = pb::Document {
        name: format!("{COMPANIES}/documents/b"),
        document_id: String::new(),
        ..document("", json!({"name": "B"}))
    };
    let foreign = pb::Document {
        name: "tenants/other/collections/companies/documents/x".to_owned(),
        document_id: String::new(),
        ..document("", json!({}))
    };
    let batch = vec![
        document("a", json!({"name": "A"})),
        named,
        document("c", json!({"employees": "many"})),
        document("a b", json!({})),
        foreign,
        pb::Document { source_version: Some(4.0), ..document("old", json!({})) },
        document("a", json!({"name": "A again"})),
    ];
    let response = service.batch(batch).await.unwrap();
    let results: Vec<_> = response
        .results
        .iter()
        .map(|result| {
            let reason = result.error.as_ref().map_or("", |error| error.reason.as_str());
            (result.index, result.document_id.as_str(), result.outcome(), reason)
        })
        .collect();
    let failed = WriteOutcome::Unspecified;
    assert_eq!(
        results,
        [
            (0, "a", WriteOutcome::Created, ""),
            (1, "b", WriteOutcome::Created, ""),
            (2, "c", failed, "INVALID_REQUEST"),
            (3, "", failed, "INVALID_REQUEST"),
            (4, "x", failed, "INVALID_REQUEST"),
            (5, "old", failed, "STALE_WRITE"),
            (6, "a", WriteOutcome::Updated, ""),
        ]
    );
    assert_eq!(response.failed_count, 4);
    let message = &response.results[2].error.as_ref().unwrap().message;
    assert!(message.contains("documents[2].fields.employees: must be a whole number"), "{message}");
    let query = pb::SearchDocumentsRequest {
        query: "again".into(),
        freshness_token: response.freshness_token,
        ..pb::SearchDocumentsRequest::default()
    };
    assert_eq!(ids(&service.search(query).await.unwrap()), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_has_bounds() {
    let mut service = with_companies(&[]).await;
    assert_eq!(violated(&service.batch(Vec::new()).await.unwrap_err()), ["documents"]);
    let many = (0..1001).map(|number| document(&format!("d{number}"), json!({}))).collect();
    assert_eq!(violated(&service.batch(many).await.unwrap_err()), ["documents"]);
    let large = (0..17).map(|number| document(&format!("d{number}"), json!({"name": "x".repeat(64_000)}))).collect();
    assert_eq!(violated(&service.batch(large).await.unwrap_err()), ["documents"]);
    let full = (0..1000).map(|number| document(&format!("d{number}"), json!({"employees": number}))).collect();
    let response = service.batch(full).await.unwrap();
    assert_eq!((response.results.len(), response.failed_count), (1000, 0));
    assert_eq!(service.search(pb::SearchDocumentsRequest::default()).await.unwrap().found, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn import_answers_for_every_document_in_order() {
    let mut service = with_companies(&[]).await;
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let mut results = service.client.import_documents(ReceiverStream::new(requests)).await.unwrap().into_inner();
    let sending = tokio::spawn(async move {
        for chunk in 0..25 {
            let number = |offset: i32| chunk * 100 + offset;
            let documents = (0..100).map(|offset| match number(offset) {
                7 => document("bad id", json!({})),
                number => {
                    document(&format!("d{number}"), json!({"name": format!("Number {number}"), "employees": number}))
                }
            });
            let parent = if chunk == 0 { COMPANIES } else { "" };
            sender.send(import(parent, documents.collect())).await.unwrap();
        }
    });
    let (mut next, mut failed, mut token) = (0, Vec::new(), String::new());
    while let Some(response) = results.message().await.unwrap() {
        for result in response.results {
            assert_eq!(result.index, next);
            next += 1;
            if let Some(error) = result.error {
                failed.push((result.index, error.reason));
            }
        }
        token = response.freshness_token;
    }
    sending.await.unwrap();
    assert_eq!((next, failed), (2500, vec![(7, "INVALID_REQUEST".to_owned())]));
    let query = pb::SearchDocumentsRequest { query: "2499".into(), freshness_token: token, ..Default::default() };
    assert_eq!(ids(&service.search(query).await.unwrap()), ["d2499"]);
}

/// Batches of an import are received and analysed while earlier ones are written.
#[tokio::test(flavor = "multi_thread")]
async fn last_document_of_an_import_wins() {
    let mut service = with_companies(&[]).await;
    let messages = (0..60).map(|message| {
        let documents = (0..50).map(|number| document(&format!("d{number}"), json!({"employees": message})));
        import(COMPANIES, documents.collect())
    });
    let messages: Vec<_> = messages.collect();
    let mut results = service.client.import_documents(tokio_stream::iter(messages)).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(response) = results.message().await.unwrap() {
        assert!(response.results.iter().all(|result| result.error.is_none()));
        count += response.results.len();
    }
    assert_eq!(count, 3000);
    let query = pb::SearchDocumentsRequest { filter: "employees = 59".into(), ..Default::default() };
    assert_eq!(service.search(query).await.unwrap().found, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn import_into_no_collection_or_another_fails() {
    let mut service = with_companies(&[]).await;
    for (messages, violation) in [
        (vec![import("", vec![document("a", json!({}))])], "parent"),
        (
            vec![
                import(COMPANIES, vec![document("a", json!({}))]),
                import("tenants/acme/collections/other", vec![document("b", json!({}))]),
            ],
            "parent",
        ),
        (
            vec![import(COMPANIES, (0..1001).map(|number| document(&format!("d{number}"), json!({}))).collect())],
            "documents",
        ),
    ] {
        let mut results = service.client.import_documents(tokio_stream::iter(messages)).await.unwrap().into_inner();
        let status = loop {
            match results.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ends without an error"),
                Err(status) => break status,
            }
        };
        assert_eq!(violated(&status), [violation]);
    }
    let missing = import("tenants/acme/collections/none", vec![document("a", json!({}))]);
    let mut results = service.client.import_documents(tokio_stream::iter([missing])).await.unwrap().into_inner();
    details(&results.message().await.unwrap_err(), Code::NotFound, "COLLECTION_NOT_FOUND");
}
