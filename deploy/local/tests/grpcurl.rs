//! Commands that `cargo up` prints, run unchanged in a shell.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use keyplane_engine::{GrpcClient, Process, Spec, Toolbox};
use keyplane_local::Mesh;
use keyplane_testkit::eventually;
use serde_json::Value;

/// Longest wait; the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// Script that translates the guide's grpcurl commands to `buf curl`.
const BUF_AS_GRPCURL: &str = r#"#!/bin/sh
set -eu
[ "$1" = -plaintext ] && shift
if [ "$1" = -d ]; then set -- "$3" "$4" -d "$2"; fi
address=http://$1 what=$2
shift 2
case $what in
    list) exec "$BUF" curl --protocol grpc --http2-prior-knowledge --list-services "$address" ;;
    describe) exec "$BUF" curl --protocol grpc --http2-prior-knowledge --list-methods "$address" ;;
    *) exec "$BUF" curl --protocol grpc --http2-prior-knowledge "$@" "$address/$what" ;;
esac
"#;

/// Script that replaces curl, in the Python that the toolbox needs.
const PYTHON_AS_CURL: &str = r#"#!/usr/bin/env python3
import getopt, sys, urllib.error, urllib.request
options, urls = getopt.gnu_getopt(sys.argv[1:], "sNX:H:d:")
given = dict(options)
headers = dict(value.split(": ", 1) for name, value in options if name == "-H")
body = given["-d"].encode() if "-d" in given else None
try:
    answer = urllib.request.urlopen(urllib.request.Request(urls[0], body, headers, method=given.get("-X")))
except urllib.error.HTTPError as error:
    answer = error
for line in answer:
    print(line.decode(), end="", flush=True)
"#;

/// Script that replaces `cargo up`, which a test must not build.
const BUILT_AS_CARGO: &str = r#"#!/bin/sh
[ "$1" = up ] && shift && exec "$KEYPLANE_LOCAL_UP" "$@"
"#;

/// Shell whose `grpcurl` is the client under test.
struct Shell {
    path: String,
    buf: PathBuf,
    folder: tempfile::TempDir,
    token: String,
}

// === impl Shell ===

impl Shell {
    fn new(client: &GrpcClient) -> Shell {
        let folder = tempfile::tempdir().unwrap();
        let mut buf = PathBuf::new();
        match client {
            GrpcClient::Grpcurl(path) => std::os::unix::fs::symlink(path, folder.path().join("grpcurl")).unwrap(),
            GrpcClient::BufCurl(path) => {
                script(&folder.path().join("grpcurl"), BUF_AS_GRPCURL);
                buf.clone_from(path);
            }
        }
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        script(&folder.path().join("cargo"), BUILT_AS_CARGO);
        Shell { path, buf, folder, token: String::new() }
    }

    /// Runs a command that sets TOKEN for later commands.
    async fn take_token(&mut self, line: &str) {
        let said = self.run(&format!("{line}; echo \"$TOKEN\"")).await;
        said.trim().clone_into(&mut self.token);
    }

    /// Replaces curl.
    fn with_python_as_curl(self) -> Shell {
        script(&self.folder.path().join("curl"), PYTHON_AS_CURL);
        self
    }

    fn start(&self, line: &str) -> Process {
        let spec = Spec::new("/bin/sh").name(line).args(["-c", line]);
        let spec = spec.env("PATH", &self.path).env("BUF", &self.buf).env("TOKEN", &self.token);
        Process::spawn(spec.env("KEYPLANE_LOCAL_UP", env!("CARGO_BIN_EXE_keyplane-up"))).unwrap()
    }

    /// Runs a command to success, and returns its output.
    async fn run(&self, line: &str) -> String {
        let process = self.start(line);
        let exit = tokio::time::timeout(PATIENCE, process.ended()).await;
        let exit = exit.unwrap_or_else(|_| panic!("{line}: still running; so far: {}", process.log()));
        assert!(exit.success(), "{line}: {exit}: {}", process.log());
        process.log()
    }

