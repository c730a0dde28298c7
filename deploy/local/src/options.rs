use std::ffi::OsString;
use std::path::{Path, PathBuf};

use keyplane_server::ServiceInfo;

/// Options of a mesh. Port 0 takes any free port.
#[derive(Clone, Debug)]
pub struct Options {
    /// Start the gateway.
    pub gateway: bool,
    /// Port of the gateway.
    pub gateway_port: u16,
    /// gRPC ports of services by name, in place of their defaults. The admin port is 1000 above; for 0, any free port.
    pub service_ports: Vec<(String, u16)>,
    /// Any free ports, in place of the defaults.
    pub free_service_ports: bool,
    /// Port of the started Valkey.
    pub valkey_port: u16,
    /// URL of a Valkey to use instead of starting one, e.g. `valkey://127.0.0.1:6379`.
    pub valkey_url: Option<String>,
    /// Folder for logs and generated files, made if it is missing.
    pub folder: PathBuf,
    /// Path of the program `keyplane-up`, which also runs as each service (`KEYPLANE_LOCAL_SERVICE`).
    pub program: PathBuf,
    /// Collector for traces and metrics, e.g. `http://127.0.0.1:4317`.
    pub otlp_endpoint: Option<String>,
    /// Regular expression (RE2) for a whole origin from which browsers may call.
    pub cors_origins: String,
    /// Further settings, of every service (e.g. `KEYPLANE_LOG`) or of one (e.g. `KEYPLANE_SESSION_IDLE_TIMEOUT`).
    pub settings: Vec<(String, String)>,
}

// === impl Options ===

impl Options {
    /// Origins of development servers on this machine.
    pub const LOCAL_ORIGINS: &str = r"https?://(localhost|127\.0\.0\.1)(:[0-9]+)?";

    /// Folder of `cargo up`: `.run` in the workspace that built this program.
    #[must_use]
    pub(crate) fn default_folder() -> PathBuf {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or_else(|| Path::new("."));
        workspace.join(".run")
    }

    /// Whole mesh on free ports, for tests. `program` is the built `keyplane-up`.
    #[must_use]
    pub fn on_free_ports(program: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Options {
        Options {
            gateway: true,
            gateway_port: 0,
            service_ports: Vec::new(),
            free_service_ports: true,
            valkey_port: 0,
            valkey_url: None,
            folder: folder.into(),
            program: program.into(),
            otlp_endpoint: None,
            cors_origins: Options::LOCAL_ORIGINS.to_owned(),
            settings: Vec::new(),
        }
    }

    /// Value of a service's setting: the last in `settings`, else the environment's. An empty value means unset.
    pub(crate) fn setting(&self, name: &str) -> Option<OsString> {
        let given = self.settings.iter().rev().find(|(given, _)| given == name);
        let value = given.map(|(_, value)| OsString::from(value)).or_else(|| std::env::var_os(name));
        value.filter(|value| !value.is_empty())
    }

    /// gRPC port of `service`; the last entry counts.
    pub(crate) fn service_port(&self, service: &ServiceInfo) -> u16 {
        let given = self.service_ports.iter().rev().find(|(name, _)| name == service.name);
        let default = if self.free_service_ports { 0 } else { service.default_port };
        given.map_or(default, |(_, port)| *port)
    }
}
