//! Server of its own for each test, on free ports; telemetry once for the test binary.

use std::sync::LazyLock;
use std::time::Duration;

use keyplane_server::config::{self, Env};
use keyplane_server::{Readiness, Running, start};
use keyplane_valkey::Valkey;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};

use crate::echo::{Echo, INFO};

/// Address where nothing listens: a bound port that is released.
pub(crate) fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("valkey://{}", listener.local_addr().unwrap())
}

/// Telemetry of this test binary. Its exporter lives on a runtime that outlives every test.
pub(crate) struct Telemetry {
    pub(crate) registry: prometheus::Registry,
    pub(crate) collector: keyplane_testkit::Collector,
    _runtime: Runtime,
}

pub(crate) fn telemetry() -> &'static Telemetry {
    static TELEMETRY: LazyLock<Telemetry> = LazyLock::new(|| {
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let collector = keyplane_testkit::Collector::start();
            let settings = keyplane_telemetry::Settings {
                otlp_endpoint: Some(collector.endpoint()),
                log_filter: "error".to_owned(),
                ..keyplane_telemetry::Settings::new("echo")
            };
            let telemetry = runtime.block_on(async { keyplane_telemetry::init(&settings).unwrap() });
            Telemetry { registry: telemetry.registry(), collector, _runtime: runtime }
        })
        .join()
        .unwrap()
    });
    &TELEMETRY
}

pub(crate) struct Server {
    pub(crate) running: Running,
    pub(crate) channel: Channel,
}

/// Starts `test.Echo` with `settings` on top of the test's own; waits until it is ready, without a store.
pub(crate) async fn server(settings: &[(&str, &str)]) -> Server {
    let (_, ready) = watch::channel(true);
    let readiness = Readiness::follows_store(async || Ok(())).own(ready, "nothing");
    let server = server_with(&nowhere(), settings, readiness).await;
    until("the process is ready", async || server.page("/readyz").await.0 == 200).await;
    server
}

/// Starts a server that is ready while its store answers a ping.
pub(crate) async fn server_following(store: &str, settings: &[(&str, &str)]) -> Server {
    let ping = |store: &Valkey| {
        let store = store.clone();
        Readiness::follows_store(move || {
            let store = store.clone();
            async move { store.ping().await }
        })
    };
    start_server(store, settings, ping).await
}

pub(crate) async fn server_with(store: &str, settings: &[(&str, &str)], readiness: Readiness) -> Server {
    start_server(store, settings, |_| readiness).await
}

async fn start_server(store: &str, settings: &[(&str, &str)], readiness: impl FnOnce(&Valkey) -> Readiness) -> Server {
    let telemetry = telemetry();
    let base = [
        ("KEYPLANE_GRPC_ADDR", "127.0.0.1:0"),
        ("KEYPLANE_ADMIN_ADDR", "127.0.0.1:0"),
        ("KEYPLANE_HEALTH_ADDR", "127.0.0.1:0"),
        ("KEYPLANE_DRAIN_DELAY", "0s"),
        ("KEYPLANE_DRAIN_TIMEOUT", "10s"),
        ("KEYPLANE_KV_CONNECTIONS", "1"),
        ("KEYPLANE_KV_URL", store),
    ];
    let env = Env::from_map(base.into_iter().chain(settings.iter().copied()));
    let (mut config, ()) = config::read(env, &INFO, |_| ()).unwrap();
    config.registry = telemetry.registry.clone();

    let store = Valkey::connect(&config.store, config.app.clone()).unwrap();
    let readiness = readiness(&store);
    let running = start(&INFO, config, store.clone(), readiness, |context| {
        Routes::new(Echo { drain: context.drain.clone(), store, max_message: context.max_message })
    })
    .await
    .unwrap();
    let channel = connect(&running).await;
    Server { running, channel }
}

pub(crate) async fn connect(running: &Running) -> Channel {
    Endpoint::from_shared(format!("http://{}", running.grpc_addr())).unwrap().connect().await.unwrap()
}

impl Server {
    /// Status and body of a page of the admin port.
    pub(crate) async fn page(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("http://{}{path}", self.running.admin_addr())).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

/// Number of calls in the duration histogram with these labels.
pub(crate) fn calls(method: &str, status: &str) -> u64 {
    let families = telemetry().registry.gather();
    families
        .iter()
        .filter(|family| family.name() == "rpc_server_call_duration_seconds")
        .flat_map(|family| family.get_metric())
        .filter(|metric| {
            let has = |name: &str, value: &str| {
                metric.get_label().iter().any(|label| label.name() == name && label.value() == value)
            };
            has("rpc_method", method) && has("rpc_status_code", status)
        })
        .map(|metric| metric.get_histogram().get_sample_count())
        .sum()
}

/// Waits until `condition` holds, at most ten seconds.
pub(crate) async fn until(what: &str, condition: impl AsyncFnMut() -> bool) {
    keyplane_testkit::eventually(what, Duration::from_secs(10), condition).await;
}
