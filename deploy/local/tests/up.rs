//! Real program `keyplane-up`.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use keyplane_testkit::eventually;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Running `keyplane-up --json` on free ports. Dropping it kills it and its children.
struct Up {
    child: Child,
    ready: Value,
}

// === impl Up ===

impl Up {
    fn start(folder: &Path) -> Up {
        Up::run(command(folder).args(["--valkey-port", "0"]))
    }

    fn run(command: &mut Command) -> Up {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut log = String::new();
            child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            panic!("keyplane-up ended: {log}");
        }
        Up { child, ready: serde_json::from_str(&line).expect("one line of JSON") }
    }

    fn text(&self, pointer: &str) -> &str {
        self.ready.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer}: {}", self.ready))
    }

    /// Process id of a child, by the program's name.
    fn child_called(&self, name: &str) -> Option<Pid> {
        let parent = self.child.id().to_string();
        let stats = std::fs::read_dir("/proc").unwrap().flatten();
        let stats = stats.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
        let of_ours = |stat: &String| {
            let (head, rest) = stat.rsplit_once(')')?;
            let (pid, called) = head.split_once(" (")?;
            (called == name && rest.split_whitespace().nth(1)? == parent).then(|| pid.parse().ok()).flatten()
        };
        stats.filter_map(|stat| of_ours(&stat)).find_map(Pid::from_raw)
    }

    /// Waits for the end; returns exit code, rest of standard output, and standard error.
    fn end(mut self) -> (Option<i32>, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code(), out, err)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyplane-up"));
    command.args(["--json", "--gateway-port", "0", "--service-port", "session=0"]);
    command.args(["--service-port", "auth-revocation=0", "--service-port", "rate-limiting=0"]);
    command.args(["--service-port", "search=0", "--run-dir"]).arg(folder);
    command
}

/// Runs `cargo up token` for the mesh in `folder`.
fn token(folder: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyplane-up"));
    command.args(["token", "--tenant", "acme", "--user", "u-42", "--run-dir"]).arg(folder).args(more);
    command.output().unwrap()
}

async fn get(url: &str, token: &str) -> reqwest::Response {
    reqwest::Client::new().get(url).bearer_auth(token).send().await.unwrap()
}

fn is_open(address: &str) -> bool {
    let address = address.split("://").last().unwrap().parse().unwrap();
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

// === tests ===

#[tokio::test]
async fn starts_serves_rejects_a_second_start_and_stops_everything() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path());
    let gateway = up.text("/gateway").to_owned();
    let addresses = [gateway.clone(), up.text("/services/session/grpc").to_owned(), up.text("/valkey").to_owned()];

    let session = format!("{gateway}/v1/{}", up.text("/example"));
    let answer: Value = get(&session, up.text("/token")).await.json().await.unwrap();
    assert_eq!(answer["companyId"], "c-7", "{answer}");
    let policies = std::fs::read_to_string(up.text("/policies")).unwrap();
    assert!(policies.contains("id: llm-tokens"), "a file to edit: {policies}");
    for service in ["auth-revocation", "rate-limiting", "search", "session"] {
        let log = std::fs::read_to_string(folder.path().join(format!("{service}.log"))).unwrap();
        let warned = log.lines().find(|line| line.contains("not ready") && !line.contains("the store"));
        assert_eq!(warned, None, "waiting at the start is not a warning");
    }
    let document: Value = reqwest::get(up.text("/openapi")).await.unwrap().json().await.unwrap();
    assert_eq!(document["servers"][0]["url"], gateway.as_str());

    // Standard output has the token alone, for a shell to read.
    let minted = token(folder.path(), &["--ttl", "5m", "--jti", "j-1", "--sid", "s-1", "--client", "app"]);
    assert!(minted.status.success() && minted.stderr.is_empty(), "{}", stderr(&minted));
    let minted = String::from_utf8(minted.stdout).unwrap();
    assert_eq!(minted.trim_end().split('.').count(), 3, "{minted:?}");
    assert_eq!(get(&session, minted.trim_end()).await.status(), 200);
    let wrong = token(folder.path(), &["--ttl", "25h"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("1s to 24h") && wrong.stdout.is_empty(), "{}", stderr(&wrong));

    let second = command(folder.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(second.stdout.is_empty());
    assert!(stderr(&second).contains("running already"), "{}", stderr(&second));
    assert!(stderr(&second).contains(&format!("kill {}", up.child.id())), "{}", stderr(&second));

    kill_process(Pid::from_child(&up.child), Signal::TERM).unwrap();
    let (code, out, err) = up.end();
    assert_eq!((code, out.as_str()), (Some(0), ""), "{err}");
    for address in addresses {
        assert!(!is_open(&address), "{address} is still open");
    }
    let late = token(folder.path(), &[]);
    assert_eq!(late.status.code(), Some(1));
    assert!(stderr(&late).contains("is not running in") && late.stdout.is_empty(), "{}", stderr(&late));
}

#[tokio::test]
async fn given_valkey_is_used_and_left_running_and_its_password_stays_secret() {
    let valkey = keyplane_testkit::search_engine();
    let password = url::Url::parse(&valkey.url()).unwrap().password().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let up = Up::run(command(folder.path()).args(["--valkey-url", &valkey.url()]));
    let session = format!("{}/v1/{}", up.text("/gateway"), up.text("/example"));
    let answer: Value = get(&session, up.text("/token")).await.json().await.unwrap();
    assert_eq!(answer["companyId"], "c-7", "{answer}");
    let stored = valkey.command(&["EXISTS", "portal:session:{demo:ada}:index"]).unwrap();
    assert_eq!(stored.int(), Some(1), "the given store has the session");
    assert!(!up.ready.to_string().contains(&password), "the password is shown");

    kill_process(Pid::from_child(&up.child), Signal::TERM).unwrap();
    let (code, _, err) = up.end();
    assert_eq!(code, Some(0), "{err}");
    valkey.command(&["PING"]).expect("the given Valkey keeps running");
    for entry in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        let text = std::fs::read(entry.path()).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains(&password), "{:?} holds the password", entry.path());
    }
}

