//! Wiring: connects the store, builds the parts, starts the service.

use std::process::ExitCode;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitServiceServer as EnvoyServer, SERVICE_NAME as ENVOY,
};
use keyplane_contracts::envoy::RATE_LIMIT_DESCRIPTOR_SET;
use keyplane_contracts::ratelimit::v1::rate_limit_service_server::{RateLimitServiceServer, SERVICE_NAME};
use keyplane_server::config::ServerConfig;
use keyplane_server::{Context, Error, Readiness, Running, ServiceInfo};
use keyplane_valkey::Valkey;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use crate::app::gateway::Gateway;
use crate::app::limiter::Limiter;
use crate::app::policies::Policies;
use crate::app::{Admission, metrics};
use crate::config::Config;
use crate::grpc::policies::PolicyApi;
use crate::grpc::{Charges, Envoy, Service};
use crate::store::{AuditStore, BucketStore, PolicyStore};

/// Description of this service for the kit.
pub static SERVICE: ServiceInfo = ServiceInfo {
    name: "rate-limiting",
    version: env!("CARGO_PKG_VERSION"),
    grpc_services: &[SERVICE_NAME, ENVOY],
    descriptors: &[RATE_LIMIT_DESCRIPTOR_SET],
    default_port: 50053,
};

/// Whole program: settings, telemetry, service, drain.
#[must_use]
pub fn main() -> ExitCode {
    keyplane_server::main(&SERVICE, Config::read, start)
}

/// Starts the service. Calls are admitted once the store supports the script and holds this program's layout. The service is ready
/// once it has read the stored policies, and stays ready: while the store is unavailable, the outage modes answer.
///
/// # Errors
///
/// Address that can't be bound, invalid settings of the store, or an invalid policies file. An unavailable store is no error: the
/// service waits for it, not ready.
pub async fn start(server: ServerConfig, config: Config) -> Result<Running, Error> {
    let valkey = Valkey::connect(&server.store, server.app.clone())?;
    let service = |error: Box<dyn std::error::Error + Send + Sync>| Error::Service(error);
    let audit = AuditStore::new(valkey.clone(), config.policies.audit_age).map_err(|error| service(error.into()))?;
    let (buckets, stored) = (BucketStore::new(valkey.clone(), config.batches), PolicyStore::new(valkey.clone()));
    let policies =
        Policies::start(stored.clone(), audit, config.policies.file).await.map_err(|error| service(error.into()))?;
    let limiter = Limiter::new(buckets.clone(), config.outage);
    metrics::publish(&policies, &limiter);
    let check = move || {
        let (buckets, stored) = (buckets.clone(), stored.clone());
        async move {
            buckets.check().await?;
            stored.check().await
        }
    };
    let readiness = Readiness::follows_store(check).own(policies.ready(), "reading the stored policies");
    keyplane_server::start(&SERVICE, server, valkey, readiness, move |context: &Context| {
        let admission = Admission::new(limiter, policies.clone(), config.remember);
        let envoy = Envoy::new(Gateway::new(admission.clone(), config.envoy));
        let service = Service::new(Charges::new(admission), PolicyApi::new(policies));
        let server = RateLimitServiceServer::new(service)
            .max_decoding_message_size(context.max_message)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd);
        Routes::new(server).add_service(EnvoyServer::new(envoy).max_decoding_message_size(context.max_message))
    })
    .await
}
