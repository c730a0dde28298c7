//! Readiness of the mesh's parts.

use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Longest wait for a part; the machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Words of `/readyz` when the engine lacks a service's commands. Waiting mends that no more than a restart does.
const LACKS: &str = "the store's engine lacks";

/// Repeats `probe` until it is `Ok`.
///
/// # Errors
///
/// Last error, once [`PATIENCE`] is over.
pub(crate) async fn until<T>(mut probe: impl AsyncFnMut() -> Result<T, String>) -> Result<T, String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = match tokio::time::timeout(Duration::from_secs(5), probe()).await {
            Ok(answer) => answer,
            Err(_) => Err("no answer within 5 s".to_owned()),
        };
        match answer {
            Ok(value) => return Ok(value),
            Err(detail) if Instant::now() > end => return Err(detail),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Checks `grpc.health.v1`: `Ok` if `service` at `address` (host and port) is SERVING.
pub(crate) async fn serving(address: &str, service: &str) -> Result<(), String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| format!("{address}: {error}"))?;
    let channel = endpoint.connect().await.map_err(|error| format!("{address}: {error}"))?;
    let mut client = HealthClient::new(channel);
    let request = HealthCheckRequest { service: service.to_owned() };
    let response = client.check(request).await.map_err(|status| format!("health check: {status}"))?;
    let status = response.into_inner().status();
    if status == ServingStatus::Serving { Ok(()) } else { Err(format!("{service} is {}", status.as_str_name())) }
}

/// Asks `/readyz` at `url` whether a service is ready; `Some` is what it says when the engine lacks its commands.
pub(crate) async fn readyz(http: &reqwest::Client, url: &str) -> Result<Option<String>, String> {
    let response = http.get(url).send().await.map_err(|error| format!("{url}: {error}"))?;
    let status = response.status();
    let body = response.text().await.map_err(|error| format!("{url}: {error}"))?;
    match body.find(LACKS) {
        _ if status == reqwest::StatusCode::OK => Ok(None),
        Some(at) => Ok(Some(body[at..].trim_end().to_owned())),
        None => Err(format!("{url}: {status} {body}")),
    }
}

/// Sends a GET; returns the body of status 200.
pub(crate) async fn get(http: &reqwest::Client, url: &str) -> Result<String, String> {
    body(http.get(url).send().await, url).await
}

/// Sends a POST of JSON with a bearer token; returns the body of status 200.
pub(crate) async fn post(
    http: &reqwest::Client,
    url: &str,
    token: &str,
    json: &serde_json::Value,
) -> Result<String, String> {
    body(http.post(url).bearer_auth(token).json(json).send().await, url).await
}

async fn body(response: reqwest::Result<reqwest::Response>, url: &str) -> Result<String, String> {
    let response = response.map_err(|error| format!("{url}: {error}"))?;
    let status = response.status();
    let body = response.text().await.map_err(|error| format!("{url}: {error}"))?;
    if status == reqwest::StatusCode::OK { Ok(body) } else { Err(format!("{url}: {status} {body}")) }
}
