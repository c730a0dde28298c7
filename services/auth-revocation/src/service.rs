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
use keyplane_server::{Context, Error, Readiness, Running, ServiceInfo};
use keyplane_valkey::Valkey;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use crate::app::check::Checker;
use crate::app::replica::Mirror;
use crate::app::{Authorizer, Revoker, TokenVerifier, Watches};
use crate::config::Config;
use crate::grpc::{Authz, Service};
use crate::peers::KeySet;
use crate::store::Store;

/// Description of this service for the kit.
pub static SERVICE: ServiceInfo = ServiceInfo {
    name: "auth-revocation",
    version: env!("CARGO_PKG_VERSION"),
    grpc_services: &[SERVICE_NAME, AUTHORIZATION],
    descriptors: &[EXT_AUTHZ_DESCRIPTOR_SET],
    default_port: 50052,
};

/// Runs the program: settings, telemetry, service, drain.
#[must_use]
pub fn main() -> ExitCode {
    keyplane_server::main(&SERVICE, Config::read, start)
}

/// Starts the service. Calls are admitted once the store has what the scripts need, and holds this program's layout.
/// The service is ready once the replica has caught up, and stays ready: from then on it answers by itself, or by the
/// outage policy.
///
/// # Errors
///
/// Address that can't be bound, inconsistent settings of the store, or a key set whose keys lack or share a `kid`. An
/// unavailable store is no error: the service waits for it, not ready.
pub async fn start(server: ServerConfig, config: Config) -> Result<Running, Error> {
    let keys = match config.jwks {
        Some(path) => Some(open_keys(path, !config.without_kid.is_empty()).await?),
        None => None,
    };
    let valkey = Valkey::connect(&server.store, server.app.clone())?;
    let rules = config.store.rules;
    let store = Store::new(valkey.clone(), config.store).map_err(|error| Error::Service(Box::new(error)))?;
    let mirror = Mirror::start(store.clone(), config.replica);
    let checker = Checker::new(mirror.clone());
    let checked = store.clone();
    let check = move || {
        let store = checked.clone();
        async move { store.probe().await }
    };
    let fresh = checker.clone();
    let readiness = Readiness::follows_store(check)
        .own(mirror.ready(), "catching up with the feed of revocations")
        .answers_while(move || fresh.is_fresh());
    keyplane_server::start(&SERVICE, server, valkey, readiness, move |context: &Context| {
        let (leaving, drain) = (mirror.clone(), context.drain.clone());
        // Without it, others would wait for this instance until its lease runs out.
        tokio::spawn(async move {
            drain.started().await;
            leaving.leave().await;
        });
        let drain = &context.drain;
        let watches = Watches::new(config.max_watches, store.clone(), mirror.clone(), rules, drain.clone());
        let without_kid: Arc<[String]> = config.without_kid.into();
        let (issuers, tenant_claim): (_, Arc<str>) = (config.issuers, config.tenant_claim.into());
        let tokens = TokenVerifier {
            keys,
            issuers,
            without_kid: without_kid.clone(),
            tenant_claim: tenant_claim.clone(),
            rules,
        };
        let authz = Authz::new(Authorizer::new(checker.clone(), without_kid), tenant_claim);
        let revoker = Revoker::new(store.clone(), mirror.clone(), rules, tokens);
        let service = Service { store, mirror, checker, revoker: Arc::new(revoker), watches, drain: drain.clone() };
        let server = RevocationServiceServer::new(service)
            .max_decoding_message_size(context.max_message)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd);
        Routes::new(server).add_service(AuthorizationServer::new(authz).max_decoding_message_size(context.max_message))
    })
    .await
}

async fn open_keys(path: PathBuf, without_kid: bool) -> Result<Arc<KeySet>, Error> {
    let shown = path.display().to_string();
    KeySet::open(path, without_kid).await.map_err(|error| {
        Error::Service(format!("KEYPLANE_REVOCATION_JWKS: the key set in {shown} is rejected: {error}").into())
    })
}
