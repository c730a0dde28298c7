//! Wiring: connects the store, builds the parts, starts the service.

use std::process::ExitCode;

use keyplane_contracts::session::v1::session_service_server::{SERVICE_NAME, SessionServiceServer};
use keyplane_server::config::ServerConfig;
use keyplane_server::{Context, Error, Readiness, Running, ServiceInfo};
use keyplane_valkey::Valkey;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use crate::app::{Login, Logout, Watches};
use crate::config::Config;
use crate::grpc::Service;
use crate::peers::Revoker;
use crate::store::Store;

/// Description of this service for the kit.
pub static SERVICE: ServiceInfo = ServiceInfo {
    name: "session",
    version: env!("CARGO_PKG_VERSION"),
    grpc_services: &[SERVICE_NAME],
    descriptors: &[],
    default_port: 50051,
};

/// Runs the whole program: settings, telemetry, service, drain.
#[must_use]
pub fn main() -> ExitCode {
    keyplane_server::main(&SERVICE, Config::read, start)
}

/// Starts the service. It is ready once the store answers, has what the scripts need, and holds this program's layout.
///
/// # Errors
///
/// An address that can't be bound, or invalid settings of the store. An unavailable store is no error: the service waits
/// for it, not ready.
pub async fn start(server: ServerConfig, config: Config) -> Result<Running, Error> {
    let valkey = Valkey::connect(&server.store, server.app.clone())?;
    let store = Store::new(valkey.clone(), config.retention);
    let checked = store.clone();
    let readiness = Readiness::follows_store(move || {
        let store = checked.clone();
        async move { store.check().await }
    });
    keyplane_server::start(&SERVICE, server, valkey, readiness, move |context: &Context| {
        let watches = Watches::new(config.max_watches, config.heartbeat, context.drain.clone());
        let logout = Logout::new(store.clone(), config.revocation.map(Revoker::new));
        let login = Login::new(store.clone(), config.policies);
        let service = Service::new(store, login, logout, watches);
        let server = SessionServiceServer::new(service)
            .max_decoding_message_size(context.max_message)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd);
        Routes::new(server)
    })
    .await
}
