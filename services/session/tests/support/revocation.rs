//! Fake revocation service: records the revocations, and fails on a test's demand.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use futures::stream::Empty;
use keyplane_contracts::audit::v1 as audit;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_server::{RevocationService, RevocationServiceServer};
use keyplane_contracts::rpc::v1::ItemError;
use pb::revoke_request::Target;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};

/// Action while the n-th call is in flight.
pub type Meanwhile = Box<dyn Fn(usize) -> BoxFuture<'static, ()> + Send + Sync>;

/// Verdict on an item: a code and a reason, or success.
pub type Verdict = fn(&pb::RevokeRequest) -> Option<(Code, &'static str)>;

#[derive(Default)]
struct State {
    calls: Vec<pb::BatchRevokeRequest>,
    timeouts: Vec<String>,
    revoked: BTreeSet<String>,
    meanwhile: Option<Arc<Meanwhile>>,
    verdict: Option<Verdict>,
}

/// Fake service on a port of its own, for the life of the test's runtime.
#[derive(Clone)]
pub struct Revocations {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

// === impl Revocations ===

impl Revocations {
    pub async fn start() -> Revocations {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        let service = Revocations { addr, state: Arc::default() };
        let server = tonic::transport::Server::builder().add_service(RevocationServiceServer::new(service.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        service
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Value of the setting that names it.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn meanwhile(&self, does: impl Fn(usize) -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        self.state.lock().unwrap().meanwhile = Some(Arc::new(Box::new(does)));
    }

    pub fn answer(&self, verdict: Verdict) {
        self.state.lock().unwrap().verdict = Some(verdict);
    }

    /// Calls so far.
    pub fn calls(&self) -> Vec<pb::BatchRevokeRequest> {
        self.state.lock().unwrap().calls.clone()
    }

    /// `grpc-timeout` of each call.
    pub fn timeouts(&self) -> Vec<String> {
        self.state.lock().unwrap().timeouts.clone()
    }

    /// Revoked tokens and sessions: `jti:...` and `sid:...`.
    pub fn revoked(&self) -> BTreeSet<String> {
        self.state.lock().unwrap().revoked.clone()
    }
}

/// Name of an item: `jti:...` or `sid:...`.
pub fn name(request: &pb::RevokeRequest) -> String {
    match request.target.as_ref().expect("a target") {
        Target::Token(token) => format!("jti:{}", token.jti),
        Target::Session(session) => format!("sid:{}", session.sid),
        Target::Subject(_) | Target::Client(_) | Target::Key(_) | Target::Tenant(_) => panic!("{request:?}"),
    }
}

keyplane_testkit::fake_service! {
    RevocationService for Revocations {
        type BulkRevokeStream = Empty<Result<pb::BulkRevokeResponse, Status>>;
        type WatchStream = Empty<Result<pb::WatchResponse, Status>>;

        async fn batch_revoke(
            &self,
            request: Request<pb::BatchRevokeRequest>,
        ) -> Result<Response<pb::BatchRevokeResponse>, Status> {
            let timeout = request.metadata().get("grpc-timeout").and_then(|text| text.to_str().ok()).map(str::to_owned);
            let request = request.into_inner();
            let (number, meanwhile, verdict) = {
                let mut state = self.state.lock().unwrap();
                state.timeouts.extend(timeout);
                state.calls.push(request.clone());
                (state.calls.len(), state.meanwhile.clone(), state.verdict)
            };
            if let Some(meanwhile) = meanwhile {
                meanwhile(number).await;
            }
            let result = |one: &pb::RevokeRequest| match verdict.and_then(|verdict| verdict(one)) {
                Some((code, reason)) => {
                    let error = ItemError { code: code.into(), reason: reason.into(), ..Default::default() };
                    pb::RevokeResult { error: Some(error), ..Default::default() }
                }
                None => {
                    self.state.lock().unwrap().revoked.insert(name(one));
                    pb::RevokeResult { revocation: Some(pb::Revocation::default()), ..Default::default() }
                }
            };
            let results = request.requests.iter().map(result).collect();
            Ok(Response::new(pb::BatchRevokeResponse { results, ..Default::default() }))
        }
    }
    revoke_token: pb::RevokeTokenRequest => pb::Revocation,
    revoke_session: pb::RevokeSessionRequest => pb::Revocation,
    revoke_subject: pb::RevokeSubjectRequest => pb::Revocation,
    revoke_client: pb::RevokeClientRequest => pb::Revocation,
    revoke_key: pb::RevokeKeyRequest => pb::Revocation,
    revoke_tenant: pb::RevokeTenantRequest => pb::Revocation,
    bulk_revoke: tonic::Streaming<pb::BulkRevokeRequest> => Self::BulkRevokeStream,
    get_revocation: pb::GetRevocationRequest => pb::Revocation,
    undo_revocation: pb::UndoRevocationRequest => pb::Revocation,
    list_audit_entries: audit::ListAuditEntriesRequest => audit::ListAuditEntriesResponse,
    revoke_o_auth_token: pb::RevokeOAuthTokenRequest => (),
    check: pb::CheckRequest => pb::CheckResponse,
    batch_check: pb::BatchCheckRequest => pb::BatchCheckResponse,
    watch: pb::WatchRequest => Self::WatchStream,
    get_head: pb::GetHeadRequest => pb::GetHeadResponse,
    wait_for_propagation: pb::WaitForPropagationRequest => pb::WaitForPropagationResponse,
}
