//! Settings of `keyplane-gateway`.

use std::path::PathBuf;
use std::time::Duration;

use keyplane_server::config::Env;

/// Settings of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Envoy's configuration file, in which `${GUARD_SOCKET}` stands for the guard's socket.
    pub configuration: PathBuf,
    /// Time for load balancers to notice a drain while connections are still accepted.
    pub drain_delay: Duration,
    /// Longest wait for requests in flight.
    pub drain_timeout: Duration,
}

// === impl Config ===

impl Config {
    /// Reads all settings, and notes invalid ones in `env`.
    pub fn read(env: &mut Env) -> Config {
        let configuration = env.text(
            "KEYPLANE_GATEWAY_CONFIG",
            "/etc/keyplane/gateway.yaml",
            "Envoy's configuration: `deploy/envoy/gateway.yaml`, filled in except for `${GUARD_SOCKET}`",
        );
        Config {
            configuration: configuration.into(),
            drain_delay: env.duration(
                "KEYPLANE_GATEWAY_DRAIN_DELAY",
                "5s",
                "time after SIGTERM in which `/healthz` answers 503 and connections are still accepted",
            ),
            drain_timeout: env.duration(
                "KEYPLANE_GATEWAY_DRAIN_TIMEOUT",
                "20s",
                "longest wait for requests in flight after that",
            ),
        }
    }
}
