//! Outage of one of three instances of each service, cut off from the store behind the shipped gateway: few calls fail.
//! When all are cut off, the gateway answers 503.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keyplane_engine::{Envoy, Process, Spec, Toolbox, free_port};
use keyplane_gateway::InProcessGuard;
use keyplane_local::{Gateway, Mesh, Options};
use keyplane_testkit::{Fault, FaultProxy, eventually};
use reqwest::Client;
use serde_json::{Value, json};
use support::{http, reason, token};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const PATIENCE: Duration = Duration::from_secs(60);
const SERVICES: [&str; 3] = ["session", "auth-revocation", "rate-limiting"];
/// Number of concurrent callers.
const CALLERS: usize = 6;
/// Number of requests, of which at most one in a thousand may fail.
const REQUESTS: usize = 1000;

/// Maximum number of attempts.
const ROUNDS: usize = 3;
/// Time to notice the outage: one second, and one more for a machine that is busy with other tests.
const NOTICED: Duration = Duration::from_secs(2);

/// Request that only the store can answer.
const POLICIES: &str = "policies:
  - {id: everyone, domain: keyplane, entries: [tenant], limit: {amount: 1000000, per: 1s}, outage: closed}
";

/// Settings of every instance, except its address and its store.
const SETTINGS: [(&str, &str); 4] = [
    // Debug builds on a busy machine are late; the gateway waits longer than this.
    ("KEYPLANE_RATELIMIT_ENVOY_DEADLINE", "400ms"),
    ("KEYPLANE_REVOCATION_MAX_STALENESS", "500ms"),
    ("KEYPLANE_REVOCATION_STORE_TIMEOUT", "1500ms"),
    ("KEYPLANE_REVOCATION_PARTITIONS", "1"),
];

