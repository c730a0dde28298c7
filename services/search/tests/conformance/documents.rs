//! Calls on single documents.

use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::search::v1::WriteOutcome;
use prost_types::value::Kind;
use prost_types::{Duration, FieldMask, Struct, Timestamp, Value};
use serde_json::{Value as Json, json};
use tonic::{Code, Request, Status};

use crate::support::{COMPANIES, PATIENCE, Service, details, document, fields_of, ids, violated, with_companies};

fn name(id: &str) -> String {
    format!("{COMPANIES}/documents/{id}")
}

fn patch(id: &str, fields: Json) -> pb::UpdateDocumentRequest {
    let document = pb::Document { name: name(id), fields: Some(fields_of(fields)), ..pb::Document::default() };
    pb::UpdateDocumentRequest { document: Some(document), update_mask: None }
}

async fn update(
    service: &mut Service,
    request: pb::UpdateDocumentRequest,
) -> Result<pb::WriteDocumentResponse, Status> {
    service.client.update_document(request).await.map(tonic::Response::into_inner)
}

fn delete(id: &str) -> pb::DeleteDocumentRequest {
    pb::DeleteDocumentRequest { name: name(id), ..pb::DeleteDocumentRequest::default() }
}

fn full() -> Json {
    json!({
        "name": "Cloud Services AG", "description": "Runs\ndata centres.", "country": "DE",
        "industries": ["software", "hosting"], "employees": 9_007_199_254_740_991_i64, "revenue": 12.5,
        "founded": "1998-05-04T02:00:00+02:00", "listed": false, "extra": {"a": [1, null, {"": ""}]},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn written_document_is_read_with_its_values() {
    let mut service = with_companies(&[]).await;
    let sent = pb::Document { source_version: Some(7.0), ..document("urn:c-7", full()) };
    let written = service.upsert(sent.clone()).await.unwrap();
    assert_eq!((written.name.clone(), written.outcome()), (name("urn:c-7"), WriteOutcome::Created));
    assert_eq!((written.source_version, written.expire_time), (Some(7.0), None));
    assert!(!written.freshness_token.is_empty() && written.create_time == written.update_time);

    let read = service.get("urn:c-7").await.unwrap();
    let mut expected = full();
    expected["founded"] = json!("1998-05-04T00:00:00Z");
    assert_eq!(read.fields, Some(fields_of(expected)));
    assert_eq!((read.name, read.document_id.as_str(), read.etag), (name("urn:c-7"), "urn:c-7", written.etag.clone()));
    assert_eq!((read.source_version, read.create_time), (Some(7.0), written.create_time));

    // A retry changes nothing; other content replaces all of it.
    let again = service.upsert(sent).await.unwrap();
    assert_eq!(
        (again.outcome(), &again.etag, again.update_time),
        (WriteOutcome::Unchanged, &written.etag, written.update_time)
    );
    let replaced = service.upsert(document("urn:c-7", json!({"name": "Other"}))).await.unwrap();
    assert_eq!((replaced.outcome(), replaced.create_time), (WriteOutcome::Updated, written.create_time));
    assert_ne!(replaced.etag, written.etag);
    assert_eq!(service.get("urn:c-7").await.unwrap().fields, Some(fields_of(json!({"name": "Other"}))));
    details(&service.get("none").await.unwrap_err(), Code::NotFound, "DOCUMENT_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn older_source_version_never_overwrites() {
    let mut service = with_companies(&[]).await;
    let at = |version: f64, name: &str| pb::Document {
        source_version: Some(version),
        ..document("a", json!({"name": name}))
    };
    service.upsert(at(10.0, "ten")).await.unwrap();
    let status = service.upsert(at(9.0, "nine")).await.unwrap_err();
    let found = details(&status, Code::Aborted, "STALE_WRITE");
    assert_eq!(found.error_info().unwrap().metadata["current"], "10");
    assert_eq!(service.upsert(at(10.0, "ten again")).await.unwrap().outcome(), WriteOutcome::Updated);
    let mut older = patch("a", json!({"name": "nine"}));
    older.document.as_mut().unwrap().source_version = Some(9.0);
    details(&update(&mut service, older).await.unwrap_err(), Code::Aborted, "STALE_WRITE");

    let older = pb::DeleteDocumentRequest { source_version: Some(9.0), ..delete("a") };
    details(&service.client.delete_document(older).await.unwrap_err(), Code::Aborted, "STALE_WRITE");
    let newer = pb::DeleteDocumentRequest { source_version: Some(11.0), ..delete("a") };
    assert!(service.client.delete_document(newer).await.unwrap().into_inner().existed);
    details(&service.upsert(at(10.0, "late")).await.unwrap_err(), Code::Aborted, "STALE_WRITE");
    details(&service.get("a").await.unwrap_err(), Code::NotFound, "DOCUMENT_NOT_FOUND");
    assert_eq!(service.upsert(at(12.0, "back")).await.unwrap().outcome(), WriteOutcome::Created);
}

#[tokio::test(flavor = "multi_thread")]
async fn update_merges_what_is_present() {
    let mut service = with_companies(&[]).await;
    let missing = update(&mut service, patch("a", json!({"name": "x"}))).await.unwrap_err();
    details(&missing, Code::NotFound, "DOCUMENT_NOT_FOUND");
    let written = service.upsert(document("a", full())).await.unwrap();
    let change = json!({"name": "New", "description": null, "industries": []});
    let updated = update(&mut service, patch("a", change.clone())).await.unwrap();
    assert_eq!((updated.outcome(), updated.create_time), (WriteOutcome::Updated, written.create_time));
    let read = service.get("a").await.unwrap();
    let fields = read.fields.unwrap().fields;
    assert_eq!(fields["name"].kind, Some(Kind::StringValue("New".into())));
    assert!(!fields.contains_key("description") && fields.contains_key("country"));
    let again = update(&mut service, patch("a", change)).await.unwrap();
    assert_eq!((again.outcome(), &again.etag), (WriteOutcome::Unchanged, &updated.etag));

    // The etag guards, in the body and in the header.
    let mut stale = patch("a", json!({"name": "Newer"}));
    stale.document.as_mut().unwrap().etag = written.etag.clone();
    let status = update(&mut service, stale.clone()).await.unwrap_err();
    let found = details(&status, Code::Aborted, "STALE_WRITE");
    assert_eq!(found.error_info().unwrap().metadata["current"], updated.etag);
    let mut request = Request::new(patch("a", json!({"name": "Newer"})));
    request.metadata_mut().insert("if-match", format!("\"{}\"", updated.etag).parse().unwrap());
    service.client.update_document(request).await.unwrap();
    let mut request = Request::new(stale);
    request.metadata_mut().insert("if-match", "\"999\"".parse().unwrap());
    assert_eq!(violated(&service.client.update_document(request).await.unwrap_err()), ["document.etag"]);
    let unreadable = pb::DeleteDocumentRequest { etag: "none".into(), ..delete("a") };
    details(&service.client.delete_document(unreadable).await.unwrap_err(), Code::Aborted, "STALE_WRITE");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_updates_of_different_fields_all_survive() {
    let mut service = with_companies(&[]).await;
    service.upsert(document("a", json!({"name": "A"}))).await.unwrap();
    let changes = [json!({"country": "DE"}), json!({"employees": 7}), json!({"revenue": 1.5}), json!({"listed": true})];
    let calls = changes.map(|change| {
        let mut client = service.client.clone();
        tokio::spawn(async move {
            // A conflict asks for another try.
            for _ in 0..20 {
                match client.update_document(patch("a", change.clone())).await {
                    Ok(_) => return,
                    Err(status) => drop(details(&status, Code::Aborted, "WRITE_CONFLICT")),
                }
            }
            panic!("no update came through");
        })
    });
    for call in calls {
        call.await.unwrap();
    }
    let expected = json!({"name": "A", "country": "DE", "employees": 7, "revenue": 1.5, "listed": true});
    assert_eq!(service.get("a").await.unwrap().fields, Some(fields_of(expected)));
}

#[tokio::test(flavor = "multi_thread")]
async fn document_expires() {
    let mut service = with_companies(&[]).await;
    let second = Some(Duration { seconds: 1, nanos: 0 });
    let written = service.upsert(pb::Document { ttl: second, ..document("a", json!({"name": "A"})) }).await.unwrap();
    assert!(written.expire_time.is_some());
    service.upsert(pb::Document { ttl: second, ..document("b", json!({"name": "B"})) }).await.unwrap();
    // A mask that names the expiry, and a body without one, remove it.
    let keep = pb::UpdateDocumentRequest {
        update_mask: Some(FieldMask { paths: vec!["expire_time".into()] }),
        ..patch("b", json!({}))
    };
    assert_eq!(update(&mut service, keep).await.unwrap().expire_time, None);
    keyplane_testkit::eventually("the document expires", PATIENCE, async || match service.get("a").await {
        Err(status) => {
            details(&status, Code::NotFound, "DOCUMENT_NOT_FOUND");
            Ok(())
        }
        Ok(document) => Err(document.expire_time),
    })
    .await;
    let found = service.search(pb::SearchDocumentsRequest::default()).await.unwrap();
    assert_eq!(ids(&found), ["b"], "no search returns an expired document");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_document_is_gone() {
    let mut service = with_companies(&[]).await;
    service.upsert(document("a", json!({"name": "A"}))).await.unwrap();
    let deleted = service.client.delete_document(delete("a")).await.unwrap().into_inner();
    assert!(deleted.existed && !deleted.freshness_token.is_empty());
    let query = pb::SearchDocumentsRequest { freshness_token: deleted.freshness_token, ..Default::default() };
    assert_eq!(service.search(query).await.unwrap().found, 0);
    let status = service.client.delete_document(delete("a")).await.unwrap_err();
    details(&status, Code::NotFound, "DOCUMENT_NOT_FOUND");
    let allowed = pb::DeleteDocumentRequest { allow_missing: true, ..delete("a") };
    assert!(!service.client.delete_document(allowed).await.unwrap().into_inner().existed);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_violated_field_of_a_document_is_named() {
    let mut service = with_companies(&[]).await;
    let wrong = pb::Document {
        source_version: Some(0.5),
        expire_time: Some(Timestamp { seconds: 1, nanos: 0 }),
        ..document("a", json!({"name": 1}))
    };
    assert_eq!(
        violated(&service.upsert(wrong).await.unwrap_err()),
        ["document.source_version", "document.expire_time"]
    );
    let wrong = json!({"name": 1, "employees": 9_007_199_254_740_992_i64, "industries": ["a", 2], "owner": "x"});
    let status = service.upsert(document("a", wrong.clone())).await.unwrap_err();
    details(&status, Code::InvalidArgument, "INVALID_REQUEST");
    let fields = ["employees", "industries[1]", "name", "owner"].map(|field| format!("document.fields.{field}"));
    assert_eq!(violated(&status), fields);
    service.upsert(document("a", json!({}))).await.unwrap();
    assert_eq!(violated(&update(&mut service, patch("a", wrong)).await.unwrap_err()), fields);

    let without_kind = Struct { fields: [("name".to_owned(), Value { kind: None })].into() };
    let nan = Value { kind: Some(Kind::NumberValue(f64::NAN)) };
    for (fields, at) in [
        (without_kind, "document.fields.name"),
        (Struct { fields: [("revenue".to_owned(), nan)].into() }, "document.fields.revenue"),
    ] {
        let document = pb::Document { fields: Some(fields), ..document("a", json!({})) };
        assert_eq!(violated(&service.upsert(document).await.unwrap_err()), [at]);
    }
    let both = pb::Document {
        expire_time: Some(Timestamp { seconds: 4_000_000_000, nanos: 0 }),
        ttl: Some(Duration { seconds: 1, nanos: 0 }),
        ..document("a", json!({}))
    };
    assert_eq!(violated(&service.upsert(both).await.unwrap_err()), ["document.ttl"]);
    let request = pb::UpsertDocumentRequest { document: None };
    assert_eq!(violated(&service.client.upsert_document(request).await.unwrap_err()), ["document.name"]);
    let mismatch = pb::Document { name: name("b"), ..document("a", json!({})) };
    let request = pb::UpsertDocumentRequest { document: Some(mismatch) };
    assert_eq!(violated(&service.client.upsert_document(request).await.unwrap_err()), ["document.document_id"]);
    let masked = pb::UpdateDocumentRequest {
        update_mask: Some(FieldMask { paths: vec!["fields.name".into()] }),
        ..patch("a", json!({}))
    };
    assert_eq!(violated(&update(&mut service, masked).await.unwrap_err()), ["update_mask"]);
    let large = document("a", json!({"extra": "x".repeat(262_144)}));
    assert_eq!(violated(&service.upsert(large).await.unwrap_err()), ["document"]);
    // Text of two updates together.
    service.upsert(document("a", json!({"name": "x".repeat(40_000)}))).await.unwrap();
    let more = update(&mut service, patch("a", json!({"description": "x".repeat(40_000)}))).await.unwrap_err();
    assert_eq!(violated(&more), ["document.fields"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn maximum_of_documents_is_kept() {
    let mut service = with_companies(&[("KEYPLANE_SEARCH_MAX_DOCUMENTS", "2")]).await;
    for id in ["a", "b"] {
        service.upsert(document(id, json!({"name": id}))).await.unwrap();
    }
    let found = keyplane_testkit::eventually("the third is rejected", PATIENCE, async || {
        match service.upsert(document("c", json!({"name": "c"}))).await {
            Err(status) => Ok(status),
            Ok(_) => Err("accepted"),
        }
    })
    .await;
    let found = details(&found, Code::ResourceExhausted, "TOO_MANY_DOCUMENTS");
    assert_eq!(found.error_info().unwrap().metadata["max_documents"], "2");
    service.upsert(document("a", json!({"name": "replaced"}))).await.expect("a replacement adds none");
}
