//! Errors of the services, seen by callers.

use keyplane_contracts::http::bindings;
use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use reqwest::Method;
use serde_json::{Value, json};
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::support::{bearer, grpc, http, reason};
use crate::{mesh, url, violations};

fn channel() -> Channel {
    Endpoint::from_static(url()).connect_lazy()
}

async fn call(method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = http(&mesh().endpoints().token).request(method, format!("{}{path}", url())).json(&body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Creates a session whose `last_path` has `bytes` bytes.
async fn create(encoding: Option<CompressionEncoding>, bytes: usize) -> Result<pb::Session, Status> {
    let session = pb::Session { last_path: Some(format!("/{}", "a".repeat(bytes))), ..pb::Session::default() };
    let parent = "tenants/demo/users/zip".to_owned();
    let request = pb::CreateSessionRequest { parent, session: Some(session), ..pb::CreateSessionRequest::default() };
    let mut request = Request::new(request);
    request.metadata_mut().insert("authorization", bearer(&mesh().endpoints().token).parse().unwrap());
    let mut client = SessionServiceClient::new(channel());
    if let Some(encoding) = encoding {
        client = client.send_compressed(encoding);
    }
    client.create_session(request).await.map(tonic::Response::into_inner)
}

fn why(status: &Status) -> String {
    status.get_error_details().error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}")).reason.clone()
}

#[tokio::test]
async fn compressed_calls_are_accepted_and_bounded_by_their_decoded_size() {
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        assert_eq!(create(Some(encoding), 100).await.unwrap().last_path().len(), 101, "{encoding}");
        // Small on the wire.
        let status = create(Some(encoding), 8 << 20).await.unwrap_err();
        assert_eq!(
            (status.code(), why(&status).as_str()),
            (Code::ResourceExhausted, "REQUEST_TOO_LARGE"),
            "{status:?}"
        );
    }
}

#[tokio::test]
async fn oversized_message_is_resource_exhausted() {
    let status = create(None, 5 << 20).await.unwrap_err();
    assert_eq!((status.code(), why(&status).as_str()), (Code::ResourceExhausted, "REQUEST_TOO_LARGE"), "{status:?}");
}

/// Covers every service behind the gateway.
#[tokio::test]
async fn unsupported_compression_is_rejected_with_the_supported_ones() {
    let mut services: Vec<_> = bindings().iter().map(|binding| binding.grpc_path()).collect();
    services.sort();
    services.dedup_by_key(|path| path.rsplit_once('/').unwrap().0.to_owned());
    assert_eq!(services.len(), 4, "{services:?}");
    let token = &mesh().endpoints().token;
    for path in services {
        for (encoding, read) in [("gzip", true), ("zstd", true), ("identity", true), ("snappy", false)] {
            let request = http(token).post(format!("{}{path}", url())).header("content-type", "application/grpc");
            let request = request.header("te", "trailers").header("grpc-encoding", encoding).body(&b"\0\0\0\0\0"[..]);
            let response = request.send().await.unwrap();
            let status = Status::from_header_map(response.headers());
            let Some(status) = status.filter(|status| status.code() == Code::Unimplemented) else {
                assert!(read, "{path} reads {encoding}");
                continue;
            };
            assert!(!read, "{path}: {encoding}: {status:?}");
            assert_eq!(why(&status), "COMPRESSION_UNSUPPORTED");
            assert!(status.message().contains("use gzip or zstd, or none"), "{status:?}");
        }
    }
}

/// Distinguishes the caller's deadline from the store's.
#[tokio::test]
async fn too_short_deadline_is_reported() {
    for path in ["/v1/tenants/demo/users/ada/sessions", "/v1/tenants/demo/plan", "/v1/tenants/demo/auditEntries"] {
        let request = http(&mesh().endpoints().token).get(format!("{}{path}", url())).header("grpc-timeout", "1n");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 504, "{path}");
        let error: Value = response.json().await.unwrap();
        assert_eq!(reason(&error), (4, "DEADLINE_EXCEEDED"), "{path}: {error}");
        assert!(error["message"].as_str().unwrap().starts_with("the call's deadline is too short"), "{error}");
    }
}

#[tokio::test]
async fn unknown_method_is_reported() {
    let path = "/keyplane.session.v1.SessionService/Nothing";
    let status = grpc(&channel(), path, Some(&mesh().endpoints().token)).await.unwrap_err();
    assert_eq!((status.code(), why(&status).as_str()), (Code::Unimplemented, "METHOD_UNKNOWN"), "{status:?}");
}

#[tokio::test]
async fn violation_names_the_remedy() {
    let (_, session) = call(Method::POST, "/v1/tenants/demo/users/words/sessions", json!({})).await;
    let path = format!("/v1/{}?updateMask=lastPath,lastPth", session["name"].as_str().unwrap());
    let limit = json!({"limit": {"amount": "0", "period": "1s"}, "entries": [{"key": "tenant"}]});
    let cases = [
        (
            Method::PATCH,
            path.as_str(),
            json!({}),
            "updateMask: its path number 2 (8 bytes) is unknown; it may name `companyId`, `lastPath`, `attributes`, \
             `device`, `tokens`",
        ),
        (
            Method::POST,
            "/v1/policies?policyId=p",
            limit,
            "policy.limit.amount: must be positive; to admit nothing, set the mode MODE_BLOCK (in a file: block)",
        ),
        (
            Method::POST,
            "/v1/tenants/demo/rateLimits:cancel",
            json!({"reservation": "x"}),
            "reservation: must be the reservation that Reserve returned for this tenant; 1 bytes were sent",
        ),
        (
            Method::POST,
            "/v1/tenants/demo/rateLimits:refund",
            json!({"charge": "x", "cost": 1, "requestId": "r"}),
            "charge: must be the charge that Acquire returned for this tenant; 1 bytes were sent",
        ),
    ];
    for (method, path, body, expected) in cases {
        let (status, error) = call(method, path, body).await;
        assert_eq!(status, 400, "{path}: {error}");
        assert!(violations(&error).iter().any(|one| one == expected), "{expected}\nis not in {error}");
    }
}

/// Items inherit the parent of their batch.
#[tokio::test]
async fn items_of_a_batch_need_no_parent() {
    let path = "/v1/tenants/demo:batchRevoke";
    let (status, error) = call(Method::POST, path, json!({"requests": [{"session": {}}, {"subject": {}}]})).await;
    assert_eq!(status, 400, "{error}");
    let broken = violations(&error);
    assert!(broken.iter().all(|one| !one.contains("parent")), "{broken:?}");
    assert_eq!(call(Method::POST, path, json!({"requests": [{"session": {"sid": "gone"}}]})).await.0, 200);
}
