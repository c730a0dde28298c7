//! Start and stop of a service: sockets, health, reflection, admin port, drain.

mod admin;
mod answering;
mod drain;
mod error;
mod gather;
mod health;
mod incoming;
mod readiness;
mod running;
mod server;

use std::net::SocketAddr;

use keyplane_valkey::Valkey;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use drain::Drain;
pub use error::Error;
pub use readiness::Readiness;
pub use running::Running;
pub(crate) use running::Signals;

use self::health::Health;
use crate::ServiceInfo;
use crate::config::ServerConfig;
use crate::layers::gate::Gate;
use crate::layers::methods::Methods;

/// Context in which a service builds its routes.
#[derive(Clone, Debug)]
pub struct Context {
    /// End of watch streams.
    pub drain: Drain,
    /// `KEYPLANE_GRPC_MAX_MESSAGE`, in bytes: pass it to `max_decoding_message_size` of each generated server. It bounds a
    /// message before and after it is decompressed.
    pub max_message: usize,
}

/// Binds all ports, then serves in background tasks.
///
/// Health reports NOT_SERVING until `readiness` allows otherwise. The layers of `docs/layers.md` go around the
/// routes that `build` makes.
///
/// # Errors
///
/// Fails if an address can't be bound, or a descriptor set doesn't decode.
pub async fn start(
    info: &'static ServiceInfo,
    config: ServerConfig,
    store: Valkey,
    readiness: Readiness,
    build: impl FnOnce(&Context) -> Routes,
) -> Result<Running, Error> {
    let methods = Methods::read(info).map_err(|error| Error::Descriptors(error.to_string()))?;
    let (grpc, grpc_addr) = bind("gRPC", "KEYPLANE_GRPC_ADDR", config.grpc_addr).await?;
    let (admin, admin_addr) = bind("the admin port", "KEYPLANE_ADMIN_ADDR", config.admin_addr).await?;
    let plain_health = match config.health_addr {
        Some(addr) => Some(bind("health", "KEYPLANE_HEALTH_ADDR", addr).await?),
        None => None,
    };

    let drain = Drain::default();
    let force = CancellationToken::new();
    let (health, health_service) = Health::new(info.grpc_services).await;
    let context = Context { drain: drain.clone(), max_message: config.limits.max_message };
    let routes = server::reflect(build(&context).add_service(health_service.clone()), info)?;

    let (gate, (fatal_tx, fatal)) = (Gate::shut(), watch::channel(None));
    let settings = config.settings.print();
    let mut aside = vec![tokio::spawn(admin::serve(admin, health.state(), config.registry.clone(), settings))];
    let health_addr = plain_health.as_ref().map(|(_, addr)| *addr);
    if let Some((listener, _)) = plain_health {
        aside.push(tokio::spawn(health::serve(listener, health_service)));
    }
    Ok(Running {
        grpc_addr,
        admin_addr,
        health_addr,
        grpc: tokio::spawn(server::serve(&config, methods, (grpc, grpc_addr), &drain, &force, gate.clone(), routes)),
        readiness: tokio::spawn(readiness::follow(health.clone(), store.clone(), readiness, gate, fatal_tx)),
        aside,
        fatal,
        health,
        store,
        drain,
        force,
        times: config.drain,
    })
}

async fn bind(
    purpose: &'static str,
    setting: &'static str,
    addr: SocketAddr,
) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Bind { purpose, setting, addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
