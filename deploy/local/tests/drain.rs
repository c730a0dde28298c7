//! Rolling restart, seen by JSON clients: every call completes, or fails with a retryable error.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use keyplane_engine::{Process, Signal, Spec};
use keyplane_local::Mesh;
use keyplane_testkit::eventually;
use reqwest::{Client, Response};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// Last acknowledged number. The next call failed, but may have been carried out.
struct Written {
    session: String,
    acknowledged: i64,
}

async fn json(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON, whatever the status"))
}

/// Writes ever higher numbers until a call fails.
async fn write(
    client: Client,
    gateway: String,
    user: usize,
    stopping: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> Written {
    let sessions = format!("{gateway}/v1/tenants/acme/users/u-{user}/sessions");
    let (status, made) = json(client.post(&sessions).json(&json!({})).send().await.unwrap()).await;
    assert_eq!(status, 200, "{made}");
    let session = format!("{gateway}/v1/{}", made["name"].as_str().unwrap());
    let mut acknowledged = -1;
    loop {
        let body = json!({"lastPath": format!("/{}", acknowledged + 1)});
        let (status, answer) = json(client.patch(&session).json(&body).send().await.unwrap()).await;
        if status != 200 {
            assert!(stopping.load(Ordering::Acquire), "before SIGTERM: {status} {answer}");
            assert_eq!((status, &answer["code"]), (503, &json!(14)), "{answer}");
            return Written { session, acknowledged };
        }
        acknowledged += 1;
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Service that replaces the stopped one.
fn successor(mesh: &Mesh) -> Process {
    let spec = Spec::new(env!("CARGO_BIN_EXE_keyplane-up"))
        .name("session")
        .env("KEYPLANE_LOCAL_SERVICE", "session")
        .env("KEYPLANE_GRPC_ADDR", &mesh.endpoints().service("session").grpc)
        .env("KEYPLANE_ADMIN_ADDR", "127.0.0.1:0")
        .env("KEYPLANE_KV_URL", &mesh.endpoints().valkey);
    Process::spawn(spec).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_yields_success_or_a_retryable_error() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("drain");
    // Writers do not pause.
    let options = support::with_policies(support::options(folder), "policies: []");
    let mesh = Mesh::start(options).await.unwrap();
    let gateway = mesh.endpoints().gateway.clone().unwrap();
    let client = support::http(&mesh.endpoints().token);
    let (stopping, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let write = |user| tokio::spawn(write(client.clone(), gateway.clone(), user, stopping.clone(), done.clone()));
    let writers: Vec<_> = (0..16).map(write).collect();
    eventually("the writers have written", PATIENCE, async || done.load(Ordering::Relaxed) > 300).await;

    stopping.store(true, Ordering::Release);
    mesh.service("session").signal(Signal::TERM).unwrap();
    let mut written = Vec::new();
    for writer in writers {
        written.push(writer.await.expect("a writer sees nothing but completed calls and 503"));
    }
    let exit = mesh.service("session").ended().await;
    assert!(exit.success(), "{exit}: {}", mesh.service("session").log());

    let successor = successor(&mesh);
    for Written { session, acknowledged } in written {
        let found = eventually("the session can be read again", PATIENCE, async || {
            let (status, found) = json(client.get(&session).send().await.unwrap()).await;
            if status == 200 { Ok(found) } else { Err(found) }
        })
        .await;
        let path = found["lastPath"].as_str().unwrap();
        let number: i64 = path.trim_start_matches('/').parse().unwrap_or(-1);
        assert!((0..=1).contains(&(number - acknowledged)), "acknowledged {acknowledged}, found {path:?}");
    }
    drop(successor);
    mesh.stop().await.unwrap();
}
