//! The yardsticks: an empty echo, and RPCs whose handlers run one raw command.

use std::borrow::Cow;

use keyplane_server::config::ServerConfig;
use keyplane_server::{Readiness, Running, ServiceInfo, status};
use keyplane_valkey::Valkey;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::Error;
use crate::decide::Decide;
use crate::pb::echo_service_server::{EchoService, EchoServiceServer, SERVICE_NAME};
use crate::pb::{EchoDecideRequest, EchoGetRequest, EchoPatchRequest, EchoRequest, EchoResponse};
use crate::raw::{Place, Raw};

static INFO: ServiceInfo =
    ServiceInfo { name: "echo", version: env!("CARGO_PKG_VERSION"), grpc_services: &[SERVICE_NAME], default_port: 0 };

const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bench.binpb"));

struct Echo {
    raw: Raw,
    decide: Decide,
}

/// Starts the echo service with the settings of the service beside it, on a port of its own.
pub(crate) async fn start(mut config: ServerConfig) -> Result<Running, Error> {
    config.descriptors = vec![Cow::Borrowed(DESCRIPTORS)];
    let valkey = Valkey::connect(&config.store, config.app.clone())?;
    let (raw, decide) = (Raw::new(valkey.clone()), Decide::new(valkey.clone()));
    let (_, ready) = watch::channel(true);
    let build = |context: &keyplane_server::Context| {
        Routes::new(EchoServiceServer::new(Echo { raw, decide }).max_decoding_message_size(context.max_message))
    };
    Ok(keyplane_server::start(&INFO, config, valkey, Readiness::Own(ready), build).await?)
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
