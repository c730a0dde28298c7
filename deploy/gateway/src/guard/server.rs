//! Server that Envoy calls (`ext_proc`).

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
use crate::error::GuardError;

/// Largest message from Envoy, in bytes: a body of 1 MiB and its attributes.
const MAX_MESSAGE: usize = (1 << 20) + (64 << 10);
/// Flow-control windows, in bytes, of one stream and of one connection.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
/// `response.code_details` of a rejection, on which `gateway.yaml` matches.
const REJECTED: &str = "guard_rejected";
/// Attributes that `gateway.yaml` requests: path of the RPC, and path and query of the URL.
const RPC_PATH: &str = "request.path";
const URL_PATH: &str = r#"request.headers["x-envoy-original-path"]"#;

/// Checker of the JSON bodies of the contracts' routes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Guard {
    schemas: Arc<Schemas>,
}

// === impl Guard ===

impl Guard {
    /// Reads the contracts.
    ///
    /// # Errors
    ///
    /// `GuardError::Contracts` when a body holds a type that the guard can't check.
    pub fn new() -> Result<Guard, GuardError> {
        let schemas = Schemas::from_contracts().map_err(|error| GuardError::Contracts(error.to_string()))?;
        Ok(Guard { schemas: Arc::new(schemas) })
    }

    /// Serves until `stop` completes.
    ///
    /// # Errors
    ///
    /// `GuardError::Listen` or `GuardError::Ended` when the listener fails.
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

    /// Returns canonical JSON of a body.
    ///
    /// `rpc_path` is the RPC's, e.g. `/keyplane.session.v1.SessionService/CreateSession`; `url_path` is the URL's path and
    /// query, percent-encoded. Their values may be repeated in the body.
    ///
    /// # Errors
    ///
    /// Response body for the caller: a `google.rpc.Status` as JSON. `None` if the RPC is not guarded.
    pub fn check(&self, rpc_path: &str, url_path: &str, body: &[u8]) -> Result<Vec<u8>, Option<String>> {
        let schema = self.schemas.body(rpc_path).ok_or(None)?;
        check(&self.schemas, schema, url_path, body).map_err(|report| Some(report.json()))
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

/// Answers Envoy's only message for a request: the whole body.
fn answer(guard: &Guard, request: ProcessingRequest) -> ProcessingResponse {
    let url_path = attribute(&request, URL_PATH).unwrap_or_default();
    let answer = match (request.request.as_ref(), attribute(&request, RPC_PATH)) {
        (Some(Part::RequestBody(part)), Some(rpc_path)) => match guard.check(rpc_path, url_path, &part.body) {
            Ok(json) => pass(json),
            Err(Some(error)) => reject(400, Code::InvalidArgument, error),
            // gRPC on a JSON route: the transcoder ignores the request, so the path is not an RPC's.
            Err(None) => reject(415, Code::Unimplemented, "this route takes JSON, not gRPC".to_owned()),
        },
        _ => reject(500, Code::Internal, "the guard got an unexpected message from Envoy".to_owned()),
    };
    ProcessingResponse { response: Some(answer), ..ProcessingResponse::default() }
}

fn attribute<'r>(request: &'r ProcessingRequest, name: &str) -> Option<&'r str> {
    let value = request.attributes.values().find_map(|attributes| attributes.fields.get(name));
    match value?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
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

fn reject(status: i32, code: Code, body: String) -> Answer {
    Answer::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: status }),
        grpc_status: Some(GrpcStatus { status: i32::from(code).unsigned_abs() }),
        body: body.into(),
        details: REJECTED.to_owned(),
        ..ImmediateResponse::default()
    })
}
