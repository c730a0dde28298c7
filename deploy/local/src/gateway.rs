//! Shipped configuration of the gateway, filled in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use keyplane_contracts::{FILE_DESCRIPTOR_SET, openapi};
use url::Url;

use crate::services::SERVICES;
use crate::{Error, Issuer};

const TEMPLATE: &str = include_str!("../../envoy/gateway.yaml");

/// Address of a service that is missing: the port `tcpmux`, where nothing listens.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Values for the shipped configuration, `deploy/envoy/gateway.yaml`.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Address for callers.
    pub listen: SocketAddr,
    /// Address of Envoy's admin interface; port 0 takes any free port.
    pub admin: SocketAddr,
    /// Addresses of the services, by name: `session` fills `${SESSION_HOST}` and `${SESSION_PORT}`. Several entries of one name
    /// are several instances; a service without an entry can't be reached.
    pub services: Vec<(&'static str, SocketAddr)>,
    /// Folder for the descriptor set, `openapi.json` and the access log.
    pub folder: PathBuf,
    /// Collector for traces, e.g. `http://127.0.0.1:4317`; `None` turns traces off.
    pub otlp_endpoint: Option<String>,
    /// Regular expression (RE2) for a whole origin from which browsers may call.
    pub cors_origins: String,
    /// File with the issuer's public keys, a JSON Web Key Set.
    pub keys: PathBuf,
    /// Socket of the guard (`keyplane_gateway`).
    pub guard: PathBuf,
}

// === impl Gateway ===

impl Gateway {
    /// Writes the files that the configuration refers to, and returns the configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when a file can't be written; [`Error::Gateway`] when the collector's endpoint has no host.
    pub fn prepare(&self) -> Result<String, Error> {
        let descriptor_set = self.folder.join("keyplane.binpb");
        let document = self.folder.join("openapi.json");
        write(&descriptor_set, FILE_DESCRIPTOR_SET)?;
        let servers = [format!("http://{}", self.listen)];
        write(&document, format!("{:#}\n", openapi::document(&servers)).as_bytes())?;

        let values = [
            ("LISTEN_ADDRESS", self.listen.ip().to_string()),
            ("LISTEN_PORT", self.listen.port().to_string()),
            ("ADMIN_ADDRESS", self.admin.ip().to_string()),
            ("ADMIN_PORT", self.admin.port().to_string()),
            ("DESCRIPTOR_SET", descriptor_set.display().to_string()),
            ("OPENAPI", document.display().to_string()),
            ("ACCESS_LOG", self.folder.join("gateway-access.log").display().to_string()),
            // Inside double quotes in the template, where a backslash starts an escape.
            ("CORS_ORIGINS", self.cors_origins.replace('\\', "\\\\").replace('"', "\\\"")),
            ("TRACE_PERCENT", "100".to_owned()),
            ("ISSUER", Issuer::NAME.to_owned()),
            ("AUDIENCE", Issuer::AUDIENCE.to_owned()),
            ("JWKS", self.keys.display().to_string()),
            ("GUARD_SOCKET", self.guard.display().to_string()),
        ];
        let mut values: Vec<(String, String)> =
            values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if let Some(endpoint) = &self.otlp_endpoint {
            let (host, port) = host_and_port(endpoint)?;
            values.push(("OTLP_HOST".to_owned(), host));
            values.push(("OTLP_PORT".to_owned(), port.to_string()));
        }
        render(&with_services(TEMPLATE, &self.all_services()), &values, self.otlp_endpoint.is_some())
    }

    /// Addresses of all services.
    fn all_services(&self) -> Vec<(&'static str, SocketAddr)> {
        let is_listed = |name: &str| self.services.iter().any(|(listed, _)| *listed == name);
        let others = SERVICES.iter().map(|service| service.info.name).filter(|name| !is_listed(name));
        self.services.iter().copied().chain(others.map(|name| (name, NOWHERE))).collect()
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    std::fs::write(path, bytes).map_err(Error::io(format!("writing {}", path.display())))
}

fn host_and_port(endpoint: &str) -> Result<(String, u16), Error> {
    let url = Url::parse(endpoint).ok();
    let host = url.as_ref().and_then(|url| Some((url.host_str()?.to_owned(), url.port().unwrap_or(4317))));
    host.ok_or_else(|| Error::Gateway(format!("{endpoint:?} is not an endpoint such as http://127.0.0.1:4317")))
}

/// Fills in the services' addresses, and repeats a line that names a service for each of its instances.
fn with_services(template: &str, services: &[(&str, SocketAddr)]) -> String {
    let named = services.iter().map(|(service, address)| {
        let prefix = service.to_uppercase().replace('-', "_");
        (format!("${{{prefix}_HOST}}"), format!("${{{prefix}_PORT}}"), address)
    });
    let named: Vec<_> = named.collect();
    let instances = |line: &str| -> Vec<String> {
        let here = named.iter().filter(|(host, ..)| line.contains(host.as_str()));
        here.map(|(host, port, at)| line.replace(host, &at.ip().to_string()).replace(port, &at.port().to_string()))
            .collect()
    };
    let lines = template.lines().flat_map(|line| match instances(line) {
        none if none.is_empty() => vec![line.to_owned()],
        filled => filled,
    });
    lines.map(|line| line + "\n").collect()
}

/// Replaces each `${NAME}`, and leaves out the lines from `# when OTLP` to `# end` unless `otlp`.
fn render(template: &str, values: &[(String, String)], otlp: bool) -> Result<String, Error> {
    let mut rendered = String::with_capacity(template.len());
    let mut skipping = false;
    for line in template.lines() {
        match line {
            "# when OTLP" => skipping = !otlp,
            "# end" => skipping = false,
            _ if skipping => {}
            _ => {
                rendered.push_str(line);
                rendered.push('\n');
            }
        }
    }
    for (name, value) in values {
        rendered = rendered.replace(&format!("${{{name}}}"), value);
    }
    let unfilled = rendered.split("${").nth(1).and_then(|rest| rest.split('}').next());
    unfilled.map_or(Ok(()), |name| Err(Error::Gateway(format!("${{{name}}} has no value"))))?;
    Ok(rendered)
}

#[cfg(test)]
mod tests {
    use super::{host_and_port, render, with_services};

    #[test]
    fn names_are_filled_and_blocks_removed() {
        let template = "a: ${A}\n# when OTLP\nb: ${B}\n# end\nc: 1\n";
        let values = [("A".to_owned(), "x".to_owned())];
        assert_eq!(render(template, &values, false).unwrap(), "a: x\nc: 1\n");
        let error = render(template, &values, true).unwrap_err();
        assert!(error.to_string().contains("${B}"), "{error}");
    }

    #[test]
    fn each_instance_of_a_service_has_a_line() {
        let template = "endpoints:\n- ${RATE_LIMITING_HOST} ${RATE_LIMITING_PORT}\n- ${SESSION_HOST}\n";
        let at = |port| ([127, 0, 0, 1], port).into();
        let services = [("rate-limiting", at(1)), ("session", at(2)), ("rate-limiting", at(3))];
        let filled = with_services(template, &services);
        assert_eq!(filled, "endpoints:\n- 127.0.0.1 1\n- 127.0.0.1 3\n- 127.0.0.1\n");
    }

    #[test]
    fn endpoints_have_a_host_and_a_port() {
        assert_eq!(host_and_port("http://collector:4318").unwrap(), ("collector".to_owned(), 4318));
        assert_eq!(host_and_port("http://127.0.0.1").unwrap(), ("127.0.0.1".to_owned(), 4317));
        assert!(host_and_port("collector").is_err());
    }
}