    async fn json(&self, line: &str) -> Value {
        let text = self.run(line).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
    }

    /// Runs a command until it has printed all `parts`, then stops it.
    async fn watch(&self, line: &str, parts: &[&str]) {
        let process = self.start(line);
        eventually(line, PATIENCE, async || {
            let log = process.log();
            if parts.iter().all(|part| log.contains(part)) { Ok(()) } else { Err(log) }
        })
        .await;
        assert_eq!(process.exit(), None, "{line}: it ended: {}", process.log());
        process.kill().unwrap();
    }
}

fn script(path: &Path, text: &str) {
    // Another process copies it: a script can't run while this process, or a new child, has it open for writing.
    let from = path.with_extension("txt");
    std::fs::write(&from, text).unwrap();
    let copy = std::process::Command::new("install").args(["-m", "755"]).args([&from, path]).status().unwrap();
    assert!(copy.success());
}

// === the guide ===

async fn mesh(folder: &str, gateway: bool) -> Mesh {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let mut options = support::options(folder);
    options.gateway = gateway;
    Mesh::start(options).await.unwrap()
}

/// Commands of the guide that start with `start`.
fn lines(mesh: &Mesh, start: &str) -> Vec<String> {
    let start = format!("  {start}");
    let guide = mesh.endpoints().guide();
    guide.lines().filter(|line| line.starts_with(&start)).map(|line| line.trim_start().to_owned()).collect()
}

/// Runs the guide's grpcurl commands. `made`: the fourth creates a session instead of reading the example.
async fn runs_grpcurl_lines(mesh: &Mesh, client: &GrpcClient, made: bool) {
    let shell = Shell::new(client);
    let lines = <[String; 10]>::try_from(lines(mesh, "grpcurl ")).unwrap();
    let [list, describe, health, call, watch, check, acquire, ask, search, collections] = lines;

    let services = shell.run(&list).await;
    for service in ["keyplane.session.v1.SessionService", "grpc.health.v1.Health"] {
        assert!(services.lines().any(|line| line == service), "{list}: {services}");
    }
    let methods = shell.run(&describe).await;
    for method in ["CreateSession", "GetSession", "UpdateSession", "WatchSessions"] {
        assert!(methods.contains(method), "{describe}: {methods}");
    }
    assert_eq!(shell.json(&health).await["status"], "SERVING");

    let session = shell.json(&call).await;
    let name = session["name"].as_str().unwrap_or_else(|| panic!("{call}: {session}"));
    assert!(name.starts_with("tenants/demo/users/ada/sessions/"), "{name}");
    assert_eq!(session["version"], 1, "{session}");
    assert_eq!(call.contains("CreateSession"), made, "{call}");
    shell.watch(&watch, &["TYPE_SNAPSHOT", name]).await;
    let checked = shell.json(&check).await;
    assert_eq!(checked["verdict"], "VERDICT_ACTIVE", "{checked}");
    assert_eq!(checked["freshness"]["source"], "SOURCE_LOCAL", "{checked}");
    let acquired = shell.json(&acquire).await;
    assert_eq!((&acquired["admitted"], &acquired["source"]), (&true.into(), &"SOURCE_STORE".into()), "{acquired}");
    let limited = shell.json(&ask).await;
    assert_eq!((&limited["overallCode"], &limited["statuses"][0]["code"]), (&"OK".into(), &"OK".into()), "{limited}");
    let described = shell.run(&search).await;
    assert!(described.contains("SearchDocuments"), "{search}: {described}");
    assert!(shell.json(&collections).await.is_object(), "{collections}");
}

