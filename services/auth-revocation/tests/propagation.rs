//! Propagation between two programs, one of which is stopped (SIGSTOP) for longer than the bound: a revoked token is
//! rejected everywhere. A program without the freshness rule, cut off from the store, shows that late answers are seen.
//!
//! `keyplane-bench propagation` tests it under load, and with all other faults.

use std::time::{Duration, Instant, SystemTime};

use futures::future::join_all;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::Verdict;
use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_engine::{Process, Signal, Spec, free_port};
use keyplane_testkit::{Fault, FaultProxy, eventually};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

/// Time after the acknowledgement from which on no check may begin that is answered ACTIVE.
const BOUND: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);
const PARENT: &str = "tenants/acme";
/// Tokens that are revoked while the program is stopped, and connections that check them.
const TOKENS: u32 = 8;
const CONNECTIONS: usize = 4;
/// Stops of the program. Whether it answers first after a stop, or reads what it missed, differs between them.
const STOPS: u32 = 20;

type Client = RevocationServiceClient<Channel>;

/// Instance of the service, in a process of its own.
struct Instance {
    process: Process,
    clients: Vec<Client>,
}

// === impl Instance ===

impl Instance {
    async fn start(app: &str, url: &str, settings: &[(&str, &str)]) -> Instance {
        let [port, admin] = [(); 2].map(|()| free_port().expect("a free port"));
        let spec = Spec::new(env!("CARGO_BIN_EXE_keyplane-auth-revocation"))
            .name("auth-revocation")
            .env("KEYPLANE_APP", app)
            .env("KEYPLANE_KV_URL", url)
            .env("KEYPLANE_GRPC_ADDR", format!("127.0.0.1:{port}"))
            .env("KEYPLANE_ADMIN_ADDR", format!("127.0.0.1:{admin}"));
        let spec = settings.iter().fold(spec, |spec, (name, value)| spec.env(name, value));
        let process = Process::spawn(spec).expect("the program starts");
        let ready = async || {
            let response = reqwest::get(format!("http://127.0.0.1:{admin}/readyz")).await;
            response.is_ok_and(|response| response.status().is_success())
        };
        eventually("the program is ready", PATIENCE, ready).await;
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("an address");
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(Client::new(endpoint.connect().await.expect("a connection")));
        }
        Instance { process, clients }
    }

    /// Revokes a token; returns the moment of the acknowledgement.
    async fn revoke(&self, jti: &str) -> Instant {
        let pb::Claims { issuer, jti, expire_time, .. } = claims(jti);
        let request =
            pb::RevokeTokenRequest { parent: PARENT.to_owned(), issuer, jti, expire_time, ..Default::default() };
        self.clients[0].clone().revoke_token(request).await.expect("it is revoked");
        Instant::now()
    }

    /// Reports whether a check is answered ACTIVE. A check that fails as unavailable lets nothing pass.
    async fn is_active(&self, connection: usize, jti: &str) -> bool {
        let request =
            pb::CheckRequest { parent: PARENT.to_owned(), claims: Some(claims(jti)), ..pb::CheckRequest::default() };
        match self.clients[connection].clone().check(request).await {
            Ok(reply) => reply.get_ref().verdict() == Verdict::Active,
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                false
            }
        }
    }
}

fn claims(jti: &str) -> pb::Claims {
    let now = SystemTime::now();
    pb::Claims {
        issuer: "https://idp.example".to_owned(),
        jti: jti.to_owned(),
        subject: "u-42".to_owned(),
        issue_time: Some(now.into()),
        expire_time: Some((now + Duration::from_mins(10)).into()),
        ..pb::Claims::default()
    }
}

/// Stops `other`, revokes on `one`, begins checks past the bound, and resumes `other`; returns how many answered
/// ACTIVE.
async fn late_answers(one: &Instance, other: &Instance, stop: u32) -> usize {
    let jtis: Vec<_> = (0..TOKENS).map(|number| format!("stop-{stop}-{number}")).collect();
    let before = join_all(jtis.iter().map(|jti| other.is_active(0, jti))).await;
    assert!(before.iter().all(|active| *active), "stop {stop}: good tokens are rejected: {before:?}");

    other.process.signal(Signal::STOP).expect("it can be stopped");
    let mut acknowledged = Instant::now();
    for jti in &jtis {
        acknowledged = one.revoke(jti).await;
    }
    // The test is about the time that passes.
    tokio::time::sleep_until((acknowledged + BOUND).into()).await;
    let checks = jtis.iter().enumerate().map(|(number, jti)| other.is_active(number % CONNECTIONS, jti));
    let resume = async {
        // The checks are in flight when the program resumes: they are polled first, and one turn later.
        tokio::task::yield_now().await;
        tokio::time::sleep_until((acknowledged + BOUND + Duration::from_millis(5)).into()).await;
        other.process.signal(Signal::CONT).expect("it can go on");
    };
    let (answers, ()) = tokio::join!(join_all(checks), resume);
    answers.into_iter().filter(|active| *active).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_check_begun_past_the_bound_accepts_a_revoked_token() {
    let (app, url) = (keyplane_testkit::app(), keyplane_testkit::valkey().url());
    let one = Instance::start(&app, &url, &[]).await;
    let other = Instance::start(&app, &url, &[]).await;
    for number in 0..50 {
        let jti = format!("calm-{number}");
        assert!(other.is_active(0, &jti).await, "{jti} is good");
        let acknowledged = one.revoke(&jti).await;
        loop {
            let begin = Instant::now();
            if !other.is_active(1, &jti).await {
                break;
            }
            let age = begin.duration_since(acknowledged);
            assert!(age < BOUND, "{jti}: a check begun {age:?} after the acknowledgement answered ACTIVE");
        }
    }
    for stop in 0..STOPS {
        assert_eq!(late_answers(&one, &other, stop).await, 0, "stop {stop}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_answers_are_seen_without_the_freshness_rule() {
    let (app, valkey) = (keyplane_testkit::app(), keyplane_testkit::valkey());
    let proxy = FaultProxy::to_port(valkey.port());
    let settings = [("KEYPLANE_REVOCATION_MAX_STALENESS", "1h")];
    let one = Instance::start(&app, &valkey.url(), &settings).await;
    let other = Instance::start(&app, &proxy.url(&valkey.url()), &settings).await;
    // Without it, the resumed program may read what it missed before it answers.
    proxy.set(Fault::BlackHole);
    assert_eq!(late_answers(&one, &other, 0).await, TOKENS as usize, "each check is answered from old memory");
}
