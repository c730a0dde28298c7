//! Real `keyplane-gateway` program, with a real Envoy.

use std::path::Path;
use std::time::Duration;

use keyplane_engine::{Process, Signal, Spec, free_port};
use keyplane_testkit::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

/// Configuration of an Envoy that answers `/healthz` at once and everything else after two seconds. It has the guard's
/// cluster.
fn configuration(port: u16) -> String {
    format!(
        r#"
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
    - name: gateway
      address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: gateway
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes: [{{match: {{prefix: /}}, direct_response: {{status: 200, body: {{inline_string: done}}}}}}]
                http_filters:
                  - name: envoy.filters.http.health_check
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck
                      pass_through_mode: false
                      headers: [{{name: ":path", string_match: {{exact: /healthz}}}}]
                  - name: envoy.filters.http.fault
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
                      delay: {{fixed_delay: 2s, percentage: {{numerator: 100}}}}
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
    - name: guard
      type: STATIC
      load_assignment:
        cluster_name: guard
        endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{pipe: {{path: "${{GUARD_SOCKET}}"}}}}}}}}]}}]
"#
    )
}

fn start(config: &Path) -> Process {
    let spec = Spec::new(env!("CARGO_BIN_EXE_keyplane-gateway"));
    Process::spawn(with_settings(spec, config)).unwrap()
}

fn with_settings(spec: Spec, config: &Path) -> Spec {
    spec.env("KEYPLANE_GATEWAY_CONFIG", config)
        .env("KEYPLANE_GATEWAY_DRAIN_DELAY", "1s")
        .env("KEYPLANE_GATEWAY_DRAIN_TIMEOUT", "20s")
}

/// Names of the processes that descend from `ancestor`.
fn descendants(ancestor: u32) -> Vec<String> {
    let stats = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = stats.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let parse = |stat: String| {
        let (pid, rest) = stat.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let parent: u32 = rest.split_whitespace().nth(1)?.parse().ok()?;
        Some((pid.parse::<u32>().ok()?, name.to_owned(), parent))
    };
    let all: Vec<_> = stats.filter_map(parse).collect();
    let (mut ids, mut names) = (vec![ancestor], Vec::new());
    while let Some(id) = ids.pop() {
        let children = all.iter().filter(|(_, _, parent)| *parent == id);
        children.for_each(|(child, name, _)| (ids.push(*child), names.push(name.clone())).0);
    }
    names
}

#[tokio::test]
async fn drain_waits_for_requests_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gateway.yaml");
    let port = free_port().unwrap();
    std::fs::write(&config, configuration(port)).unwrap();
    let gateway = start(&config);
    let url = format!("http://127.0.0.1:{port}");
    let health = async || reqwest::get(format!("{url}/healthz")).await.map(|response| response.status().as_u16());
    eventually("the gateway is ready", PATIENCE, async || match health().await {
        Ok(200) => Ok(()),
        other => Err(format!("{other:?}: {}", gateway.log())),
    })
    .await;

    let slow = tokio::spawn(reqwest::get(format!("{url}/slow")));
    // The slow request is in flight once a later one is answered.
    health().await.unwrap();
    gateway.signal(Signal::TERM).unwrap();
    eventually("the health check fails", PATIENCE, async || match health().await {
        Ok(503) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(gateway.exit(), None, "it waits for load balancers to notice");
    let answer = slow.await.unwrap().expect("an answer").text().await.unwrap();
    assert_eq!(answer, "done");
    let exit = tokio::time::timeout(PATIENCE, gateway.ended()).await.expect("an end");
    assert_eq!(exit.code(), Some(0), "{}", gateway.log());
    health().await.unwrap_err();
}

/// Runs the gateway in a PID namespace, as a container does; skipped where the kernel allows none.
#[tokio::test]
async fn pid_1_starts_no_shell() {
    let options = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--"];
    let unshare = || Spec::new("unshare").args(options);
    let allowed = Process::spawn(unshare().arg("true")).unwrap().ended().await;
    if !allowed.success() {
        eprintln!("skipped: no user namespaces ({allowed})");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gateway.yaml");
    let port = free_port().unwrap();
    std::fs::write(&config, configuration(port)).unwrap();
    let spec = unshare().arg(env!("CARGO_BIN_EXE_keyplane-gateway")).env("TMPDIR", folder.path());
    let gateway = Process::spawn(with_settings(spec, &config)).unwrap();
    eventually("the gateway is ready", PATIENCE, async || {
        let health = reqwest::get(format!("http://127.0.0.1:{port}/healthz")).await;
        health.map_or_else(|error| Err(format!("{error}: {}", gateway.log())), |_| Ok(()))
    })
    .await;
    let names = descendants(gateway.pid());
    assert_eq!(names.len(), 3, "the gateway, its guard and Envoy: {names:?}");
    assert!(names.iter().any(|name| name == "envoy") && names.iter().all(|name| name != "sh"), "{names:?}");
}

#[tokio::test]
async fn invalid_settings_and_arguments_are_reported() {
    let ended = async |spec: Spec| {
        let gateway = Process::spawn(spec).unwrap();
        let exit = tokio::time::timeout(PATIENCE, gateway.ended()).await.expect("an end");
        (exit.code(), gateway.log())
    };
    let program = || Spec::new(env!("CARGO_BIN_EXE_keyplane-gateway"));
    let (code, log) = ended(program().env("KEYPLANE_GATEWAY_DRAIN_DELAY", "5")).await;
    assert!(code == Some(64) && log.contains("KEYPLANE_GATEWAY_DRAIN_DELAY"), "{code:?} {log}");
    let (code, log) = ended(program().arg("--no")).await;
    assert!(code == Some(64) && log.contains("--print-config"), "{code:?} {log}");
    let (code, log) = ended(program().env("KEYPLANE_GATEWAY_CONFIG", "/nowhere.yaml")).await;
    assert!(code == Some(1) && log.contains("/nowhere.yaml"), "{code:?} {log}");
}
