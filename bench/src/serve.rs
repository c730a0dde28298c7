//! The services, in a process of their own: what the generator starts, loads and measures.

use std::net::SocketAddr;

use clap::ValueEnum;
use keyplane_server::Running;
use keyplane_server::config::{Env, ServerConfig};
use serde::{Deserialize, Serialize};

use crate::{Error, echo};

/// Which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    Session,
    Revocation,
    RateLimit,
}

/// Where the services listen: the line that the child prints once it serves.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) service: SocketAddr,
    pub(crate) echo: Option<SocketAddr>,
}

/// Runs a service, and the yardsticks if asked to, until SIGTERM, as the service's own program does.
pub(crate) fn run(service: Service, with_echo: bool) -> Result<(), Error> {
    match service {
        Service::Session => {
            use keyplane_session::Config;
            host(with_echo, Config::read, |config| &mut config.server, keyplane_session::start)
        }
        Service::Revocation => {
            use keyplane_auth_revocation::Config;
            host(with_echo, Config::read, |config| &mut config.server, keyplane_auth_revocation::start)
        }
        Service::RateLimit => {
            use keyplane_rate_limiting::Config;
            host(with_echo, Config::read, |config| &mut config.server, keyplane_rate_limiting::start)
        }
    }
}

fn host<C, F>(
    with_echo: bool,
    read: impl FnOnce(&mut Env) -> C,
    server: impl Fn(&mut C) -> &mut ServerConfig,
    start: impl FnOnce(C) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<Running, keyplane_server::Error>>,
{
    let mut env = Env::process();
    let mut config = read(&mut env);
    server(&mut config).settings = env.finish()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(8).build()?;
    runtime.block_on(async {
        let telemetry = keyplane_telemetry::init(&server(&mut config).telemetry)?;
        server(&mut config).registry = telemetry.registry();
        let echo = match with_echo {
            true => Some(echo::start(server(&mut config).clone()).await?),
            false => None,
        };
        let service = start(config).await?;
        let addresses = Addresses { service: service.grpc_addr(), echo: echo.as_ref().map(Running::grpc_addr) };
        println!("{}", serde_json::to_string(&addresses)?);
        Ok(service.wait().await?)
    })
}
