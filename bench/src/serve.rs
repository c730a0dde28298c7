//! The services, in a process of their own: what the generator starts, loads and measures.

use std::net::SocketAddr;

use keyplane_server::config::Env;
use keyplane_session::Config;
use serde::{Deserialize, Serialize};

use crate::{Error, echo};

/// Where the services listen: the line that the child prints once it serves.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) session: SocketAddr,
    pub(crate) echo: Option<SocketAddr>,
}

/// Runs the session service, and the yardsticks if asked to, until SIGTERM, as a service's own program does.
pub(crate) fn run(with_echo: bool) -> Result<(), Error> {
    let mut env = Env::process();
    let mut config = Config::read(&mut env);
    config.server.settings = env.finish()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(8).build()?;
    runtime.block_on(async {
        let telemetry = keyplane_telemetry::init(&config.server.telemetry)?;
        config.server.registry = telemetry.registry();
        let echo = match with_echo {
            true => Some(echo::start(config.server.clone()).await?),
            false => None,
        };
        let session = keyplane_session::start(config).await?;
        let addresses =
            Addresses { session: session.grpc_addr(), echo: echo.as_ref().map(keyplane_server::Running::grpc_addr) };
        println!("{}", serde_json::to_string(&addresses)?);
        Ok(session.wait().await?)
    })
}
