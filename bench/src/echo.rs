//! Yardsticks: an empty echo, and RPCs whose handlers run one raw command.

use keyplane_server::config::ServerConfig;
use keyplane_server::{Readiness, Running, ServiceInfo, status};
use keyplane_valkey::Valkey;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::Error;
use crate::decide::Decide;
use crate::pb::echo_service_server::{EchoService, EchoServiceServer, SERVICE_NAME};
use crate::pb::{EchoDecideRequest, EchoGetRequest, EchoPatchRequest, EchoRequest, EchoResponse};
use crate::raw::{Place, Raw};

static INFO: ServiceInfo = ServiceInfo {
    name: "echo",
    version: env!("CARGO_PKG_VERSION"),
    grpc_services: &[SERVICE_NAME],
    descriptors: &[include_bytes!(concat!(env!("OUT_DIR"), "/bench.binpb"))],
    default_port: 0,
};

struct Echo {
    raw: Raw,
    decide: Decide,
}

/// Starts the echo service with the settings of the service beside it, on a port of its own.
pub(crate) async fn start(config: ServerConfig) -> Result<Running, Error> {
    let valkey = Valkey::connect(&config.store, config.app.clone())?;
    let (raw, decide) = (Raw::new(valkey.clone()), Decide::new(valkey.clone()));
    let checked = valkey.clone();
    let readiness = Readiness::follows_store(move || {
        let valkey = checked.clone();
        async move { valkey.ping().await }
    });
    let build = |context: &keyplane_server::Context| {
        Routes::new(EchoServiceServer::new(Echo { raw, decide }).max_decoding_message_size(context.max_message))
    };
    Ok(keyplane_server::start(&INFO, config, valkey, readiness, build).await?)
}

#[tonic::async_trait]
impl EchoService for Echo {
    async fn echo(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        Ok(Response::new(EchoResponse { payload: request.into_inner().payload }))
    }

    async fn echo_get(&self, request: Request<EchoGetRequest>) -> Result<Response<EchoResponse>, Status> {
        let EchoGetRequest { tenant, user, session } = request.get_ref();
        let payload = self.raw.get(Place { tenant, user, session }).await.map_err(status)?;
        Ok(Response::new(EchoResponse { payload }))
    }

    async fn echo_patch(&self, request: Request<EchoPatchRequest>) -> Result<Response<EchoResponse>, Status> {
        let EchoPatchRequest { tenant, user, session, last_path } = request.get_ref();
        let payload = self.raw.patch(Place { tenant, user, session }, last_path).await.map_err(status)?;
        Ok(Response::new(EchoResponse { payload }))
    }

    async fn echo_decide(&self, request: Request<EchoDecideRequest>) -> Result<Response<EchoResponse>, Status> {
        let EchoDecideRequest { tenant, user } = request.get_ref();
        let payload = self.decide.one(tenant, user).await.map_err(status)?;
        Ok(Response::new(EchoResponse { payload }))
    }
}
