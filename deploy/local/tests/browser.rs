//! Page in a real Chromium, on another origin than the gateway: CORS and preflights, readable errors, and an
//! EventSource that survives a restart of the service and ends with its token. Needs the feature `browser` and
//! Chromium.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use keyplane_engine::{Process, Spec, free_port};
use keyplane_local::{Grant, Mesh};
use keyplane_testkit::eventually;
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};

const PATIENCE: Duration = Duration::from_secs(60);

type Entries = Arc<Mutex<Vec<Value>>>;

/// Server of the page, on its own origin, with the page's reports.
struct Site {
    origin: String,
    entries: Entries,
}

/// Chromium with a new profile. Dropping it ends the process.
struct Chromium {
    process: Process,
    _profile: tempfile::TempDir,
}

// === impl Site ===

impl Site {
    async fn start() -> Site {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let entries = Entries::default();
        let log = async |State(entries): State<Entries>, Json(entry): Json<Value>| entries.lock().unwrap().push(entry);
        let page = get(async || Html(include_str!("browser/page.html")));
        let routes = Router::new().route("/", page).route("/log", post(log)).with_state(Arc::clone(&entries));
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Site { origin, entries }
    }

    /// Reports of one kind so far.
    fn reports(&self, kind: &str) -> Vec<Value> {
        self.entries.lock().unwrap().iter().filter(|entry| entry["kind"] == kind).cloned().collect()
    }

    /// Waits for `count` reports of one kind, and returns the last.
    async fn wait(&self, kind: &str, count: usize, chromium: &Chromium) -> Value {
        eventually(&format!("{kind} × {count}"), PATIENCE, async || {
            assert_eq!(self.reports("failed"), Vec::<Value>::new(), "the page failed");
            let exit = chromium.process.exit();
            assert_eq!(exit, None, "chromium ended: {}", chromium.process.log());
            self.reports(kind).get(count - 1).cloned().ok_or_else(|| self.entries.lock().unwrap().clone())
        })
        .await
    }
}

// === impl Chromium ===

impl Chromium {
    fn open(url: &str) -> Chromium {
        let profile = tempfile::tempdir().unwrap();
        let spec = Spec::new(Chromium::program())
            .name("chromium")
            // The page is trusted, and the sandbox needs rights that containers and root lack. The other options stop
            // Chromium from calling home.
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-breakpad", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .env("TMPDIR", profile.path())
            .remove_when_orphaned(profile.path());
        Chromium { process: Process::spawn(spec).unwrap(), _profile: profile }
    }

    fn program() -> PathBuf {
        if let Some(named) = std::env::var_os("KEYPLANE_CHROMIUM").filter(|named| !named.is_empty()) {
            return PathBuf::from(named);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let mut candidates = std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
        candidates.find(|candidate| candidate.is_file()).unwrap_or_else(|| {
            panic!(
                "no Chromium on the PATH ({}); on Debian: apt-get install chromium; or name one in KEYPLANE_CHROMIUM",
                names.join(", ")
            )
        })
    }
}

// === the service ===

const SERVICE: &str = "keyplane.session.v1.SessionService";

/// Starts a session service on the mesh's store, and waits until it is ready.
async fn service(mesh: &Mesh, grpc: SocketAddr) -> (Process, SessionServiceClient<Channel>) {
    let spec = Spec::new(env!("CARGO_BIN_EXE_keyplane-up"))
        .name("session")
        .env("KEYPLANE_LOCAL_SERVICE", "session")
        .env("KEYPLANE_GRPC_ADDR", grpc.to_string())
        .env("KEYPLANE_ADMIN_ADDR", "127.0.0.1:0")
        .env("KEYPLANE_KV_URL", &mesh.endpoints().valkey)
        .env("KEYPLANE_DRAIN_DELAY", "0s");
    let process = Process::spawn(spec).unwrap();
    let channel = Endpoint::from_shared(format!("http://{grpc}")).unwrap().connect_lazy();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    eventually("the service is ready", PATIENCE, async || {
        let request = tonic_health::pb::HealthCheckRequest { service: SERVICE.to_owned() };
        let status = health.check(request).await.map_err(|status| status.to_string())?.into_inner().status();
        if status.as_str_name() == "SERVING" { Ok(()) } else { Err(process.log()) }
    })
    .await;
    (process, SessionServiceClient::new(channel))
}

async fn navigate(client: &mut SessionServiceClient<Channel>, name: &str, path: &str) {
    let session = pb::Session { name: name.to_owned(), last_path: Some(path.to_owned()), ..pb::Session::default() };
    let request = pb::UpdateSessionRequest { session: Some(session), ..pb::UpdateSessionRequest::default() };
    client.update_session(request).await.unwrap();
}

async fn stop(process: Process) {
    let stopped = tokio::task::spawn_blocking(move || process.stop(PATIENCE)).await.unwrap().unwrap();
    assert!(stopped.success(), "{stopped}");
}

// === the test ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_of_another_origin_follows_through_a_restart() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    let mesh = Mesh::start(support::options(folder)).await.unwrap();
    let site = Site::start().await;
    let gateway = mesh.endpoints().gateway.as_deref().unwrap();
    let token = mesh.issuer().mint(&Grant::new("acme", "bob@x.com")).unwrap();
    let chromium = Chromium::open(&format!("{}/?gateway={gateway}&token={token}", site.origin));

