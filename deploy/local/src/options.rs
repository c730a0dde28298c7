use std::ffi::OsString;
use std::path::{Path, PathBuf};

use keyplane_server::ServiceInfo;

use crate::services::SERVICES;

/// What to start, and where. Every port may be 0: then any that is free.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether the gateway is started.
    pub gateway: bool,
    /// Port of the gateway.
    pub gateway_port: u16,
    /// gRPC ports of services by name, where they are not to have their own. A service's admin port is 1000 above, or
    /// any if this is 0.
    pub service_ports: Vec<(String, u16)>,
    /// Port of the Valkey that is started.
    pub valkey_port: u16,
    /// A Valkey to use in place of one that is started, e.g. `valkey://127.0.0.1:6379`.
    pub valkey_url: Option<String>,
    /// Where logs and generated files go. Made if need be.
    pub folder: PathBuf,
    /// The `keyplane-up` program, which is also each service (`KEYPLANE_LOCAL_SERVICE` says which).
    pub program: PathBuf,
    /// Collector for traces and metrics, e.g. `http://127.0.0.1:4317`.
    pub otlp_endpoint: Option<String>,
    /// Origins that browsers may call from: a regular expression (RE2) for the whole of one.
    pub cors_origins: String,
    /// Further settings: of every service, e.g. `KEYPLANE_LOG`, or of one, e.g. `KEYPLANE_SESSION_IDLE_TIMEOUT`.
    pub settings: Vec<(String, String)>,
}

// === impl Options ===

impl Options {
    /// Origins of development servers on this machine.
    pub const LOCAL_ORIGINS: &str = r"https?://(localhost|127\.0\.0\.1)(:[0-9]+)?";

    /// Where `cargo up` runs: `.run` in the workspace that this program was built in.
    #[must_use]
    pub(crate) fn default_folder() -> PathBuf {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or_else(|| Path::new("."));
        workspace.join(".run")
    }

    /// Everything, on free ports: for tests. `program` is the built `keyplane-up`.
    #[must_use]
    pub fn on_free_ports(program: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Options {
        Options {
            gateway: true,
            gateway_port: 0,
            service_ports: SERVICES.iter().map(|service| (service.info.name.to_owned(), 0)).collect(),
            valkey_port: 0,
            valkey_url: None,
            folder: folder.into(),
            program: program.into(),
            otlp_endpoint: None,
            cors_origins: Options::LOCAL_ORIGINS.to_owned(),
            settings: Vec::new(),
        }
    }

    /// What a setting of a service is: the last one that was given, else the environment's; an empty one is none.
    pub(crate) fn setting(&self, name: &str) -> Option<OsString> {
        let given = self.settings.iter().rev().find(|(given, _)| given == name);
        let value = given.map(|(_, value)| OsString::from(value)).or_else(|| std::env::var_os(name));
        value.filter(|value| !value.is_empty())
    }

    /// The port of `service`; the last one that was given counts.
    pub(crate) fn service_port(&self, service: &ServiceInfo) -> u16 {
        let given = self.service_ports.iter().rev().find(|(name, _)| name == service.name);
        given.map_or(service.default_port, |(_, port)| *port)
    }
}
