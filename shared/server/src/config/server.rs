//! Settings that every service has.

use std::net::SocketAddr;
use std::time::Duration;

use keyplane_valkey::App;

use super::env::Env;
use super::parse;
use super::problem::ConfigErrors;
use super::table::Table;
use crate::ServiceInfo;

/// Settings that every service has. [`ServerConfig::read`] documents each.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Address of gRPC.
    pub grpc_addr: SocketAddr,
    /// Address of `/livez`, `/readyz`, `/metrics` and `/config`, over plain HTTP.
    pub admin_addr: SocketAddr,
    /// Address of `grpc.health.v1` alone, in plaintext, for kubelets.
    pub health_addr: Option<SocketAddr>,
    /// First segment of every key.
    pub app: App,
    /// Settings of the store for everything but search.
    pub store: keyplane_valkey::Settings,
    /// Times of the drain.
    pub drain: DrainTimes,
    /// Bounds on calls and connections.
    pub limits: Limits,
    /// Deadlines of unary calls.
    pub deadlines: Deadlines,
    /// Logs, traces and metrics.
    pub telemetry: keyplane_telemetry::Settings,
    /// Content of `/config`: every setting of the process. `main` fills it in.
    pub settings: Table,
    /// Source of `/metrics`. `main` fills it in with the registry that telemetry records to.
    pub registry: prometheus::Registry,
}

/// Times of the drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainTimes {
    /// Time from NOT_SERVING to the first GOAWAY, in which load balancers take this process out.
    pub delay: Duration,
    /// Time from the first GOAWAY to closing the rest by force.
    pub timeout: Duration,
}

/// Bounds on calls and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum of calls whose handlers run at a time; further calls are shed.
    pub max_in_flight: usize,
    /// Maximum of concurrent streams of one connection.
    pub max_streams: u32,
    /// Largest request message, in bytes. Services apply it: see [`Context::max_message`](crate::Context).
    pub max_message: usize,
    /// Age at which a connection gets GOAWAY, already spread by up to a tenth either way; zero for never.
    pub max_connection_age: Duration,
}

/// Deadlines of unary calls. A stream has one only when its caller sends one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Deadline of a call without `grpc-timeout`.
    pub default: Duration,
    /// Longest deadline that a caller can set.
    pub max: Duration,
}

/// Reads a service's settings from `env`: those of every service, then its own.
///
/// # Errors
///
/// Lists every wrong setting and every `KEYPLANE_` variable that nothing read, all at once.
pub fn read<C>(
    mut env: Env,
    info: &ServiceInfo,
    own: impl FnOnce(&mut Env) -> C,
) -> Result<(ServerConfig, C), ConfigErrors> {
    let mut server = ServerConfig::read(&mut env, info);
    let config = own(&mut env);
    server.settings = env.finish()?;
    Ok((server, config))
}

// === impl ServerConfig ===

impl ServerConfig {
    /// Reads the settings that every service has. Problems stay in `env`.
    pub fn read(env: &mut Env, service: &ServiceInfo) -> Self {
        let port = service.default_port;
        Self {
            grpc_addr: env.address(
                "KEYPLANE_GRPC_ADDR",
                &format!("127.0.0.1:{port}"),
                "address and port of gRPC; in a container `0.0.0.0:<port>`; port 0 takes a free one",
            ),
            admin_addr: env.address(
                "KEYPLANE_ADMIN_ADDR",
                &format!("127.0.0.1:{}", port.saturating_add(1000)),
                "address and port of `/livez`, `/readyz`, `/metrics` and `/config`; keep it inside the cluster",
            ),
            health_addr: env.optional(
                "KEYPLANE_HEALTH_ADDR",
                "address and port of `grpc.health.v1` alone, in plaintext, for a kubelet's probe; unset: none",
                parse::address,
            ),
            app: read_app(env),
            store: read_store(env),
            drain: DrainTimes {
                delay: env.duration(
                    "KEYPLANE_DRAIN_DELAY",
                    "3s",
                    "time from NOT_SERVING to GOAWAY at shutdown, in which endpoints propagate",
                ),
                timeout: env.duration(
                    "KEYPLANE_DRAIN_TIMEOUT",
                    "20s",
                    "time from GOAWAY to closing by force; delay, timeout and 5s of flush must fit into the pod's grace period",
                ),
            },
            limits: read_limits(env),
            deadlines: read_deadlines(env),
            telemetry: read_telemetry(env, service),
            settings: Table::default(),
            registry: prometheus::Registry::new(),
        }
    }
}

fn read_app(env: &mut Env) -> App {
    const NAME: &str = "KEYPLANE_APP";
    let doc = "first segment of every key; programs that share a store and data share it";
    let parsed = env.parsed(NAME, "portal", doc, |text| App::new(text).map_err(|error| error.to_string()));
    parsed.unwrap_or_else(|| App::new("portal").expect("the default is a valid app"))
}