/// Runs the guide's curl commands, after one that sets TOKEN. `revoked`: the printed token is revoked already.
async fn runs_curl_lines(mesh: &Mesh, shell: &mut Shell, token: &str, revoked: bool) {
    shell.take_token(token).await;
    let lines = <[String; 13]>::try_from(lines(mesh, "curl ")).unwrap();
    let [create, read, change, watch, acquire, explain, collection, write, search, get, check, revoke, again] = lines;
    let example = mesh.endpoints().example.as_deref();

    let made = shell.json(&create).await;
    assert_eq!((&made["companyId"], &made["lastPath"]), (&Value::from("c-7"), &Value::from("/tasks")), "{made}");
    let session = shell.json(&read).await;
    assert_eq!(session["name"].as_str(), example, "{session}");
    let changed = shell.json(&change).await;
    assert_eq!((changed["name"].as_str(), changed["lastPath"].as_str()), (example, Some("/tasks/42")), "{changed}");
    shell.watch(&watch, &["event: snapshot", "id: ", "/tasks/42"]).await;

    // The second run is denied; `revoked`: the commands were run before.
    let acquired = shell.json(&acquire).await;
    assert_eq!(acquired["admitted"], !revoked, "{acquired}");
    let rejected = shell.json(&acquire).await;
    assert_eq!((&rejected["admitted"], &rejected["limits"][0]["verdict"]), (&false.into(), &"VERDICT_DENIED".into()));
    let explained = shell.json(&explain).await;
    assert_eq!(explained["limits"][0]["policy"]["name"], "policies/llm-tokens", "{explained}");
    assert_eq!(explained["limits"][0]["rule"], "default", "{explained}");

    let named = shell.json(&collection).await;
    let is_new = named["name"] == "tenants/demo/collections/partners";
    assert!(is_new != revoked && (is_new || named["details"][0]["reason"] == "COLLECTION_EXISTS"), "{named}");
    assert_eq!(shell.json(&write).await["failedCount"], 0, "{write}");
    for (line, id) in [(&search, "c-1"), (&get, "c-1")] {
        let found = shell.json(line).await;
        assert_eq!(found["hits"][0]["document"]["documentId"], id, "{line}: {found}");
    }

    let checked = shell.json(&check).await;
    assert_eq!(checked["verdict"], if revoked { "VERDICT_REVOKED" } else { "VERDICT_ACTIVE" }, "{checked}");
    assert_eq!(shell.json(&revoke).await, serde_json::json!({}));
    let rejected = shell.json(&again).await;
    assert_eq!(support::reason(&rejected), (16, "TOKEN_REVOKED"), "{rejected}");
}

fn client() -> GrpcClient {
    GrpcClient::ensure(&Toolbox::find()).unwrap()
}

// === tests ===

#[tokio::test]
async fn printed_grpcurl_commands_work_without_a_gateway() {
    let mesh = mesh("grpcurl-alone", false).await;
    let client = tokio::task::spawn_blocking(client).await.unwrap();
    assert_eq!(lines(&mesh, "curl "), Vec::<String>::new());
    runs_grpcurl_lines(&mesh, &client, true).await;
    // Replacement of grpcurl on machines without Go.
    let buf = tokio::task::spawn_blocking(|| GrpcClient::buf(&Toolbox::find()).unwrap()).await.unwrap();
    runs_grpcurl_lines(&mesh, &buf, true).await;
    mesh.stop().await.unwrap();
}

#[tokio::test]
async fn printed_commands_work_with_a_gateway() {
    let mesh = mesh("grpcurl-gateway", true).await;
    let client = tokio::task::spawn_blocking(client).await.unwrap();
    runs_grpcurl_lines(&mesh, &client, false).await;

    let [printed, mint] = <[String; 2]>::try_from(lines(&mesh, "TOKEN=")).unwrap();
    runs_curl_lines(&mesh, &mut Shell::new(&client).with_python_as_curl(), &printed, false).await;
    let curl = std::process::Command::new("curl").arg("--version").output();
    if curl.is_ok_and(|output| output.status.success()) {
        runs_curl_lines(&mesh, &mut Shell::new(&client), &mint, true).await;
    }
    let mut shell = Shell::new(&client).with_python_as_curl();
    runs_curl_lines(&mesh, &mut shell, &mint, true).await;
    mesh.stop().await.unwrap();
}