#[tokio::test]
async fn given_valkey_without_a_search_module_serves_all_but_search() {
    let valkey = keyplane_testkit::valkey();
    let folder = tempfile::tempdir().unwrap();
    let up = Up::run(command(folder.path()).args(["--valkey-url", &valkey.url()]));
    let lack = up.text("/unavailable/search");
    assert!(lack.starts_with("the store's engine lacks FT.CREATE") && lack.contains("; use Valkey"), "{lack}");
    let (gateway, token) = (up.text("/gateway"), up.text("/token"));
    assert_eq!(get(&format!("{gateway}/v1/{}", up.text("/example")), token).await.status(), 200);
    let answer = get(&format!("{gateway}/v1/tenants/demo/collections"), token).await;
    assert_eq!(answer.status(), 400);
    let error: Value = answer.json().await.unwrap();
    assert!(error.to_string().contains("ENGINE_FEATURE_MISSING"), "{error}");

    let demo = tempfile::tempdir().unwrap();
    let refused = command(demo.path()).args(["--demo", "--valkey-url", &valkey.url()]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("no demo: search is unavailable: the store's engine lacks"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn dead_service_is_named_and_everything_stops() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path());
    let gateway = up.text("/gateway").to_owned();
    let pid = i32::try_from(up.ready["services"]["session"]["pid"].as_u64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let start = Instant::now();
    let (code, _, err) = up.end();
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("session service ended by itself"), "{err}");
    assert!(start.elapsed() < Duration::from_secs(30));
    assert!(!is_open(&gateway));
}

#[tokio::test]
async fn dead_envoy_is_restarted_with_a_report_and_the_mesh_stays_up() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path());
    let session = format!("{}/v1/{}", up.text("/gateway"), up.text("/example"));
    let first = up.child_called("envoy").expect("an Envoy");
    kill_process(first, Signal::KILL).unwrap();
    let served = async || {
        let request = reqwest::Client::new().get(&session).bearer_auth(up.text("/token"));
        let status = request.send().await.map(|response| response.status().as_u16());
        let other = up.child_called("envoy").is_some_and(|envoy| envoy != first);
        if other && status.as_ref().is_ok_and(|status| *status == 200) { Ok(()) } else { Err(format!("{status:?}")) }
    };
    eventually("another Envoy serves", Duration::from_secs(60), served).await;
    kill_process(Pid::from_child(&up.child), Signal::TERM).unwrap();
    let (code, _, err) = up.end();
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("the gateway (Envoy) (process") && err.contains("died: signal: 9"), "{err}");
    assert!(err.contains("the gateway (Envoy) runs again"), "{err}");
}

#[test]
fn taken_port_is_reported_with_its_option() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_keyplane-up"))
        .args(["--service-port", "session=0", "--service-port", "auth-revocation=0", "--valkey-port", "0"])
        .args(["--service-port", "rate-limiting=0", "--service-port", "search=0"])
        .args(["--gateway-port", &port, "--run-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--gateway-port") && stderr(&output).contains(&port), "{}", stderr(&output));
}
