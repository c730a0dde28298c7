//! Helpers of the gateway's tests.
#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod bearer;
pub mod calls;
pub mod gate;
pub mod peer;
pub mod table;
pub mod variants;

use std::path::PathBuf;
use std::sync::OnceLock;

use keyplane_gateway::InProcessGuard;
use keyplane_local::{Grant, Issuer, Options};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::Value;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// Options of a whole mesh on free ports, for tests that are not about revocation.
///
/// A busy machine may delay a process for longer than the limit on staleness; the gateway then answers 503 for a
/// moment. A high limit keeps that out of the test.
pub fn options(folder: impl Into<PathBuf>) -> Options {
    let mut options = strict_options(folder);
    options.settings.push(("KEYPLANE_REVOCATION_MAX_STALENESS".to_owned(), "1m".to_owned()));
    options
}

/// Options of a whole mesh on free ports, with production's limit on staleness. The policies are the shipped ones,
/// whatever an earlier run left in the folder.
pub fn strict_options(folder: impl Into<PathBuf>) -> Options {
    let mut options = Options::on_free_ports(env!("CARGO_BIN_EXE_keyplane-up"), folder);
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/policies.yaml");
    options.settings.push(("KEYPLANE_RATELIMIT_POLICIES".to_owned(), policies.to_owned()));
    options
}

/// Replaces the shipped policies by `yaml`, in a file of the mesh's folder.
pub fn with_policies(mut options: Options, yaml: &str) -> Options {
    std::fs::create_dir_all(&options.folder).unwrap();
    let path = options.folder.join("policies-of-test.yaml");
    std::fs::write(&path, yaml).unwrap();
    options.settings.push(("KEYPLANE_RATELIMIT_POLICIES".to_owned(), path.display().to_string()));
    options
}

/// Socket of this test binary's guard.
pub fn guard() -> PathBuf {
    static GUARD: OnceLock<InProcessGuard> = OnceLock::new();
    GUARD.get_or_init(|| InProcessGuard::start().unwrap()).socket()
}

/// Mints a token for a user of the tenant `acme`.
pub fn token(issuer: &Issuer, user: &str) -> String {
    issuer.mint(&Grant::new("acme", user)).unwrap()
}

/// Client that sends `token` with every request.
pub fn http(token: &str) -> reqwest::Client {
    let mut value = HeaderValue::from_str(&bearer(token)).unwrap();
    value.set_sensitive(true);
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    reqwest::Client::builder().default_headers(headers).build().unwrap()
}

pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Calls any RPC with an empty message; returns its status.
pub async fn grpc(channel: &Channel, path: &str, token: Option<&str>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let mut request = Request::new(());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", bearer(token).parse().unwrap());
    }
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    client.unary(request, path.parse::<PathAndQuery>().unwrap(), codec).await.map(drop)
}

/// Code and reason of an error in the common shape.
pub fn reason(error: &Value) -> (i64, &str) {
    let details = error["details"].as_array().unwrap_or_else(|| panic!("not the common error shape: {error}"));
    let info = details.iter().find(|detail| detail["@type"] == "type.googleapis.com/google.rpc.ErrorInfo");
    let info = info.unwrap_or_else(|| panic!("no ErrorInfo: {error}"));
    assert_eq!(info["domain"], "keyplane.dev", "{error}");
    (error["code"].as_i64().unwrap(), info["reason"].as_str().unwrap())
}
