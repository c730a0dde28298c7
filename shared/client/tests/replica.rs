//! Replica against the service, on a real Valkey: no check begun 100 ms after an acknowledgement answers `active`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keyplane_auth_revocation::{Config, SERVICE};
use keyplane_client::{Claims, Millis, ReplicaSettings, RevocationReplica, Verdict};
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_server::Running;
use keyplane_server::config::{self, Env};
use keyplane_testkit::{Fault, FaultProxy, eventually};
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

const PATIENCE: Duration = Duration::from_secs(20);
const BOUND: Duration = Duration::from_millis(100);
const ISSUER: &str = "https://id.example";
const PARENT: &str = "tenants/acme";

struct Service {
    /// Running service, until this value is dropped.
    running: Running,
    client: RevocationServiceClient<Channel>,
}

async fn start() -> Service {
    let (app, url) = (keyplane_testkit::app(), keyplane_testkit::valkey().url());
    let env = Env::from_map([
        ("KEYPLANE_APP", app.as_str()),
        ("KEYPLANE_KV_URL", &url),
        ("KEYPLANE_GRPC_ADDR", "127.0.0.1:0"),
        ("KEYPLANE_ADMIN_ADDR", "127.0.0.1:0"),
        ("KEYPLANE_DRAIN_DELAY", "0s"),
    ]);
    let (server, config) = config::read(env, &SERVICE, Config::read).expect("the settings of the test");
    let running = keyplane_auth_revocation::start(server, config).await.expect("the service starts");
    let endpoint = endpoint(&running.grpc_addr().to_string());
    Service { client: RevocationServiceClient::new(endpoint.connect_lazy()), running }
}

fn endpoint(address: &str) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}")).expect("an address")
}

async fn follow(address: &str, check_timeout: Duration) -> RevocationReplica {
    let settings = ReplicaSettings { check_timeout, ..ReplicaSettings::default() };
    let replica = RevocationReplica::connect(endpoint(address), settings);
    timeout(PATIENCE, replica.ready()).await.expect("it has all that there is");
    replica
}

/// Token that was issued just now.
struct Token {
    name: String,
    issued_at: Millis,
}

// === impl Token ===

impl Token {
    fn new(name: String) -> Token {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        Token { name, issued_at: Millis(i64::try_from(since.as_millis()).expect("before the end of time")) }
    }

    fn claims(&self) -> Claims<'_> {
        let (jti, sid, subject) = (&*self.name, &*self.name, &*self.name);
        let (issued_at, expires) = (Some(self.issued_at), Some(self.issued_at.plus(Duration::from_mins(5))));
        Claims { tenant: "acme", issuer: ISSUER, jti, sid, subject, issued_at, expires, ..Claims::default() }
    }
}

// === impl Service ===

impl Service {
    /// Revokes the token in one of three ways; returns the revocation, and when it was acknowledged.
    async fn revoke(&self, way: usize, token: &Token) -> (pb::Revocation, Instant) {
        let mut client = self.client.clone();
        let (parent, name) = (PARENT.to_owned(), token.name.clone());
        let revocation = match way % 3 {
            0 => {
                let expire_time = token.claims().expires.map(keyplane_revocation::wire::timestamp);
                let issuer = ISSUER.to_owned();
                client
                    .revoke_token(pb::RevokeTokenRequest {
                        parent,
                        issuer,
                        jti: name,
                        expire_time,
                        ..Default::default()
                    })
                    .await
            }
            1 => client.revoke_session(pb::RevokeSessionRequest { parent, sid: name, ..Default::default() }).await,
            _ => client.revoke_subject(pb::RevokeSubjectRequest { parent, subject: name, ..Default::default() }).await,
        };
        let revocation = revocation.expect("it is revoked").into_inner();
        (revocation, Instant::now())
    }
}

/// Checks until it is revoked. Fails at a check that began too late to answer `active`.
async fn rejected(replica: &RevocationReplica, token: &Token, acknowledged: Instant) -> Duration {
    loop {
        let began = acknowledged.elapsed();
        match replica.is_revoked(&token.claims()).await {
            Ok(Verdict::Revoked { .. }) => return acknowledged.elapsed(),
            Ok(Verdict::KeyUnknown) => panic!("no key is revoked"),
            Ok(Verdict::Active) => {
                assert!(began < BOUND, "{}: active, {began:?} after the acknowledgement", token.name);
            }
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
        assert!(acknowledged.elapsed() < PATIENCE, "{}: no answer for {PATIENCE:?}", token.name);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_revocation_is_applied_within_the_bound() {
    let service = start().await;
    let replica = follow(&service.running.grpc_addr().to_string(), Duration::from_secs(1)).await;
    let mut took = Vec::new();
    for n in 0..300 {
        let token = Token::new(format!("t{n}"));
        let before = replica.is_revoked(&token.claims()).await.expect("the service is there");
        assert_eq!(before, Verdict::Active, "{}", token.name);
        let (_, acknowledged) = service.revoke(n, &token).await;
        took.push(rejected(&replica, &token, acknowledged).await);
    }
    took.sort();
    println!("acknowledged to rejected: p50 {:?}, p99 {:?}, max {:?}", took[150], took[297], took[299]);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_answers_and_follows_what_is_undone() {
    let service = start().await;
    let replica = follow(&service.running.grpc_addr().to_string(), Duration::from_secs(1)).await;
    let token = Token::new("ada".to_owned());
    let remembers = async |expected: bool| {
        eventually("memory knows", PATIENCE, async || {
            replica.check_now(&token.claims()).is_some_and(|verdict| verdict.is_revoked() == expected)
        })
        .await;
    };
    remembers(false).await;
    let cut = {
        let (replica, token) = (replica.clone(), Token { name: token.name.clone(), ..token });
        tokio::spawn(async move { replica.revoked(&token.claims()).await })
    };
    let (revocation, _) = service.revoke(1, &token).await;
    remembers(true).await;
    let cut = timeout(PATIENCE, cut).await.expect("the stream is cut").expect("no panic");
    assert!(matches!(cut, Verdict::Revoked { revocation: Some(_), .. }), "{cut:?}");
    let undo = pb::UndoRevocationRequest { name: revocation.name, ..Default::default() };
    service.client.clone().undo_revocation(undo).await.expect("it was a mistake");
    remembers(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_service_nothing_revoked_is_active() {
    let service = start().await;
    let proxy = FaultProxy::start(service.running.grpc_addr());
    let replica = follow(&proxy.addr().to_string(), Duration::from_millis(300)).await;
    let faults = [Fault::Cut, Fault::BlackHole, Fault::HalfOpen, Fault::Delay(Duration::from_millis(80))];
    for (n, fault) in faults.into_iter().enumerate() {
        proxy.set(fault);
        let token = Token::new(format!("{n}"));
        let (_, acknowledged) = service.revoke(n, &token).await;
        // During the outage: unknown, or known as revoked.
        while acknowledged.elapsed() < 10 * BOUND {
            let began = acknowledged.elapsed();
            let checked = replica.is_revoked(&token.claims()).await;
            let active = matches!(checked, Ok(Verdict::Active));
            assert!(!active || began < BOUND, "{fault:?}: active, {began:?} after the acknowledgement");
            if let Err(status) = checked {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            }
            tokio::task::yield_now().await;
        }
        proxy.set(Fault::Pass);
        rejected(&replica, &token, acknowledged).await;
        let another = Token::new(format!("{n} is not revoked"));
        eventually("memory answers again", PATIENCE, async || {
            replica.check_now(&another.claims()).is_some_and(|verdict| !verdict.is_revoked())
        })
        .await;
    }
}