fn read_store(env: &mut Env) -> keyplane_valkey::Settings {
    let url = env.url(
        "KEYPLANE_KV_URL",
        "valkey://127.0.0.1:6379",
        "the store: `valkey://`, `valkeys://` (TLS), `valkey-cluster://`, `valkeys-cluster://`",
    );
    let mut store = keyplane_valkey::Settings::new(url);
    if let Err(error) = store.check() {
        env.require("KEYPLANE_KV_URL", false, error.problem());
    }
    store.connections = env
        .optional("KEYPLANE_KV_CONNECTIONS", "connections to the store, 1 to 64; unset: one a core", parse::number)
        .unwrap_or(store.connections);
    env.require("KEYPLANE_KV_CONNECTIONS", (1..=64).contains(&store.connections), "must be from 1 to 64");
    store.connect_timeout =
        positive(env, "KEYPLANE_KV_CONNECT_TIMEOUT", "1s", "longest wait for a connection, its TLS and its login");
    store.command_timeout = positive(env, "KEYPLANE_KV_COMMAND_TIMEOUT", "1s", "longest wait for a command's reply");
    store.queue_limit = env.number(
        "KEYPLANE_KV_QUEUE_LIMIT",
        store.queue_limit,
        "maximum of commands that wait for one connection; further calls fail with OVERLOADED",
    );
    env.require("KEYPLANE_KV_QUEUE_LIMIT", store.queue_limit > 0, "must be at least 1");
    store
}

fn read_limits(env: &mut Env) -> Limits {
    let limits = Limits {
        max_in_flight: env.number_within(
            "KEYPLANE_MAX_IN_FLIGHT",
            1024,
            1..=1_000_000,
            "maximum of calls handled at a time; further calls get UNAVAILABLE with reason OVERLOADED; health is exempt",
        ),
        max_streams: env.number("KEYPLANE_GRPC_MAX_STREAMS", 1024, "maximum of concurrent streams of one connection"),
        max_message: env.bytes("KEYPLANE_GRPC_MAX_MESSAGE", "4MiB", "largest request message"),
        max_connection_age: spread(env.duration(
            "KEYPLANE_GRPC_MAX_CONNECTION_AGE",
            "10m",
            "age at which a connection gets GOAWAY, so that clients see new pods; spread by a tenth; `0s`: never",
        )),
    };
    env.require("KEYPLANE_GRPC_MAX_STREAMS", limits.max_streams > 0, "must be at least 1");
    env.require("KEYPLANE_GRPC_MAX_MESSAGE", limits.max_message >= 1024, "must be at least 1KiB");
    limits
}

fn read_deadlines(env: &mut Env) -> Deadlines {
    let deadlines = Deadlines {
        default: positive(
            env,
            "KEYPLANE_DEFAULT_DEADLINE",
            "2s",
            "deadline of a unary call that sends no grpc-timeout",
        ),
        max: positive(env, "KEYPLANE_MAX_DEADLINE", "30s", "longest deadline that a unary call can set"),
    };
    env.require(
        "KEYPLANE_MAX_DEADLINE",
        deadlines.max >= deadlines.default,
        "must not be shorter than KEYPLANE_DEFAULT_DEADLINE",
    );
    deadlines
}

fn read_telemetry(env: &mut Env, service: &ServiceInfo) -> keyplane_telemetry::Settings {
    keyplane_telemetry::Settings {
        service: service.name,
        version: service.version,
        instance: env
            .optional("KEYPLANE_INSTANCE", "unique name of this process, such as the pod's; unset: generated", |text| {
                Ok(text.to_owned())
            })
            .unwrap_or_else(|| format!("{}-{:016x}", service.name, getrandom::u64().unwrap_or_default())),
        otlp_endpoint: env
            .optional_url("KEYPLANE_OTLP_ENDPOINT", "OTLP gRPC collector, `http://host:4317`; unset: no push"),
        log_filter: env
            .parsed("KEYPLANE_LOG", "info", "log filter: `info`, `info,keyplane_valkey=debug`", parse::log_filter)
            .unwrap_or_default(),
        quiet: keyplane_valkey::QUIET_LOGS,
        log_json: env.flag("KEYPLANE_LOG_JSON", false, "JSON lines instead of text, both on stderr"),
        sample_ratio: env.number_within(
            "KEYPLANE_TRACE_SAMPLE_RATIO",
            0.01,
            0.0..=1.0,
            "share of new traces that are kept; a caller's decision wins",
        ),
        metrics_interval: positive(env, "KEYPLANE_METRICS_INTERVAL", "30s", "interval of OTLP pushes of metrics"),
        resource: env
            .optional(
                "OTEL_RESOURCE_ATTRIBUTES",
                "further attributes of the process: `key=value,key2=value2`",
                parse::pairs,
            )
            .unwrap_or_default(),
    }
}

fn positive(env: &mut Env, name: &'static str, default: &str, doc: &'static str) -> Duration {
    let value = env.duration(name, default, doc);
    env.require(name, !value.is_zero(), "must be longer than zero");
    value
}

/// Spreads `age` by 0.9 to 1.1, else all connections of pods that started together would move at once.
fn spread(age: Duration) -> Duration {
    let unit = (getrandom::u64().unwrap_or_default() >> 11) as f64 / (1u64 << 53) as f64;
    age.mul_f64(0.9 + 0.2 * unit)
}
