//! Erring, slow and hostile callers, through a real Envoy with the shipped configuration: each gets an error in the
//! common shape, and none harms others.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod calls;
mod cors;
mod hostile;
mod times;
mod tokens;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use keyplane_local::Mesh;
use serde_json::Value;
use support::gate::Gate;

/// Longest wait, far longer than any step needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Mesh of this test binary.
fn mesh() -> &'static Mesh {
    static MESH: OnceLock<Mesh> = OnceLock::new();
    let start = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("door");
        tokio::runtime::Runtime::new().unwrap().block_on(Mesh::start(support::options(folder))).unwrap()
    };
    MESH.get_or_init(|| std::thread::spawn(start).join().unwrap())
}

/// URL of the mesh's gateway.
fn url() -> &'static str {
    mesh().endpoints().gateway.as_deref().unwrap()
}

/// Gateway of this test binary without services behind it.
fn gate() -> &'static Gate {
    static GATE: OnceLock<Gate> = OnceLock::new();
    GATE.get_or_init(|| Gate::start("door-gate"))
}

/// Opens a connection to the gateway at `url`.
fn connect(url: &str) -> TcpStream {
    let stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends raw `bytes`, and reads the answer until the gateway closes the connection.
fn exchange(url: &str, bytes: &[u8]) -> String {
    let mut stream = connect(url);
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        // The gateway closed the connection before it read everything.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed: {error}; {}", String::from_utf8_lossy(&answer)),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Status and JSON of a raw answer.
fn parsed(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"));
    (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("not JSON: {answer:?}")))
}

/// Violations of a `BadRequest`, as `field: description`.
fn violations(error: &Value) -> Vec<String> {
    let details = error["details"].as_array().unwrap_or_else(|| panic!("no error of ours: {error}"));
    let bad = details.iter().find(|detail| detail["@type"] == "type.googleapis.com/google.rpc.BadRequest");
    let bad = bad.unwrap_or_else(|| panic!("no BadRequest: {error}"));
    let text = |one: &Value| format!("{}: {}", one["field"].as_str().unwrap(), one["description"].as_str().unwrap());
    bad["fieldViolations"].as_array().unwrap().iter().map(text).collect()
}
