//! What stands behind the gateway where a test is about the gateway alone: it answers ext_authz as it is told to, serves
//! nothing else, and remembers what it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use envoy_types::ext_authz::v3::pb::{
    Authorization, AuthorizationServer, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue,
    HeaderValueOption, HttpResponse, HttpStatus, OkHttpResponse,
};
use envoy_types::pb::google::rpc;
use http::HeaderMap;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};
use tower::util::MapRequestLayer;

/// What to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Pass,
    /// 401: it was revoked.
    Revoked,
    /// 401: it breaks another rule.
    Unacceptable,
    /// 503, as an answer.
    Unavailable,
    /// A gRPC status.
    Broken,
    /// None at all.
    Silent,
}

/// A request other than ext_authz's: its path and its headers.
pub type Seen = (String, HeaderMap);

#[derive(Clone)]
pub struct Peer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    answer: Answer,
    checks: Vec<CheckRequest>,
    others: Vec<Seen>,
}

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

// === impl Peer ===

impl Peer {
    /// Starts it, with a runtime of its own, for as long as the process lives.
    pub fn start(answer: Answer) -> Peer {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { answer, checks: Vec::new(), others: Vec::new() };
        let peer = Peer { address, state: Arc::new(Mutex::new(state)) };
        let (service, watcher) = (peer.clone(), peer.clone());
        let watch = MapRequestLayer::new(move |request: http::Request<tonic::body::Body>| {
            watcher.note(request.uri().path(), request.headers());
            request
        });
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
                let server = Server::builder().layer(watch).add_service(AuthorizationServer::new(service));
                server.serve_with_incoming(listener).await.unwrap();
            });
        });
        peer
    }

    /// From now on.
    pub fn answer(&self, answer: Answer) {
        self.state.lock().unwrap().answer = answer;
    }

    /// What ext_authz asked since it was last looked at.
    pub fn take_checks(&self) -> Vec<CheckRequest> {
        std::mem::take(&mut self.state.lock().unwrap().checks)
    }

    /// What else came since it was last looked at, Envoy's health checks left out.
    pub fn take_others(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().others)
    }

    fn note(&self, path: &str, headers: &HeaderMap) {
        if path != CHECK && !path.starts_with("/grpc.health.") {
            self.state.lock().unwrap().others.push((path.to_owned(), headers.clone()));
        }
    }
}

#[tonic::async_trait]
impl Authorization for Peer {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let answer = {
            let mut state = self.state.lock().unwrap();
            state.checks.push(request.into_inner());
            state.answer
        };
        let (code, response) = match answer {
            Answer::Pass => (Code::Ok, HttpResponse::OkResponse(OkHttpResponse::default())),
            Answer::Revoked => (Code::Unauthenticated, denied(401, r#", error_description="the token was revoked""#)),
            Answer::Unacceptable => (Code::Unauthenticated, denied(401, "")),
            Answer::Unavailable => (Code::Unavailable, denied(503, "")),
            Answer::Broken => return Err(Status::internal("broken")),
            Answer::Silent => std::future::pending().await,
        };
        let status = Some(rpc::Status { code: code.into(), ..rpc::Status::default() });
        Ok(Response::new(CheckResponse { status, http_response: Some(response), ..CheckResponse::default() }))
    }
}

fn denied(code: i32, why: &str) -> HttpResponse {
    let header = HeaderValue {
        key: "www-authenticate".to_owned(),
        value: format!(r#"Bearer error="invalid_token"{why}"#),
        ..HeaderValue::default()
    };
    let headers = vec![HeaderValueOption { header: Some(header), ..HeaderValueOption::default() }];
    HttpResponse::DeniedResponse(DeniedHttpResponse {
        status: Some(HttpStatus { code }),
        headers: if code == 401 { headers } else { Vec::new() },
        body: String::new(),
    })
}
