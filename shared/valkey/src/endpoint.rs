//! Endpoint: fred's configuration from a URL. No error and no log line holds the URL, since it may carry a password.

use std::sync::Arc;

use fred::rustls::{ClientConfig, RootCertStore, crypto::ring};
use fred::types::RespVersion;
use fred::types::config::{
    ClusterDiscoveryPolicy, Config, ConnectionConfig, PerformanceConfig, Server, ServerConfig, TcpConfig, TlsConfig,
    TlsConnector, UnresponsiveConfig,
};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::{BreakerSettings, Settings, SettingsError};

const DEFAULT_PORT: u16 = 6379;

/// Configuration of a connection.
pub(crate) struct Endpoint {
    pub(crate) config: Config,
    pub(crate) connection: ConnectionConfig,
    pub(crate) performance: PerformanceConfig,
    /// True if the URL names a cluster.
    pub(crate) clustered: bool,
    /// Connections to each node.
    pub(crate) connections: usize,
    pub(crate) breaker: BreakerSettings,
    /// First host, for spans.
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
}

// === impl Settings ===

impl Settings {
    /// Checks that [`Valkey::connect`](crate::Valkey::connect) takes these settings; for a config reader.
    ///
    /// # Errors
    /// The setting that can't be used, and the rule that it breaks.
    pub fn check(&self) -> Result<(), SettingsError> {
        Endpoint::new(self).map(drop)
    }
}

// === impl Endpoint ===

impl Endpoint {
    pub(crate) fn new(settings: &Settings) -> Result<Endpoint, SettingsError> {
        settings.check_bounds()?;
        let url = Url::parse(&settings.url).map_err(|error| bad(format!("is not a URL: {error}")))?;
        let (cluster, tls) = scheme(url.scheme())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port().unwrap_or(DEFAULT_PORT);
        let mut nodes = vec![Server::new(host.to_owned(), port)];
        for (name, value) in url.query_pairs() {
            if name != "node" || !cluster {
                return Err(bad("has a parameter other than node=host:port, which only a cluster takes"));
            }
            nodes.push(node(&value)?);
        }
        let server = if cluster {
            ServerConfig::Clustered { hosts: nodes, policy: ClusterDiscoveryPolicy::default() }
        } else {
            ServerConfig::Centralized { server: nodes.remove(0) }
        };
        let config = Config {
            fail_fast: true,
            // The engines' replies to FT.* and BF.* differ under RESP3.
            version: RespVersion::RESP2,
            username: decoded(url.username())?,
            password: url.password().map(decoded).transpose()?.flatten(),
            server,
            database: database(&url, cluster)?,
            tls: if tls { Some(tls_config()?) } else { None },
            ..Config::default()
        };
        Ok(Endpoint {
            config,
            connection: connection(settings),
            performance: PerformanceConfig {
                default_command_timeout: settings.command_timeout,
                ..PerformanceConfig::default()
            },
            clustered: cluster,
            connections: settings.connections,
            breaker: settings.breaker,
            host: Arc::from(host),
            port,
        })
    }

    /// Client for one node that ends with its first connection; at most `messages` wait to be read.
    pub(crate) fn client(&self, server: Server, messages: usize) -> fred::clients::Client {
        let config = Config { server: ServerConfig::Centralized { server }, ..self.config.clone() };
        // fred reserves this capacity for each kind of its events.
        let performance = PerformanceConfig { broadcast_channel_capacity: messages, ..self.performance.clone() };
        fred::clients::Client::new(config, Some(performance), Some(self.connection.clone()), None)
    }
}

fn connection(settings: &Settings) -> ConnectionConfig {
    ConnectionConfig {
        connection_timeout: settings.connect_timeout,
        internal_command_timeout: settings.connect_timeout,
        // A written command is not written again, and a redirected one comes back to us.
        max_command_attempts: 1,
        max_redirections: 0,
        max_command_buffer_len: settings.queue_limit,
        reconnect_on_auth_error: true,
        // Each call has its deadline, each connection its probes, and a blocking read is not unresponsive.
        unresponsive: UnresponsiveConfig { max_timeout: None, ..UnresponsiveConfig::default() },
        tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
        ..ConnectionConfig::default()
    }
}

