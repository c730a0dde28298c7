//! The server that Envoy asks.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::pin::Pin;
use std::sync::Arc;

use envoy_types::pb::envoy::service::ext_proc::v3::body_mutation::Mutation;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::{
    ExternalProcessor, ExternalProcessorServer,
};
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request as Part;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response as Answer;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    BodyMutation, BodyResponse, CommonResponse, GrpcStatus, ImmediateResponse, ProcessingRequest, ProcessingResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::value::Kind;
use futures::{Stream, StreamExt as _};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status, Streaming};

use super::check::check;
use super::schema::Schemas;

/// Largest message of Envoy, in bytes: a body of 1 MiB, and what is said about it.
const MAX_MESSAGE: usize = (1 << 20) + (64 << 10);
/// Windows for data that Envoy sends ahead, in bytes: of one stream, and of a connection.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
/// `response.code_details` of a refusal: `gateway.yaml` knows it by this.
const REFUSED: &str = "guard_refused";

/// Checks the JSON bodies of the contracts' routes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Guard {
    schemas: Arc<Schemas>,
}

/// The guard can't serve.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The contracts hold a type that the guard can't check.
    #[error("the contracts can't be guarded: {0}")]
    Contracts(String),
    /// The socket can't be used.
    #[error("the guard can't listen: {0}")]
    Listen(#[source] io::Error),
    /// The server ended by itself.
    #[error("the guard ended: {0}")]
    Ended(#[from] tonic::transport::Error),
}

// === impl Guard ===

impl Guard {
    /// Reads the contracts.
    ///
    /// # Errors
    ///
    /// When a body's type is one that the guard can't check.
    pub fn new() -> Result<Guard, GuardError> {
        let schemas = Schemas::of_contracts().map_err(|error| GuardError::Contracts(error.to_string()))?;
        Ok(Guard { schemas: Arc::new(schemas) })
    }

    /// Serves until `stop` is done.
    ///
    /// # Errors
    ///
    /// When the listener is of no use.
    pub async fn serve(self, listener: StdListener, stop: impl Future<Output = ()>) -> Result<(), GuardError> {
        let listener = listener.set_nonblocking(true).and_then(|()| UnixListener::from_std(listener));
        let listener = listener.map_err(GuardError::Listen)?;
        let service = ExternalProcessorServer::new(self).max_decoding_message_size(MAX_MESSAGE);
        let server = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .add_service(service);
        Ok(server.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop).await?)
    }

    /// Canonical JSON of a body for the RPC at `path`, e.g. `/keyplane.session.v1.SessionService/CreateSession`.
    ///
    /// # Errors
    ///
    /// Body of the error that the caller gets: a `google.rpc.Status` as JSON. None where the RPC is not guarded.
    pub fn check(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, Option<String>> {
        let schema = self.schemas.body(path).ok_or(None)?;
        check(&self.schemas, schema, body).map_err(|report| Some(report.json()))
    }
}

#[tonic::async_trait]
impl ExternalProcessor for Guard {
    type ProcessStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let guard = self.clone();
        let answers = request.into_inner().map(move |part| part.map(|part| answer(&guard, part)));
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Envoy asks once a request, with the whole body.
fn answer(guard: &Guard, request: ProcessingRequest) -> ProcessingResponse {
    let answer = match (request.request.as_ref(), path(&request)) {
        (Some(Part::RequestBody(part)), Some(path)) => match guard.check(path, &part.body) {
            Ok(json) => pass(json),
            Err(Some(error)) => refuse(400, Code::InvalidArgument, error),
            // gRPC on a JSON route: the transcoder leaves it alone, so its path is no RPC's.
            Err(None) => refuse(415, Code::Unimplemented, "this route takes JSON, not gRPC".to_owned()),
        },
        _ => refuse(500, Code::Internal, "the gateway asks something else than it should".to_owned()),
    };
    ProcessingResponse { response: Some(answer), ..ProcessingResponse::default() }
}

/// Path of the RPC, where the transcoder has found one.
fn path(request: &ProcessingRequest) -> Option<&str> {
    let attributes = request.attributes.values().find_map(|attributes| attributes.fields.get("request.path"));
    match attributes?.kind.as_ref()? {
        Kind::StringValue(path) => Some(path),
        Kind::NullValue(_) | Kind::NumberValue(_) | Kind::BoolValue(_) | Kind::StructValue(_) | Kind::ListValue(_) => {
            None
        }
    }
}

fn pass(json: Vec<u8>) -> Answer {
    let body = BodyMutation { mutation: Some(Mutation::Body(json)) };
    let response = CommonResponse { body_mutation: Some(body), ..CommonResponse::default() };
    Answer::RequestBody(BodyResponse { response: Some(response) })
}

fn refuse(status: i32, code: Code, body: String) -> Answer {
    Answer::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: status }),
        grpc_status: Some(GrpcStatus { status: i32::from(code).unsigned_abs() }),
        body: body.into(),
        details: REFUSED.to_owned(),
        ..ImmediateResponse::default()
    })
}
