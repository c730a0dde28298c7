//! What the tests of the gateway share.
#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod bearer;
pub mod calls;
pub mod gate;
pub mod peer;
pub mod table;
pub mod variants;

use std::path::PathBuf;
use std::sync::OnceLock;

use keyplane_gateway::Here;
use keyplane_local::{Grant, Issuer, Options};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::Value;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// A whole mesh on free ports, for a test that is not about revocation.
///
/// A machine that is busy with other tests may hold up a process for longer than memory may be old; the gateway then turns
/// callers away for a moment, as it should. Here that would only hide what the test is about.
pub fn options(folder: impl Into<PathBuf>) -> Options {
    let mut options = strict_options(folder);
    options.settings.push(("KEYPLANE_REVOCATION_MAX_STALENESS".to_owned(), "1m".to_owned()));
    options
}

/// The same for a test that is about revocation, where memory is as old as it may be in production. The limits are the shipped
/// ones, not what an earlier run left in the folder.
pub fn strict_options(folder: impl Into<PathBuf>) -> Options {
    let mut options = Options::on_free_ports(env!("CARGO_BIN_EXE_keyplane-up"), folder);
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/policies.yaml");
    options.settings.push(("KEYPLANE_RATELIMIT_POLICIES".to_owned(), policies.to_owned()));
    options
}

/// With these policies in place of the shipped ones, in a file of the mesh's folder.
pub fn with_policies(mut options: Options, yaml: &str) -> Options {
    std::fs::create_dir_all(&options.folder).unwrap();
    let path = options.folder.join("policies-of-test.yaml");
    std::fs::write(&path, yaml).unwrap();
    options.settings.push(("KEYPLANE_RATELIMIT_POLICIES".to_owned(), path.display().to_string()));
    options
}

/// Socket of this binary's guard.
pub fn guard() -> PathBuf {
    static GUARD: OnceLock<Here> = OnceLock::new();
    GUARD.get_or_init(|| Here::start().unwrap()).socket()
}

/// A token of a user of the tenant `acme`.
pub fn token(issuer: &Issuer, user: &str) -> String {
    issuer.mint(&Grant::new("acme", user)).unwrap()
}

/// A client that sends `token` with every request.
pub fn http(token: &str) -> reqwest::Client {
    let mut value = HeaderValue::from_str(&bearer(token)).unwrap();
    value.set_sensitive(true);
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    reqwest::Client::builder().default_headers(headers).build().unwrap()
}

pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Calls any RPC with an empty message, and returns its status.
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

/// Of an error in the shape that all have: its code, and its reason.
pub fn reason(error: &Value) -> (i64, &str) {
    let details = error["details"].as_array().unwrap_or_else(|| panic!("no error of ours: {error}"));
    let info = details.iter().find(|detail| detail["@type"] == "type.googleapis.com/google.rpc.ErrorInfo");
    let info = info.unwrap_or_else(|| panic!("no ErrorInfo: {error}"));
    assert_eq!(info["domain"], "keyplane.dev", "{error}");
    (error["code"].as_i64().unwrap(), info["reason"].as_str().unwrap())
}
