//! Fake revocation service whose feed, age and answers a test decides.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::Stream;
use futures::stream::Empty;
use keyplane_contracts::audit::v1 as audit;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_server::{RevocationService, RevocationServiceServer};
use keyplane_revocation::Sequence;
use pb::watch_response::Stage;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Endpoint;
use tonic::{Code, Request, Response, Status};

/// Behaviour of the service.
#[derive(Clone)]
pub struct Script {
    pub entries: Vec<pb::FeedEntry>,
    pub rules: pb::Rules,
    pub epoch: &'static str,
    /// Age in its heads.
    pub age: Option<Duration>,
    /// Time of the store in its heads, if any.
    pub store_time: Option<fn() -> prost_types::Timestamp>,
    /// Sends responses at all.
    pub speaks: bool,
    /// Marks the snapshot as complete.
    pub live: bool,
    /// Generation: a change breaks every stream.
    pub stream: u32,
    /// Code that rejects a new stream.
    pub rejects: Option<Code>,
    pub check: Result<pb::CheckResponse, Code>,
}

#[derive(Clone)]
pub struct Fake {
    pub endpoint: Endpoint,
    script: watch::Sender<Script>,
    watches: Arc<Mutex<Vec<String>>>,
    pub open: Arc<AtomicUsize>,
    pub checks: Arc<AtomicUsize>,
}

// === impl Fake ===

impl Fake {
    pub async fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let script = Script {
            entries: Vec::new(),
            rules: rules(30),
            epoch: "first",
            age: Some(Duration::ZERO),
            store_time: None,
            speaks: true,
            live: true,
            stream: 0,
            rejects: None,
            check: Err(Code::Unavailable),
        };
        let fake = Fake {
            endpoint: Endpoint::from_shared(url).expect("an address"),
            script: watch::Sender::new(script),
            watches: Arc::default(),
            open: Arc::default(),
            checks: Arc::default(),
        };
        let server = tonic::transport::Server::builder().add_service(RevocationServiceServer::new(fake.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        fake
    }

    pub fn change(&self, change: impl FnOnce(&mut Script)) {
        self.script.send_modify(change);
    }

    pub fn revoke(&self, entry: pb::FeedEntry) {
        self.change(|script| script.entries.push(entry));
    }

    /// Resume token of each requested stream.
    pub fn watches(&self) -> Vec<String> {
        self.watches.lock().unwrap().clone()
    }

    pub fn checks(&self) -> usize {
        self.checks.load(Ordering::SeqCst)
    }

    async fn feed(&self, resume_token: String, feed: mpsc::Sender<Result<pb::WatchResponse, Status>>) {
        let mut script = self.script.subscribe();
        let stream = script.borrow().stream;
        let mut sent = resume_token.parse().unwrap_or(0);
        let mut first = true;
        loop {
            let now = script.borrow_and_update().clone();
            if now.stream != stream {
                drop(feed.send(Err(Status::aborted("it restarted"))).await);
                return;
            }
            if now.speaks {
                let stage = if now.live { Stage::Live } else { Stage::Snapshot };
                let response = pb::WatchResponse {
                    stage: stage.into(),
                    entries: now.entries[sent..].to_vec(),
                    sequence: if now.live { sequence(now.entries.len()) } else { String::new() },
                    epoch: now.epoch.to_owned(),
                    resume_token: now.entries.len().to_string(),
                    rules: first.then_some(now.rules),
                };
                sent = now.entries.len();
                first = false;
                if feed.send(Ok(response)).await.is_err() {
                    return;
                }
            }
            // A heartbeat now and then.
            drop(tokio::time::timeout(Duration::from_millis(50), script.changed()).await);
            if feed.is_closed() {
                return;
            }
        }
    }
}

fn sequence(entries: usize) -> String {
    Sequence::at(0, entries as u64, 1).encode()
}

pub fn rules(leeway: i64) -> pb::Rules {
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    pb::Rules { max_lifetime: seconds(86_400), leeway: seconds(leeway), issuer_skew: seconds(0) }
}

keyplane_testkit::fake_service! {
    RevocationService for Fake {
        type BulkRevokeStream = Empty<Result<pb::BulkRevokeResponse, Status>>;
        type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

        async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
            let request = request.into_inner();
            assert_eq!(request.parent, "tenants/-");
            self.watches.lock().unwrap().push(request.resume_token.clone());
            if let Some(code) = self.script.borrow().rejects {
                return Err(Status::new(code, "the test wants it so"));
            }
            let (sender, receiver) = mpsc::channel(1);
            let fake = self.clone();
            self.open.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                fake.feed(request.resume_token, sender).await;
                fake.open.fetch_sub(1, Ordering::SeqCst);
            });
            Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
        }

        async fn get_head(&self, _: Request<pb::GetHeadRequest>) -> Result<Response<pb::GetHeadResponse>, Status> {
            let script = self.script.borrow();
            let age = script.age.map(|age| age.try_into().expect("a duration"));
            let (sequence, epoch) = (sequence(script.entries.len()), script.epoch.to_owned());
            Ok(Response::new(pb::GetHeadResponse { sequence, epoch, age, store_time: script.store_time.map(|time| time()) }))
        }

        async fn check(&self, request: Request<pb::CheckRequest>) -> Result<Response<pb::CheckResponse>, Status> {
            assert_eq!(request.get_ref().parent, "tenants/acme");
            assert_eq!(request.get_ref().max_staleness.map(|bound| bound.nanos), Some(100_000_000));
            self.checks.fetch_add(1, Ordering::SeqCst);
            let answer = self.script.borrow().check.clone();
            answer.map(Response::new).map_err(|code| Status::new(code, "the test wants it so"))
        }
    }
    revoke_token: pb::RevokeTokenRequest => pb::Revocation,
    revoke_session: pb::RevokeSessionRequest => pb::Revocation,
    revoke_subject: pb::RevokeSubjectRequest => pb::Revocation,
    revoke_client: pb::RevokeClientRequest => pb::Revocation,
    revoke_key: pb::RevokeKeyRequest => pb::Revocation,
    revoke_tenant: pb::RevokeTenantRequest => pb::Revocation,
    batch_revoke: pb::BatchRevokeRequest => pb::BatchRevokeResponse,
    bulk_revoke: tonic::Streaming<pb::BulkRevokeRequest> => Self::BulkRevokeStream,
    get_revocation: pb::GetRevocationRequest => pb::Revocation,
    undo_revocation: pb::UndoRevocationRequest => pb::Revocation,
    list_audit_entries: audit::ListAuditEntriesRequest => audit::ListAuditEntriesResponse,
    revoke_o_auth_token: pb::RevokeOAuthTokenRequest => (),
    batch_check: pb::BatchCheckRequest => pb::BatchCheckResponse,
    wait_for_propagation: pb::WaitForPropagationRequest => pb::WaitForPropagationResponse,
}
