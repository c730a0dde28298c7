//! Services, in a process of their own: what the generator starts, loads and measures.

use std::net::SocketAddr;

use clap::ValueEnum;
use keyplane_server::config::{self, Env, ServerConfig};
use keyplane_server::{Running, ServiceInfo};
use serde::{Deserialize, Serialize};

use crate::{Error, echo};

/// Service of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    Session,
    Revocation,
    RateLimit,
    Search,
}

/// Addresses of the services: the line that the child prints once it serves.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) service: SocketAddr,
    pub(crate) echo: Option<SocketAddr>,
}

// === impl Service ===

impl Service {
    /// Services that need no search engine.
    pub(crate) const PLAIN: [Service; 3] = [Service::Session, Service::Revocation, Service::RateLimit];

    /// Name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Service::Session => "session",
            Service::Revocation => "revocation",
            Service::RateLimit => "rate-limit",
            Service::Search => "search",
        }
    }
}

/// Runs a service, and the yardsticks if asked to, until SIGTERM, as the service's own program does.
pub(crate) fn run(service: Service, with_echo: bool) -> Result<(), Error> {
    match service {
        Service::Session => {
            use keyplane_session::{Config, SERVICE, start};
            host(with_echo, &SERVICE, Config::read, start)
        }
        Service::Revocation => {
            use keyplane_auth_revocation::{Config, SERVICE, start};
            host(with_echo, &SERVICE, Config::read, start)
        }
        Service::RateLimit => {
            use keyplane_rate_limiting::{Config, SERVICE, start};
            host(with_echo, &SERVICE, Config::read, start)
        }
        Service::Search => {
            use keyplane_search::{Config, SERVICE, start};
            host(with_echo, &SERVICE, Config::read, start)
        }
    }
}

fn host<C, F>(
    with_echo: bool,
    info: &ServiceInfo,
    read: impl FnOnce(&mut Env) -> C,
    start: impl FnOnce(ServerConfig, C) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<Running, keyplane_server::Error>>,
{
    let (mut server, config) = config::read(Env::process(), info, read)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(8).build()?;
    runtime.block_on(async {
        let telemetry = keyplane_telemetry::init(&server.telemetry)?;
        server.registry = telemetry.registry();
        let echo = match with_echo {
            true => Some(echo::start(server.clone()).await?),
            false => None,
        };
        let service = start(server, config).await?;
        let addresses = Addresses { service: service.grpc_addr(), echo: echo.as_ref().map(Running::grpc_addr) };
        println!("{}", serde_json::to_string(&addresses)?);
        Ok(service.wait().await?)
    })
}
