//! The alerts of `deploy/prometheus` name metrics that the service exports.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use keyplane_local::{Issuer, Mesh, Options};
use keyplane_testkit::eventually;
use regex::Regex;
use serde_json::json;

const RULES: &str = include_str!("../../prometheus/revocation.rules.yaml");
const PATIENCE: Duration = Duration::from_secs(30);

/// Names of metrics, and of labels with their values, that expressions use.
fn used() -> (BTreeSet<String>, BTreeSet<(String, String)>) {
    let metric = Regex::new(r"keyplane_revocation_[a-z_]+").unwrap();
    let label = Regex::new(r#"(keyplane_revocation_[a-z_]+)=~?"([a-z_|]+)""#).unwrap();
    let is_expression = |line: &&str| line.contains("keyplane_revocation_");
    let (mut metrics, mut labels) = (BTreeSet::new(), BTreeSet::new());
    for line in RULES.lines().filter(is_expression) {
        for found in label.captures_iter(line) {
            labels.extend(found[2].split('|').map(|value| (found[1].to_owned(), value.to_owned())));
        }
        metrics.extend(metric.find_iter(&label.replace_all(line, "")).map(|found| found.as_str().to_owned()));
    }
    (metrics, labels)
}

#[tokio::test]
async fn every_metric_of_the_alerts_is_exported() {
    let (metrics, labels) = used();
    assert!(metrics.len() >= 5 && labels.len() >= 3, "what do the rules look like? {metrics:?} {labels:?}");

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

    // What the alerts are about: the store is away, and comes back without what it had.
    mesh.valkey().unwrap().kill().unwrap();
    eventually("nobody can tell", PATIENCE, async || status().await == 503).await;
    mesh.valkey().unwrap().restart().unwrap();
    eventually("all is well again", PATIENCE, async || status().await == 200).await;

    let admin = format!("{}/metrics", mesh.endpoints().service("auth-revocation").admin);
    eventually("all of it is exported", PATIENCE, async || {
        let text = reqwest::get(&admin).await.unwrap().text().await.unwrap();
        let missing: Vec<_> = metrics
            .iter()
            .filter(|name| {
                !text
                    .lines()
                    .any(|line| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} ")))
            })
            .collect();
        let ours: Vec<_> = text.lines().filter(|line| line.contains("keyplane_revocation")).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} are not among:\n{}", ours.join("\n"))) }
    })
    .await;
    let text = reqwest::get(&admin).await.unwrap().text().await.unwrap();
    for name in labels.iter().map(|(name, _)| name).collect::<BTreeSet<_>>() {
        let found =
            text.lines().any(|line| line.starts_with("keyplane_revocation_fallbacks_total{") && line.contains(name));
        assert!(found, "no fallback has the label {name}: {text}");
    }
    mesh.stop().await.unwrap();
}
