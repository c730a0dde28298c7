//! Stand-in for the services, for tests of the gateway alone. It answers the gateway's filters (ext_authz, ratelimit)
//! as configured, serves nothing else, and records its requests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use envoy_types::ext_authz::v3::pb::{
    Authorization, AuthorizationServer, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue,
    HeaderValueOption, HttpResponse, HttpStatus, OkHttpResponse,
};
use envoy_types::pb::envoy::config::core::v3::HeaderValue as LimitHeader;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code as LimitCode;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use envoy_types::pb::google::rpc;
use http::HeaderMap;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};
use tower::util::MapRequestLayer;

/// Answer to ext_authz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Pass,
    /// 401: revoked.
    Revoked,
    /// 401: another rule is broken.
    Unacceptable,
    /// 503 as an HTTP answer.
    Unavailable,
    /// gRPC status INTERNAL.
    Broken,
    /// gRPC status UNAVAILABLE.
    CannotTell,
    /// No answer.
    Silent,
}

/// Answer to ratelimit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Pass,
    /// Over the limit for 7 seconds.
    Over,
    /// Blocked for good.
    Blocked,
    /// gRPC status UNAVAILABLE: nothing was charged.
    Broken,
    /// gRPC status DEADLINE_EXCEEDED: the outcome is unknown.
    Unknown,
    /// No answer.
    Silent,
}

/// Recorded call of ratelimit: message and headers.
pub type LimitCall = (RateLimitRequest, HeaderMap);

/// Recorded request that is not a filter's: path and headers.
pub type OtherCall = (String, HeaderMap);

#[derive(Clone)]
pub struct Peer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    answer: Answer,
    limit: Limit,
    checks: Vec<CheckRequest>,
    limit_calls: Vec<LimitCall>,
    others: Vec<OtherCall>,
}

const OWN: [&str; 3] = ["/envoy.service.auth.v3.", "/envoy.service.ratelimit.v3.", "/grpc.health."];

// === impl Peer ===

impl Peer {
    /// Starts a stand-in on its own runtime, for the life of the process.
    pub fn start(answer: Answer) -> Peer {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state =
            State { answer, limit: Limit::Pass, checks: Vec::new(), limit_calls: Vec::new(), others: Vec::new() };
        let peer = Peer { address, state: Arc::new(Mutex::new(state)) };
        let (service, limits, watcher) = (peer.clone(), peer.clone(), peer.clone());
        let watch = MapRequestLayer::new(move |request: http::Request<tonic::body::Body>| {
            watcher.record(request.uri().path(), request.headers());
            request
        });
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
                let server = Server::builder().layer(watch).add_service(AuthorizationServer::new(service));
                let server = server.add_service(RateLimitServiceServer::new(limits));
                server.serve_with_incoming(listener).await.unwrap();
            });
        });
        peer
    }

    /// Addresses of this stand-in under each service's name.
    pub fn services(&self) -> [(&'static str, SocketAddr); 4] {
        ["session", "auth-revocation", "rate-limiting", "search"].map(|name| (name, self.address))
    }

    /// Sets the answer to ext_authz.
    pub fn answer(&self, answer: Answer) {
        self.state.lock().unwrap().answer = answer;
    }

    /// Sets the answer to ratelimit.
    pub fn limit(&self, limit: Limit) {
        self.state.lock().unwrap().limit = limit;
    }

    /// Takes the calls of ratelimit since the last take.
    pub fn take_limit_calls(&self) -> Vec<LimitCall> {
        std::mem::take(&mut self.state.lock().unwrap().limit_calls)
    }

    /// Takes the calls of ext_authz since the last take.
    pub fn take_checks(&self) -> Vec<CheckRequest> {
        std::mem::take(&mut self.state.lock().unwrap().checks)
    }

    /// Takes the other requests since the last take, except Envoy's health checks.
    pub fn take_others(&self) -> Vec<OtherCall> {
        std::mem::take(&mut self.state.lock().unwrap().others)
    }

    fn record(&self, path: &str, headers: &HeaderMap) {
        if !OWN.iter().any(|own| path.starts_with(own)) {
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
            Answer::Revoked => (Code::Unauthenticated, denied(401, "the token was revoked; log in again")),
            Answer::Unacceptable => (Code::Unauthenticated, denied(401, "the token lacks the claim tenant")),
            Answer::Unavailable => (Code::Unavailable, denied(503, "")),
            Answer::Broken => return Err(Status::internal("broken")),
            Answer::CannotTell => return Err(Status::unavailable("it can't be told")),
            Answer::Silent => std::future::pending().await,
        };
        let status = Some(rpc::Status { code: code.into(), ..rpc::Status::default() });
        let dynamic_metadata = Some(texts([("tenant", "acme"), ("subject", "u-42")]));
        Ok(Response::new(CheckResponse { status, http_response: Some(response), dynamic_metadata }))
    }
}

#[tonic::async_trait]
impl RateLimitService for Peer {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let limit = {
            let mut state = self.state.lock().unwrap();
            state.limit_calls.push((request, metadata.into_headers()));
            state.limit
        };
        let header =
            |(key, value): (&str, &str)| LimitHeader { key: key.into(), value: value.into(), ..LimitHeader::default() };
        let policy = [("ratelimit-policy", r#""user-api";q=100;w=1"#), ("ratelimit", r#""user-api";r=0;t=7"#)];
        let numbers =
            [("x-ratelimit-limit", "200, 100;w=1"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "7")];
        let (code, headers): (_, Vec<_>) = match limit {
            Limit::Pass => (LimitCode::Ok, [&policy[..], &numbers].concat()),
            Limit::Over => (LimitCode::OverLimit, [&policy[..], &numbers, &[("retry-after", "7")]].concat()),
            Limit::Blocked => (LimitCode::OverLimit, Vec::new()),
            Limit::Broken => return Err(Status::unavailable("broken")),
            Limit::Unknown => return Err(Status::deadline_exceeded("no answer of the store")),
            Limit::Silent => std::future::pending().await,
        };
        Ok(Response::new(RateLimitResponse {
            overall_code: code.into(),
            response_headers_to_add: headers.into_iter().map(header).collect(),
            dynamic_metadata: Some(texts([("policy", "user-api"), ("rule", "default")])),
            ..RateLimitResponse::default()
        }))
    }
}

fn texts(fields: [(&str, &str); 2]) -> Struct {
    let field =
        |(name, text): (&str, &str)| (name.to_owned(), Value { kind: Some(Kind::StringValue(text.to_owned())) });
    Struct { fields: fields.into_iter().map(field).collect() }
}

fn denied(code: i32, why: &str) -> HttpResponse {
    let header = HeaderValue {
        key: "www-authenticate".to_owned(),
        value: format!(r#"Bearer error="invalid_token", error_description="{why}""#),
        ..HeaderValue::default()
    };
    let headers = vec![HeaderValueOption { header: Some(header), ..HeaderValueOption::default() }];
    HttpResponse::DeniedResponse(DeniedHttpResponse {
        status: Some(HttpStatus { code }),
        headers: if code == 401 { headers } else { Vec::new() },
        body: why.to_owned(),
    })
}
