//! Resume of a stopped program (SIGSTOP): it answers the checks that waited for it.

use std::time::{Duration, Instant, SystemTime};

use futures::future::join_all;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::Verdict;
use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_engine::{Process, Signal, Spec, free_port};
use keyplane_testkit::eventually;
use tonic::Request;
use tonic::transport::Endpoint;

const PATIENCE: Duration = Duration::from_secs(20);
const CONNECTIONS: usize = 4;
/// Checks that wait in the sockets of the program while it is stopped.
const BACKLOG: usize = 200;

fn claims(jti: &str) -> pb::Claims {
    let now = SystemTime::now();
    pb::Claims {
        issuer: "https://idp.example".to_owned(),
        jti: jti.to_owned(),
        issue_time: Some(now.into()),
        expire_time: Some((now + Duration::from_mins(10)).into()),
        ..pb::Claims::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_that_waited_for_a_stopped_program_are_answered() {
    let [port, admin] = [(); 2].map(|()| free_port().expect("a free port"));
    let spec = Spec::new(env!("CARGO_BIN_EXE_keyplane-auth-revocation"))
        .name("auth-revocation")
        .env("KEYPLANE_APP", keyplane_testkit::app())
        .env("KEYPLANE_KV_URL", keyplane_testkit::valkey().url())
        .env("KEYPLANE_GRPC_ADDR", format!("127.0.0.1:{port}"))
        .env("KEYPLANE_ADMIN_ADDR", format!("127.0.0.1:{admin}"));
    let process = Process::spawn(spec).expect("the program starts");
    eventually("the program is ready", PATIENCE, async || {
        let response = reqwest::get(format!("http://127.0.0.1:{admin}/readyz")).await;
        response.is_ok_and(|response| response.status().is_success())
    })
    .await;
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("an address");
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(RevocationServiceClient::new(endpoint.connect().await.expect("a connection")));
    }
    for stop in [Duration::from_millis(400), Duration::from_secs(3)] {
        process.signal(Signal::STOP).expect("it can be stopped");
        let stopped = Instant::now();
        let checks = (0..BACKLOG).map(|number| {
            let mut client = clients[number % CONNECTIONS].clone();
            let claims = Some(claims(&format!("waiting-{number}")));
            let check = pb::CheckRequest { parent: "tenants/acme".into(), claims, ..pb::CheckRequest::default() };
            let mut request = Request::new(check);
            request.set_timeout(PATIENCE);
            async move { client.check(request).await.map(|reply| reply.into_inner().verdict()) }
        });
        let resume = async {
            // The test is about the time that passes.
            tokio::time::sleep_until((stopped + stop).into()).await;
            process.signal(Signal::CONT).expect("it can go on");
        };
        let (answers, ()) = tokio::join!(join_all(checks), resume);
        let failed: Vec<_> = answers.iter().filter(|answer| !matches!(answer, Ok(Verdict::Active))).collect();
        println!("stopped for {stop:?}: {} of {BACKLOG} failed", failed.len());
        let (count, first, log) = (failed.len(), failed.first(), process.log());
        assert!(failed.is_empty(), "{count} of {BACKLOG} were not answered after {stop:?}: {first:?}\n{log}");
    }
}
