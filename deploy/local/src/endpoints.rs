//! Addresses of the mesh.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use keyplane_engine::Process;
use keyplane_server::ServiceInfo;
use serde::Serialize;
use url::Url;

use crate::{Error, Options, ports};

/// Addresses of all parts, on loopback.
#[derive(Clone, Debug, Serialize)]
pub struct Endpoints {
    /// Base URL of the gateway, e.g. `http://127.0.0.1:8080`.
    pub gateway: Option<String>,
    /// URL of the OpenAPI document.
    pub openapi: Option<String>,
    /// Addresses of the services, by name.
    pub services: BTreeMap<&'static str, ServiceEndpoints>,
    /// Services that answer no call, since the engine lacks their commands, and what mends it.
    pub unavailable: BTreeMap<&'static str, String>,
    /// URL of the store: as an administrator of the started one, or as given, without its password.
    pub valkey: String,
    /// Folder of logs and generated files.
    pub folder: String,
    /// File with the rate limit policies; reloaded when it changes.
    pub policies: String,
    /// Name of an example session, which lives for 30 minutes after its last use.
    pub example: Option<String>,
    /// Token of that session's user; it ends with the mesh, or after 12 hours.
    pub token: String,
}

/// Addresses of a service.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceEndpoints {
    /// Host and port for gRPC.
    pub grpc: String,
    /// Base URL of `/livez`, `/readyz`, `/metrics` and `/config`.
    pub admin: String,
    /// Process id.
    pub pid: u32,
}

/// Addresses that a service will listen on.
pub(crate) struct Addresses {
    pub(crate) info: &'static ServiceInfo,
    pub(crate) grpc: SocketAddr,
    pub(crate) admin: SocketAddr,
}

// === impl Endpoints ===

impl Endpoints {
    /// Addresses of a service.
    ///
    /// # Panics
    ///
    /// Unknown `name`.
    #[must_use]
    pub fn service(&self, name: &str) -> &ServiceEndpoints {
        self.services.get(name).unwrap_or_else(|| panic!("the mesh has no service {name}"))
    }
}

// === impl Addresses ===

impl Addresses {
    pub(crate) fn claim(options: &Options, info: &'static ServiceInfo) -> Result<Addresses, Error> {
        let flag = format!("--service-port {}=PORT", info.name);
        let port = options.service_port(info);
        let grpc = ports::claim(&title(info), port, &flag)?;
        let admin = match port {
            0 => ports::claim(&title(info), 0, &flag)?,
            port => ports::claim(&format!("the admin interface of {}", title(info)), port.saturating_add(1000), &flag)?,
        };
        let [grpc, admin] = [grpc, admin].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Ok(Addresses { info, grpc, admin })
    }

    pub(crate) fn endpoints(&self, process: &Process) -> (&'static str, ServiceEndpoints) {
        let (grpc, admin) = (self.grpc.to_string(), format!("http://{}", self.admin));
        (self.info.name, ServiceEndpoints { grpc, admin, pid: process.pid() })
    }
}

/// Name of a service in messages.
pub(crate) fn title(info: &ServiceInfo) -> String {
    format!("the {} service", info.name)
}

/// URL for printing: its password is masked.
pub(crate) fn without_password(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return String::new() };
    if url.password().is_some() && url.set_password(Some("****")).is_err() {
        return String::new();
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn password_is_masked() {
        assert_eq!(without_password("valkey://me:secret@h:6379"), "valkey://me:****@h:6379");
        assert_eq!(without_password("valkey://h:6379"), "valkey://h:6379");
        assert_eq!(without_password("secret"), "");
    }
}
