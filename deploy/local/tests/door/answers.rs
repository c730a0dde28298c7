//! Rejections by the gateway itself.

use std::collections::{BTreeMap, BTreeSet};

use keyplane_contracts::http::bindings;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::gate::SESSIONS;
use crate::support::table::path;
use crate::support::{grpc, http, reason};
use crate::{exchange, gate, parsed, url};

const VERBS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Expected methods come from the descriptors.
#[tokio::test]
async fn wrong_method_is_405_with_the_allowed_methods() {
    let mut paths: BTreeMap<String, BTreeSet<&str>> = BTreeMap::from([("/openapi.json".to_owned(), ["GET"].into())]);
    for binding in bindings() {
        paths.entry(path(&binding)).or_default().insert(binding.verb);
    }
    let client = Client::new();
    for (path, verbs) in paths {
        for verb in VERBS.into_iter().filter(|verb| !verbs.contains(verb)) {
            let request = client.request(verb.parse::<Method>().unwrap(), format!("{}{path}", gate().url));
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 405, "{verb} {path}");
            let allow = response.headers()["allow"].to_str().unwrap().to_owned();
            assert_eq!(allow.split(", ").collect::<BTreeSet<_>>(), verbs, "{verb} {path}");
            if verb != "HEAD" {
                let error: Value = response.json().await.unwrap();
                assert_eq!(reason(&error), (12, "METHOD_NOT_ALLOWED"), "{verb} {path}");
                assert_eq!(error["message"], format!("this path takes {allow}"));
            }
        }
    }
}

/// Rejections while Envoy parses a request, before any filter.
#[test]
fn malformed_http_is_answered_in_the_error_shape() {
    let line = format!("GET {SESSIONS} HTTP/1.1\r\nhost: x\r\n");
    let many: String = (0..120).map(|number| format!("x-{number}: a\r\n")).collect();
    let cases = [
        (format!("GET {SESSIONS} HTTP/1.0\r\nhost: x\r\n\r\n"), 426, 12, "HTTP_VERSION_UNSUPPORTED", "HTTP/1.1"),
        (format!("{line}x: {}\r\n\r\n", "a".repeat(40_000)), 431, 8, "HEADERS_TOO_LARGE", "32 KiB"),
        (format!("{line}{many}\r\n"), 431, 8, "HEADERS_TOO_LARGE", "100 headers"),
        (format!("{line}transfer-encoding: gzip\r\n\r\n"), 501, 12, "NOT_IMPLEMENTED", "transfer_encoding"),
        (format!("{line}a_b: c\r\n\r\n"), 400, 3, "INVALID_REQUEST", "underscore"),
        ("GE<T / HTTP/1.1\r\n\r\n".to_owned(), 400, 3, "INVALID_REQUEST", "a rule of HTTP"),
        (format!("GET {SESSIONS} HTTP/1.1\r\nconnection: close\r\n\r\n"), 400, 3, "INVALID_REQUEST", "host"),
        (format!("{line}connection: upgrade\r\nupgrade: websocket\r\n\r\n"), 403, 7, "PERMISSION_DENIED", "upgrade"),
    ];
    for (request, status, code, why, words) in cases {
        let answer = exchange(&gate().url, request.as_bytes());
        let (found, error) = parsed(&answer);
        assert_eq!((found, reason(&error)), (status, (code, why)), "{error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn invalid_path_is_rejected_with_its_rule() {
    let cases = [
        ("/v1/tenants/a%2Fb/plan", "the path must not hold an escaped slash or backslash (%2F, %5C)"),
        ("/v1/tenants/a%5cb/plan", "the path must not hold an escaped slash or backslash (%2F, %5C)"),
        ("/v1/tenants/%00/plan?x=%2f", "the path must not hold a zero byte (%00)"),
        ("/v1/tenants/acme/plan#more", "the path must not hold a fragment (#)"),
    ];
    for (path, message) in cases {
        let (status, error) =
            parsed(&exchange(&gate().url, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()));
        assert_eq!((status, reason(&error)), (400, (3, "INVALID_REQUEST")), "{path}: {error}");
        assert_eq!(error["message"], message, "{path}");
    }
    // gRPC gets the plain message, not a JSON error inside it.
    let path = "/keyplane.session.v1.SessionService%2FGetSession";
    let status = grpc(&gate().channel(), path, Some(&gate().token())).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Internal, cases[0].1), "{status:?}");
}

#[tokio::test]
async fn oversized_body_is_413_and_resource_exhausted() {
    for (path, bytes) in [(SESSIONS, 2 << 20), ("/v1/tenants/acme/oauth2/revoke", 20 << 10)] {
        let body = json!({"companyId": "a".repeat(bytes)});
        let response = http(&gate().token()).post(format!("{}{path}", gate().url)).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 413, "{path}");
        let error: Value = response.json().await.unwrap();
        if path == SESSIONS {
            assert_eq!(reason(&error), (8, "REQUEST_TOO_LARGE"), "{error}");
            assert_eq!(error["message"], "the body is too large; most routes take 1 MiB, oauth2/revoke 16 KiB");
        }
    }
}

#[tokio::test]
async fn unknown_path_needs_no_token() {
    let response = reqwest::get(format!("{}/v1/tenants/acme/users", url())).await.unwrap();
    assert_eq!(response.status(), 404);
    let error: Value = response.json().await.unwrap();
    assert_eq!(reason(&error), (5, "ROUTE_NOT_FOUND"));
    assert_eq!(error["message"], "unknown route; /openapi.json lists the routes");
}
