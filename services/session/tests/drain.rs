//! SIGTERM under load: the real program, real connections, and no acknowledged write lost.

mod support {
    pub(crate) mod service;
}

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use keyplane_client::Channel;
use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use keyplane_engine::{Process, Signal, Spec, free_port};
use keyplane_testkit::eventually;
use support::service::{PATIENCE, sample, start_as};
use tonic::Code;
use tonic::transport::Endpoint;

fn program(app: &str, port: u16, admin: u16) -> Process {
    let spec = Spec::new(env!("CARGO_BIN_EXE_keyplane-session"))
        .name("session")
        .env("KEYPLANE_APP", app)
        .env("KEYPLANE_KV_URL", keyplane_testkit::valkey().url())
        .env("KEYPLANE_GRPC_ADDR", format!("127.0.0.1:{port}"))
        .env("KEYPLANE_ADMIN_ADDR", format!("127.0.0.1:{admin}"))
        .env("KEYPLANE_DRAIN_DELAY", "200ms");
    Process::spawn(spec).expect("the program starts")
}

/// One writer's last acknowledged path, and how its calls ended.
async fn write(
    mut client: SessionServiceClient<Channel>,
    made: pb::Session,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> String {
    let mut acknowledged = made.last_path.unwrap();
    for n in 0.. {
        let path = format!("/{n}");
        let session = pb::Session { name: made.name.clone(), last_path: Some(path.clone()), ..pb::Session::default() };
        let request = pb::UpdateSessionRequest { session: Some(session), ..pb::UpdateSessionRequest::default() };
        match client.update_session(request).await {
            Ok(_) => {
                acknowledged = path;
                done.fetch_add(1, Ordering::Relaxed);
            }
            // Only a retryable status, and only after the signal.
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                assert!(stop.load(Ordering::Acquire), "before SIGTERM: {status:?}");
                return acknowledged;
            }
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_loses_no_acknowledged_write() {
    let app = keyplane_testkit::app();
    let [port, admin] = [(); 2].map(|()| free_port().expect("a free port"));
    let process = program(&app, port, admin);
    let ready = async || {
        let response = reqwest::get(format!("http://127.0.0.1:{admin}/readyz")).await;
        response.is_ok_and(|response| response.status().is_success())
    };
    eventually("the program is ready", PATIENCE, ready).await;

    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut writers = Vec::new();
    for n in 0..16 {
        let channel = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect_lazy();
        let mut client = SessionServiceClient::new(Channel::new(channel));
        let request = pb::CreateSessionRequest {
            parent: format!("tenants/acme/users/u-{n}"),
            session: Some(sample()),
            ..pb::CreateSessionRequest::default()
        };
        let made = client.create_session(request).await.expect("a session").into_inner();
        let name = made.name.clone();
        writers.push((name, tokio::spawn(write(client, made, stop.clone(), done.clone()))));
    }
    eventually("the writers are at it", PATIENCE, async || done.load(Ordering::Relaxed) > 500).await;
    stop.store(true, Ordering::Release);
    process.signal(Signal::TERM).expect("the signal is sent");

    let mut acknowledged = Vec::new();
    for (name, writer) in writers {
        acknowledged.push((name, writer.await.expect("a writer sees nothing but completed calls and UNAVAILABLE")));
    }
    let exit = tokio::task::spawn_blocking(move || {
        process.wait_exit(Duration::from_secs(30)).map(|exit| (exit, process.log()))
    });
    let (exit, log) = exit.await.expect("no panic").expect("it ends within its drain");
    assert!(exit.success(), "{exit}: {log}");

    let mut other = start_as(&app, &keyplane_testkit::valkey().url(), &[]).await;
    other.wait_ready().await;
    for (name, path) in acknowledged {
        let number = |path: &str| path.trim_start_matches('/').parse::<i64>().unwrap_or(-1);
        let found = other.get(&name).await.expect("the session is there").last_path.unwrap();
        // A call that failed at the end may have been carried out or not.
        assert!((0..=1).contains(&(number(&found) - number(&path))), "{name}: acknowledged {path}, found {found}");
    }
}
