//! Wiring: connects the store, builds the parts, starts the service.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use envoy_types::pb::envoy::service::auth::v3::authorization_server::{
    AuthorizationServer, SERVICE_NAME as AUTHORIZATION,
};
use keyplane_contracts::envoy::EXT_AUTHZ_DESCRIPTOR_SET;
use keyplane_contracts::revocation::v1::revocation_service_server::{RevocationServiceServer, SERVICE_NAME};
use keyplane_server::config::ServerConfig;
use keyplane_server::{Context, Error, Own, Readiness, Running, ServiceInfo};
use keyplane_valkey::Valkey;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use crate::config::Config;
use crate::grpc::{Authz, Jwks, OAuth, Service, Watches};
use crate::replica::{Checker, Mirror};
use crate::store::Store;

/// Description of this service for the kit.
pub static SERVICE: ServiceInfo = ServiceInfo {
    name: "auth-revocation",
    version: env!("CARGO_PKG_VERSION"),
    grpc_services: &[SERVICE_NAME, AUTHORIZATION],
    descriptors: &[EXT_AUTHZ_DESCRIPTOR_SET],
    default_port: 50052,
};

/// The whole program: settings, telemetry, service, drain.
#[must_use]
pub fn main() -> ExitCode {
    keyplane_server::main(&SERVICE, Config::read, start)
}

/// Starts the service. Calls are let in once the store has shown that it can do what the scripts need and holds this
/// program's layout; it is ready once the replica has caught up, and stays ready: from then on it answers by itself, and
/// where it can't, the outage policy does.
///
/// # Errors
///
/// An address that can't be bound, settings of the store that make no sense, or a key set whose keys lack or share a `kid`.
/// A store that is away is no error: the service waits for it, not ready.
pub async fn start(server: ServerConfig, config: Config) -> Result<Running, Error> {
    let jwks = match config.jwks {
        Some(path) => Some(open_jwks(path, !config.without_kid.is_empty()).await?),
        None => None,
    };
    let valkey = Valkey::connect(&server.store, server.app.clone())?;
    let rules = config.store.rules;
    let store = Store::new(valkey.clone(), config.store).map_err(|error| Error::Service(Box::new(error)))?;
    let mirror = Mirror::start(valkey.clone(), store.clone(), config.replica);
    let checker = Checker::new(mirror.clone());
    let checked = store.clone();
    let check = move || {
        let store = checked.clone();
        async move { store.check().await }
    };
    let fresh = checker.clone();
    let own =
        Own::new(mirror.ready(), "catching up with the feed of revocations").answers_while(move || fresh.is_fresh());
    let readiness = Readiness::own(check, own);
    keyplane_server::start(&SERVICE, server, valkey, readiness, move |context: &Context| {
        let (leaving, drain) = (mirror.clone(), context.drain.clone());
        // Else others would wait for this instance until its lease ends.
        tokio::spawn(async move {
            drain.started().await;
            leaving.leave().await;
        });
        let tenant_claim: Arc<str> = config.tenant_claim.into();
        let watches = Watches::new(config.max_watches, mirror.clone(), rules, context.drain.clone());
        let without_kid: Arc<[String]> = config.without_kid.into();
        let oauth = OAuth::new(jwks, config.issuers, without_kid.clone(), tenant_claim.clone(), rules);
        let authz = Authz::new(checker.clone(), tenant_claim, without_kid);
        let service = Service::new(store, mirror, checker, rules, oauth, watches, context.drain.clone());
        let server = RevocationServiceServer::new(service)
            .max_decoding_message_size(context.max_message)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd);
        Routes::new(server).add_service(AuthorizationServer::new(authz).max_decoding_message_size(context.max_message))
    })
    .await
}

async fn open_jwks(path: PathBuf, without_kid: bool) -> Result<Arc<Jwks>, Error> {
    let shown = path.display().to_string();
    Jwks::open(path, without_kid).await.map_err(|refused| {
        Error::Service(format!("KEYPLANE_REVOCATION_JWKS: the key set in {shown} is refused: {refused}").into())
    })
}
