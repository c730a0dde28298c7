//! BatchRevoke and BulkRevoke.

mod support;

use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revoke_request::Target;
use support::{PARENT, PATIENCE, Service, claims, details, seconds_from_now, shared, token, violated};
use tonic::Code;

fn bulk_item(n: usize) -> pb::BulkRevokeRequest {
    let target = Target::Token(token(&format!("j-{n}")));
    pb::BulkRevokeRequest { item: n.to_string(), request: Some(pb::RevokeRequest { target: Some(target) }) }
}

/// Sends an item, and takes its result.
async fn exchange(
    items: &tokio::sync::mpsc::Sender<pb::BulkRevokeRequest>,
    results: &mut tonic::Streaming<pb::BulkRevokeResponse>,
    n: usize,
) {
    items.send(bulk_item(n)).await.expect("the stream is open");
    let result = results.message().await.expect("no error").expect("a result");
    assert_eq!(result.item, n.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_a_result_for_each() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let one = |target| pb::RevokeRequest { target: Some(target) };
    let bare = |jti: &str| Target::Token(pb::RevokeTokenRequest { parent: String::new(), ..token(jti) });
    let future =
        pb::RevokeTenantRequest { cutoff_time: Some(seconds_from_now(30)), ..pb::RevokeTenantRequest::default() };
    let request = pb::BatchRevokeRequest {
        parent: PARENT.into(),
        requests: vec![one(bare("j-1")), one(Target::Tenant(future)), one(Target::Token(token("j-2")))],
    };
    let found = client.batch_revoke(request).await.expect("the batch itself is right").into_inner();
    let errors: Vec<_> = found.results.iter().map(|result| result.error.as_ref()).collect();
    let [None, Some(error), None] = errors[..] else { panic!("only the second fails: {errors:?}") };
    assert_eq!((error.code, error.reason.as_str()), (Code::InvalidArgument.into(), "INVALID_REQUEST"));
    assert!(error.message.contains("cutoff_time"), "{}", error.message);
    assert!(found.results[0].revocation.is_some() && found.results[1].revocation.is_none());
    assert_eq!(found.durability(), pb::Durability::PrimaryOnly);
    let check = pb::CheckRequest {
        parent: PARENT.into(),
        claims: Some(claims("j-2")),
        min_sequence: found.sequence,
        max_staleness: None,
    };
    assert_eq!(client.check(check).await.expect("it is known, or asked").into_inner().rule(), pb::Rule::Token);

    let request = pb::BatchRevokeRequest {
        parent: PARENT.into(),
        requests: vec![
            one(Target::Session(pb::RevokeSessionRequest::default())),
            pb::RevokeRequest::default(),
            one(Target::Token(pb::RevokeTokenRequest {
                parent: "tenants/other".into(),
                jti: String::new(),
                ..token("")
            })),
            one(Target::Key(pb::RevokeKeyRequest {
                expire_time: Some(seconds_from_now(500 * 86_400)),
                ..pb::RevokeKeyRequest::default()
            })),
        ],
    };
    let fields = violated(&client.batch_revoke(request).await.unwrap_err());
    let expected = [
        "requests[0].session.sid",
        "requests[1]",
        "requests[2].token.parent",
        "requests[2].token.jti",
        "requests[3].key.issuer",
        "requests[3].key.kid",
        "requests[3].key.expire_time",
    ];
    assert_eq!(fields, expected);
    let empty = pb::BatchRevokeRequest { parent: "acme".into(), requests: Vec::new() };
    assert_eq!(violated(&client.batch_revoke(empty).await.unwrap_err()), ["parent", "requests"]);
    let many = pb::BatchRevokeRequest { parent: PARENT.into(), requests: vec![one(bare("j")); 1001] };
    assert_eq!(violated(&client.batch_revoke(many).await.unwrap_err()), ["requests"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_answers_in_order_and_a_bad_item_is_a_result() {
    let service = shared(&[]).await;
    let mut items: Vec<_> = (0..3000).map(bulk_item).collect();
    items[1234].request = None;
    items[2345].item = "x".repeat(129);
    let mut results =
        service.client.clone().bulk_revoke(tokio_stream::iter(items)).await.expect("it begins").into_inner();
    let mut count = 0;
    while let Some(result) = results.message().await.expect("a bad item does not end it") {
        let error = result.result.expect("each has one").error;
        match (count, error) {
            (1234, Some(error)) => {
                assert_eq!((result.item.as_str(), error.code), ("1234", Code::InvalidArgument.into()));
                assert!(error.message.contains("request: must have exactly one of"), "{}", error.message);
            }
            (2345, Some(error)) => assert_eq!((result.item.as_str(), error.reason.as_str()), ("", "INVALID_REQUEST")),
            (n, error) => assert_eq!((result.item, error), (n.to_string(), None)),
        }
        count += 1;
    }
    assert_eq!(count, 3000);
    assert_eq!(service.rule(claims("j-2999")).await, pb::Rule::Token);
    assert_eq!(service.rule(claims("j-2345")).await, pb::Rule::Unspecified);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_a_bulk_after_the_results_of_items_that_were_read() {
    let Service { running, client } = shared(&[]).await;
    let (items, feed) = tokio::sync::mpsc::channel(8);
    let stream = tokio_stream::wrappers::ReceiverStream::new(feed);
    let mut results = client.clone().bulk_revoke(stream).await.expect("it begins").into_inner();
    exchange(&items, &mut results, 1).await;
    exchange(&items, &mut results, 2).await;
    let stopped = tokio::spawn(running.drain_and_stop());
    let status = results.message().await.expect_err("it ends with a retryable status");
    assert!(details(&status, Code::Unavailable, "SHUTTING_DOWN").retry_info().is_some());
    drop(items);
    tokio::time::timeout(PATIENCE, stopped).await.expect("the drain ends").expect("and does not panic");
}