/// Mesh without a gateway, two more instances of each of its services, and a gateway in front of all.
struct Triple {
    mesh: Mesh,
    proxy: FaultProxy,
    more: Vec<Process>,
    addresses: Vec<(&'static str, SocketAddr)>,
    envoy: Envoy,
    _guard: InProcessGuard,
    url: String,
    client: Client,
}

// === impl Triple ===

impl Triple {
    async fn start(folder: PathBuf) -> Triple {
        let mut options = support::with_policies(support::strict_options(&folder), POLICIES);
        options.gateway = false;
        options.settings.extend(SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mesh = Mesh::start(options).await.unwrap();
        let store = mesh.endpoints().valkey.clone();
        let proxy = FaultProxy::to_port(mesh.valkey().unwrap().port());
        let (mut more, mut addresses) = (Vec::new(), Vec::new());
        for service in SERVICES {
            addresses.push((service, mesh.endpoints().service(service).grpc.parse().unwrap()));
            for (instance, url) in [("second", &store), ("third", &proxy.url(&store))] {
                let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
                addresses.push((service, at));
                more.push(instance_of(service, at, url, &folder, instance));
            }
        }
        let guard = InProcessGuard::start().unwrap();
        let gateway = Gateway {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            services: addresses.clone(),
            folder,
            otlp_endpoint: None,
            cors_origins: Options::LOCAL_ORIGINS.to_owned(),
            keys: mesh.issuer().keys().to_owned(),
            guard: guard.socket(),
        };
        let envoy = Envoy::start(&Toolbox::find(), &patient(gateway.prepare().unwrap())).unwrap();
        let url = format!("http://{}", envoy.listener("gateway").unwrap());
        let client = http(&token(mesh.issuer(), "u-42"));
        let triple = Triple { mesh, proxy, more, addresses, envoy, _guard: guard, url, client };
        triple.all_answer().await;
        triple
    }

    /// Waits until every instance is `answering`, and the gateway has noticed.
    async fn all_answer(&self) {
        for (service, at) in &self.addresses {
            eventually(&format!("{service} at {at} is answering"), PATIENCE, async || answers(*at).await).await;
        }
        // Search has no instance here.
        let is_unhealthy = |line: &&str| {
            line.contains("::health_flags::") && !line.ends_with("::healthy") && !line.starts_with("search::")
        };
        eventually("the gateway has noticed", PATIENCE, async || {
            let clusters = self.envoy.admin_get("/clusters").map_err(|error| error.to_string())?;
            let unhealthy = clusters.lines().find(is_unhealthy);
            unhealthy.map_or(Ok(()), |line| Err(line.to_owned()))
        })
        .await;
    }

    async fn session(&self) -> String {
        let sessions = format!("{}/v1/tenants/acme/users/u-42/sessions", self.url);
        let made = self.client.post(sessions).json(&json!({})).send().await.unwrap();
        let made: Value = made.json().await.unwrap();
        format!("{}/v1/{}", self.url, made["name"].as_str().unwrap_or_else(|| panic!("no session: {made}")))
    }

    /// Calls until `enough` of the number of answers; returns the answers other than 200.
    async fn failures(
        &self,
        session: &str,
        enough: impl Fn(usize) -> bool + Send + Sync + 'static,
    ) -> (usize, Vec<String>) {
        let (answered, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(enough));
        let callers = (0..CALLERS).map(|_| {
            let (client, session) = (self.client.clone(), session.to_owned());
            let (answered, enough) = (answered.clone(), enough.clone());
            tokio::spawn(async move {
                let mut failures = Vec::new();
                while !enough(answered.load(Ordering::Relaxed)) {
                    let response = client.get(&session).send().await.unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                    if response.status() != 200 {
                        failures.push(response.text().await.unwrap());
                    }
                }
                failures
            })
        });
        let failures = futures::future::join_all(callers).await.into_iter().flat_map(Result::unwrap).collect();
        (answered.load(Ordering::Relaxed), failures)
    }

    fn logs(&self) -> String {
        self.more.iter().map(Process::log).collect()
    }
}

fn instance_of(service: &str, at: SocketAddr, store: &str, folder: &Path, name: &str) -> Process {
    let mut spec = Spec::new(env!("CARGO_BIN_EXE_keyplane-up"))
        .name(format!("{service} ({name})"))
        .env("KEYPLANE_LOCAL_SERVICE", service)
        .env("KEYPLANE_GRPC_ADDR", at.to_string())
        .env("KEYPLANE_ADMIN_ADDR", "127.0.0.1:0")
        .env("KEYPLANE_KV_URL", store)
        .log_to(folder.join(format!("{service}-{name}.log")));
    if service == "rate-limiting" {
        spec = spec.env("KEYPLANE_RATELIMIT_POLICIES", folder.join("policies-of-test.yaml").display().to_string());
    }
    let own = |setting: &str| match service {
        "rate-limiting" => setting.starts_with("KEYPLANE_RATELIMIT_"),
        "auth-revocation" => setting.starts_with("KEYPLANE_REVOCATION_"),
        _ => false,
    };
    for (setting, value) in SETTINGS.iter().filter(|(setting, _)| own(setting)) {
        spec = spec.env(setting, value);
    }
    Process::spawn(spec).unwrap()
}

/// Multiplies the filters' timeouts by ten, since debug builds on a busy machine answer late.
fn patient(config: String) -> String {
    let times = [("timeout: 0.4s", "timeout: 4s"), ("max_interval: 0.19s", "max_interval: 1.9s")];
    let more = [
        ("timeout: 0.5s\n                      failure", "timeout: 5s\n                      failure"),
        ("max_interval: 0.5s", "max_interval: 5s"),
    ];
    times.into_iter().chain(more).fold(config, |config, (shipped, patient)| {
        assert!(config.contains(shipped), "the gateway's configuration has no {shipped:?}");
        config.replace(shipped, patient)
    })
}

async fn answers(at: SocketAddr) -> bool {
    let Ok(channel) = Endpoint::from_shared(format!("http://{at}")).unwrap().connect().await else { return false };
    let request = HealthCheckRequest { service: "answering".to_owned() };
    let health = HealthClient::new(channel).check(request).await;
    health.is_ok_and(|health| health.into_inner().status() == ServingStatus::Serving)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_instance_cut_off_from_the_store_costs_callers_a_second() {
    let triple = Triple::start(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cut-off")).await;
    let session = triple.session().await;
    for fault in [Fault::Cut, Fault::BlackHole] {
        triple.proxy.set(fault);
        let noticed = Instant::now() + NOTICED;
        let (requests, early) = triple.failures(&session, move |_| Instant::now() > noticed).await;
        eprintln!("{fault:?}: {} of {requests} requests failed until the gateway noticed", early.len());
        // A stalled machine may also delay healthy instances. Without the mend, a third of the requests fails every
        // time.
        for round in 1..=ROUNDS {
            let (requests, failures) = triple.failures(&session, |answered| answered >= REQUESTS).await;
            let Some(first) = failures.first() else { break };
            eprintln!("{fault:?}: then {} of {requests}, e.g. {first}", failures.len());
            if failures.len() * 1000 <= requests {
                break;
            }
            assert!(round < ROUNDS, "{fault:?}: {} of {requests} requests failed\n{}", failures.len(), triple.logs());
        }
        triple.proxy.set(Fault::Pass);
        triple.all_answer().await;
    }

    // With all instances cut off, none is preferred, and the answer is an outage's.
    triple.mesh.valkey().unwrap().kill().unwrap();
    let refusal = async || {
        let response = triple.client.get(&session).send().await.unwrap();
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap();
        if status == 200 { (200, String::new()) } else { (status, reason(&body).1.to_owned()) }
    };
    let unavailable = (503, "REVOCATION_UNAVAILABLE".to_owned());
    eventually("the gateway answers 503", PATIENCE, async || {
        let found = refusal().await;
        if found == unavailable { Ok(()) } else { Err(found) }
    })
    .await;
    for _ in 0..20 {
        assert_eq!(refusal().await, unavailable);
    }
    triple.mesh.valkey().unwrap().restart().unwrap();
    triple.all_answer().await;
    triple.mesh.stop().await.unwrap();
}