fn scheme(scheme: &str) -> Result<(bool, bool), SettingsError> {
    match scheme {
        "valkey" | "redis" => Ok((false, false)),
        "valkeys" | "rediss" => Ok((false, true)),
        "valkey-cluster" | "redis-cluster" => Ok((true, false)),
        "valkeys-cluster" | "rediss-cluster" => Ok((true, true)),
        _ => Err(bad(
            "must start with valkey://, valkeys:// (TLS), valkey-cluster:// or valkeys-cluster:// (cluster, TLS)",
        )),
    }
}

fn node(value: &str) -> Result<Server, SettingsError> {
    let (host, port) = value.rsplit_once(':').ok_or_else(|| bad("has a node that is not host:port"))?;
    let port = port.parse().map_err(|_| bad("has a node whose port is not a number up to 65535"))?;
    Ok(Server::new(host.to_owned(), port))
}

fn database(url: &Url, cluster: bool) -> Result<Option<u8>, SettingsError> {
    match url.path().trim_matches('/') {
        "" => Ok(None),
        _ if cluster => Err(bad("names a database, which a cluster does not have")),
        number => number.parse().map(Some).map_err(|_| bad("has a database that is not a number up to 255")),
    }
}

fn decoded(text: &str) -> Result<Option<String>, SettingsError> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| bad("has a user or password that is not UTF-8"))?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

/// TLS by rustls with ring and the system's trusted certificates (`SSL_CERT_FILE` names others).
fn tls_config() -> Result<TlsConfig, SettingsError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(fred::rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err(bad("asks for TLS, but this system trusts no certificate authority; install ca-certificates"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(format!("asks for TLS, which can't be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConfig::from(TlsConnector::from(config)))
}

fn bad(problem: impl Into<String>) -> SettingsError {
    SettingsError::new("url", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Result<Endpoint, SettingsError> {
        Endpoint::new(&Settings::new(url))
    }

    #[test]
    fn urls_parse_in_all_spellings() {
        for (url, cluster, tls) in [
            ("valkey://h:7000", false, false),
            ("redis://h:7000", false, false),
            ("valkeys://h:7000", false, true),
            ("rediss://h:7000", false, true),
            ("valkey-cluster://h:7000", true, false),
            ("redis-cluster://h:7000", true, false),
            ("valkeys-cluster://h:7000", true, true),
            ("rediss-cluster://h:7000", true, true),
        ] {
            assert_eq!(scheme(url.split(':').next().expect("a scheme")), Ok((cluster, tls)), "{url}");
        }
        let plain = endpoint("valkey://app:p%40ss@h/3").expect("a good URL");
        assert_eq!(plain.config.username.as_deref(), Some("app"));
        assert_eq!(plain.config.password.as_deref(), Some("p@ss"));
        assert_eq!(plain.config.database, Some(3));
        assert_eq!((&*plain.host, plain.port), ("h", 6379));
        let cluster = endpoint("valkey-cluster://:secret@h:7000?node=i:7001&node=j:7002").expect("a good URL");
        assert_eq!(cluster.config.server.hosts().len(), 3);
        assert_eq!(cluster.config.username, None);
    }

    #[test]
    fn bad_urls_are_rejected_without_quoting_them() {
        for url in [
            "",
            "h:6379:sec-ret",
            "http://u:sec-ret@h",
            "valkey://u:sec-ret@h/db",
            "valkey-cluster://u:sec-ret@h/1",
            "valkey://u:sec-ret@h?node=i:1",
            "valkey-cluster://u:sec-ret@h?node=sec-ret",
            "valkey-cluster://u:sec-ret@h?node=i:sec-ret",
            "valkey://u:sec-ret@h:99999",
        ] {
            let error = endpoint(url).err().unwrap_or_else(|| panic!("{url} must be rejected"));
            assert_eq!(error.setting(), "url");
            assert!(!format!("{error} {error:?}").contains("sec-ret"), "{error}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let settings = Settings { connections: 0, ..Settings::new("valkey://h") };
        assert_eq!(Endpoint::new(&settings).err().map(|error| error.setting()), Some("connections"));
    }
}