    let rejected = site.wait("rejected", 1, &chromium).await;
    assert_eq!((&rejected["status"], &rejected["body"]["code"]), (&json!(401), &json!(16)), "{rejected}");
    assert!(rejected["challenge"].as_str().is_some_and(|challenge| challenge.starts_with("Bearer")), "{rejected}");

    // The page can read an error's details and the exposed headers.
    let missing = site.wait("missing", 1, &chromium).await;
    assert_eq!((&missing["status"], &missing["body"]["code"]), (&json!(404), &json!(5)), "{missing}");
    let details = missing["body"]["details"].as_array().unwrap();
    let reason = details.iter().find(|detail| detail["reason"] == "SESSION_NOT_FOUND");
    assert_eq!(reason.unwrap_or_else(|| panic!("{missing}"))["domain"], "keyplane.dev");
    assert!(missing["requestId"].is_string(), "{missing}");

    // JSON bodies and PATCH cause a preflight.
    let created = site.wait("created", 1, &chromium).await;
    assert_eq!(created["status"], 200, "{created}");
    let name = created["body"]["name"].as_str().unwrap();
    let patched = site.wait("patched", 1, &chromium).await;
    assert_eq!((&patched["status"], &patched["body"]["lastPath"]), (&json!(200), &json!("/tasks/42")), "{patched}");

    let snapshot = site.wait("event", 1, &chromium).await;
    assert_eq!((&snapshot["type"], &snapshot["data"]["sessions"][0]["name"]), (&json!("snapshot"), &json!(name)));
    let updated = site.wait("event", 2, &chromium).await;
    assert_eq!(updated["type"], "updated", "{updated}");
    assert_eq!(updated["data"]["name"], name);
    assert_eq!(updated["data"]["changedFields"], json!(["lastPath"]), "{updated}");
    assert_eq!(updated["data"]["session"]["lastPath"], "/tasks/42");
    assert_eq!(updated["data"]["id"], updated["id"]);

    // The service stops; a change happens on another instance while the page can reach none.
    mesh.service("session").stop(PATIENCE).unwrap();
    site.wait("interrupted", 1, &chromium).await;
    let (other, mut client) = service(&mesh, local(free_port().unwrap())).await;
    navigate(&mut client, name, "/meanwhile").await;
    stop(other).await;
    // The EventSource must retry after a failed attempt.
    let last = site.wait("interrupted", 3, &chromium).await;
    assert_eq!(last["state"], 0, "the EventSource gave up");

    let (again, mut client) = service(&mesh, mesh.endpoints().service("session").grpc.parse().unwrap()).await;
    site.wait("event", 3, &chromium).await;
    navigate(&mut client, name, "/after").await;
    site.wait("event", 4, &chromium).await;

    // Each change arrives once and in order.
    let events = site.reports("event");
    let seen: Vec<_> = events.iter().map(|event| (&event["type"], &event["data"]["session"]["lastPath"])).collect();
    let updated = json!("updated");
    let paths = ["/tasks/42", "/meanwhile", "/after"].map(Value::from);
    assert_eq!(seen[1..], paths.each_ref().map(|path| (&updated, path)), "{events:#?}");
    // The EventSource was never closed (2), and resumed by itself.
    let states: Vec<_> = site.reports("interrupted").iter().map(|entry| entry["state"].clone()).collect();
    assert!(states.iter().all(|state| *state == 0), "{states:?}");

    // A stream outlives its token's revocation. Once it breaks, the EventSource must not reconnect.
    let revoke = reqwest::Client::new().post(format!("{gateway}/v1/tenants/acme/oauth2/revoke"));
    assert_eq!(revoke.json(&json!({"token": token})).send().await.unwrap().status(), 200);
    stop(again).await;
    eventually("the EventSource gives up", PATIENCE, async || {
        let reports = site.reports("interrupted");
        if reports.last().is_some_and(|last| last["state"] == 2) { Ok(()) } else { Err(reports) }
    })
    .await;
    drop(chromium);
    mesh.stop().await.unwrap();
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
