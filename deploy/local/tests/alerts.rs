//! Metrics that the alerts of `deploy/prometheus` name, held against the services' exports.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use keyplane_local::{Issuer, Mesh, Options};
use keyplane_testkit::eventually;
use regex::Regex;
use serde_json::json;
use tonic::transport::Endpoint;

const REVOCATION: &str = include_str!("../../prometheus/revocation.rules.yaml");
const RATELIMIT: &str = include_str!("../../prometheus/ratelimit.rules.yaml");
const SEARCH: &str = include_str!("../../prometheus/search.rules.yaml");
const PATIENCE: Duration = Duration::from_secs(30);

/// Names of metrics, and of labels with their values, that the expressions of `rules` use.
fn used(rules: &str) -> (BTreeSet<String>, BTreeSet<(String, String)>) {
    let metric = Regex::new(r"keyplane_(?:revocation|ratelimit|search)_[a-z_]+").unwrap();
    let label = Regex::new(r#"(keyplane_(?:revocation|ratelimit|search)_[a-z_]+)=~?"([a-z_|]+)""#).unwrap();
    let (mut metrics, mut labels) = (BTreeSet::new(), BTreeSet::new());
    for line in rules.lines().filter(|line| metric.is_match(line)) {
        for found in label.captures_iter(line) {
            labels.extend(found[2].split('|').map(|value| (found[1].to_owned(), value.to_owned())));
        }
        metrics.extend(metric.find_iter(&label.replace_all(line, "")).map(|found| found.as_str().to_owned()));
    }
    (metrics, labels)
}

/// Waits until a service exports all `metrics`; returns its whole export.
async fn exported(admin: &str, metrics: &BTreeSet<String>) -> String {
    let url = format!("{admin}/metrics");
    let text = async || reqwest::get(&url).await.unwrap().text().await.unwrap();
    eventually("all metrics are exported", PATIENCE, async || {
        let text = text().await;
        let has = |name: &str| {
            text.lines().any(|line| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} ")))
        };
        let missing: Vec<_> = metrics.iter().filter(|name| !has(name)).collect();
        let ours: Vec<_> = text
            .lines()
            .filter(|line| ["keyplane_re", "keyplane_ra", "keyplane_se"].iter().any(|start| line.starts_with(start)))
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} are not among:\n{}", ours.join("\n"))) }
    })
    .await;
    text().await
}

#[tokio::test]
async fn alerts_name_exported_metrics() {
    let (metrics, labels) = used(REVOCATION);
    assert!(metrics.len() >= 5 && labels.len() >= 3, "unexpected rules: {metrics:?} {labels:?}");

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("alerts");
    let mesh = Mesh::start(Options::on_free_ports(env!("CARGO_BIN_EXE_keyplane-up"), folder)).await.unwrap();
    let http = support::http(&mesh.endpoints().token);
    let url = |path: &str| format!("{}{path}", mesh.endpoints().gateway.as_ref().unwrap());
    let status = async || {
        let response = http.get(url("/v1/tenants/acme/users/u-42/sessions")).send().await.unwrap();
        response.status().as_u16()
    };
    let revocation = json!({"issuer": Issuer::NAME, "jti": "j-1"});
    eventually("a token is revoked", PATIENCE, async || {
        http.post(url("/v1/tenants/acme:revokeToken")).json(&revocation).send().await.unwrap().status() == 200
    })
    .await;

    // Causes of the alerts: the store is unavailable, and returns empty.
    mesh.valkey().unwrap().kill().unwrap();
    eventually("the gateway answers 503", PATIENCE, async || status().await == 503).await;
    mesh.valkey().unwrap().restart().unwrap();
    eventually("requests pass again", PATIENCE, async || status().await == 200).await;

    let text = exported(&mesh.endpoints().service("auth-revocation").admin, &metrics).await;
    // The exporter appends the unit to the name: a name with a unit would repeat it.
    for name in
        text.lines().filter(|line| line.starts_with("keyplane_")).filter_map(|line| line.split([' ', '{']).next())
    {
        let words: Vec<_> = name.split('_').collect();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]), "{name}: take the unit out of the name");
    }
    for name in labels.iter().map(|(name, _)| name).collect::<BTreeSet<_>>() {
        let found =
            text.lines().any(|line| line.starts_with("keyplane_revocation_fallbacks_total{") && line.contains(name));
        assert!(found, "no fallback has the label {name}: {text}");
    }

    let refused = async |value: &str| {
        eventually("the key set is judged", PATIENCE, async || {
            let text = exported(&mesh.endpoints().service("auth-revocation").admin, &metrics).await;
            let line = text.lines().find(|line| line.starts_with("keyplane_revocation_key_set_refused_ratio"));
            if line.is_some_and(|line| line.ends_with(value)) { Ok(()) } else { Err(format!("{line:?}")) }
        })
        .await;
    };
    refused(" 0").await;
    let keys = std::fs::read(mesh.issuer().keys()).unwrap();
    std::fs::write(mesh.issuer().keys(), "no key set").unwrap();
    refused(" 1").await;
    std::fs::write(mesh.issuer().keys(), keys).unwrap();
    refused(" 0").await;

    // While the store was unavailable, the instance held the gateway's limits (their outage policy).
    let limits = mesh.endpoints().service("rate-limiting");
    let channel = Endpoint::from_shared(format!("http://{}", limits.grpc)).unwrap().connect_lazy();
    let entry = Entry { key: "unheard-of".into(), value: "x".into() };
    let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
    let request = RateLimitRequest { domain: "keyplane".into(), descriptors: vec![descriptor], hits_addend: 0 };
    RateLimitServiceClient::new(channel).should_rate_limit(request).await.unwrap();
    let (metrics, labels) = used(RATELIMIT);
    assert!(metrics.len() >= 3 && labels.len() == 1, "unexpected rules: {metrics:?} {labels:?}");
    let text = exported(&limits.admin, &metrics).await;
    for (name, value) in &labels {
        assert!(text.contains(&format!("{name}=\"{value}\"")), "{name} is never {value}: {text}");
    }

    let schema = json!({"fields": [{"name": "name", "type": "TYPE_TEXT"}]});
    let collections = url("/v1/tenants/acme/collections");
    let post = async |path: &str, body: serde_json::Value| {
        let response = http.post(format!("{collections}{path}")).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}: {}", response.text().await.unwrap());
    };
    post("?collectionId=notes", schema).await;
    let documents = json!({"documents": [{"documentId": "a", "fields": {"name": "a note"}}]});
    post("/notes/documents:batchUpsert", documents).await;
    post("/notes/documents:search", json!({"query": "note"})).await;
    let (metrics, labels) = used(SEARCH);
    assert!(metrics.len() >= 3 && labels.is_empty(), "unexpected rules: {metrics:?} {labels:?}");
    exported(&mesh.endpoints().service("search").admin, &metrics).await;
    mesh.stop().await.unwrap();
}
