//! Where the parts of the mesh listen.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use keyplane_engine::Process;
use keyplane_server::ServiceInfo;
use serde::Serialize;
use url::Url;

use crate::{Error, Options, ports};

/// Where everything listens. All on loopback.
#[derive(Clone, Debug, Serialize)]
pub struct Endpoints {
    /// Base URL of the gateway, e.g. `http://127.0.0.1:8080`.
    pub gateway: Option<String>,
    /// The OpenAPI document.
    pub openapi: Option<String>,
    /// Each service, by name.
    pub services: BTreeMap<&'static str, ServiceEndpoints>,
    /// The store, as a user who may do everything, or as it was given, without its password.
    pub valkey: String,
    /// Where logs and generated files are.
    pub folder: String,
    /// The file with the limits; read anew when it changes.
    pub policies: String,
    /// Name of a session to try things out with; it lives for 30 minutes after its last use.
    pub example: Option<String>,
    /// A token of that session's user, to try things out with. It ends with the mesh, or after 12 hours.
    pub token: String,
}

/// Where a service listens.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceEndpoints {
    /// Host and port of gRPC.
    pub grpc: String,
    /// Base URL of `/livez`, `/readyz`, `/metrics` and `/config`.
    pub admin: String,
    /// Process id.
    pub pid: u32,
}

/// Where a service is to listen.
pub(crate) struct Addresses {
    pub(crate) info: &'static ServiceInfo,
    pub(crate) grpc: SocketAddr,
    pub(crate) admin: SocketAddr,
}

// === impl Endpoints ===

impl Endpoints {
    /// Where a service is.
    ///
    /// # Panics
    ///
    /// If the mesh has no service of that name.
    #[must_use]
    pub fn service(&self, name: &str) -> &ServiceEndpoints {
        self.services.get(name).unwrap_or_else(|| panic!("there is no service {name}"))
    }
}

// === impl Addresses ===

impl Addresses {
    pub(crate) fn claim(options: &Options, info: &'static ServiceInfo) -> Result<Addresses, Error> {
        let flag = format!("--service-port {}=PORT", info.name);
        let asked = options.service_port(info);
        let grpc = ports::claim(&title(info), asked, &flag)?;
        let admin = match asked {
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

/// What people call a service.
pub(crate) fn title(info: &ServiceInfo) -> String {
    format!("the {} service", info.name)
}

/// It is printed, and kept in a file.
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
    fn passwords_are_not_shown() {
        assert_eq!(without_password("valkey://me:secret@h:6379"), "valkey://me:****@h:6379");
        assert_eq!(without_password("valkey://h:6379"), "valkey://h:6379");
        assert_eq!(without_password("secret"), "");
    }
}
