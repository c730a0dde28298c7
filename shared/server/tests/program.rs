//! `keyplane_server::main` as a process: arguments, exit codes, signals. This test is its own program: as a child
//! (marked by a variable that no service reads) it is the service, else it starts children.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use keyplane_server::config::ServerConfig;
use keyplane_server::{Context, Error, Readiness, Running, ServiceInfo};
use keyplane_valkey::Valkey;
use rustix::process::{Pid, Signal, kill_process};
use tonic::service::Routes;

const CHILD: &str = "KEYPLANE_TEST_CHILD";

static INFO: ServiceInfo =
    ServiceInfo { name: "sample", version: "1.2.3", grpc_services: &[], descriptors: &[], default_port: 50099 };

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_some() {
        return keyplane_server::main(&INFO, |_| (), start);
    }
    for (name, test) in [
        ("arguments", arguments as fn()),
        ("wrong_settings", wrong_settings),
        ("taken_port", taken_port),
        ("signal_drains", signal_drains),
        ("second_signal_ends_at_once", second_signal_ends_at_once),
    ] {
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

async fn start(config: ServerConfig, (): ()) -> Result<Running, Error> {
    let store = Valkey::connect(&config.store, config.app.clone())?;
    let readiness = Readiness::follows_store(async || Ok(()));
    keyplane_server::start(&INFO, config, store, readiness, |_: &Context| Routes::default()).await
}

fn arguments() {
    let (status, out, _) = run(&["--print-config"], &[("KEYPLANE_KV_URL", "valkey://u:s3cret@store:6379")]);
    assert!(status.success());
    assert!(out.contains("KEYPLANE_KV_URL=valkey://u:****@store:6379\n"), "{out}");
    assert!(out.contains("KEYPLANE_GRPC_ADDR=127.0.0.1:0\n"), "{out}");

    let (status, out, _) = run(&["--help"], &[]);
    assert!(status.success() && out.contains("KEYPLANE_DRAIN_DELAY"), "{out}");
    let (status, out, _) = run(&["--version"], &[]);
    assert!(status.success() && out == "keyplane-sample 1.2.3\n", "{out}");
    let (status, _, err) = run(&["--port=1"], &[]);
    assert!(status.code() == Some(64) && err.contains("--print-config"), "{err}");
}

fn wrong_settings() {
    let (status, _, err) =
        run(&[], &[("KEYPLANE_DRAIN_TIMEOUT", "5"), ("KEYPLANE_GRPC_ADR", "x"), ("KEYPLANE_LOG", "loud=yes=no")]);
    assert_eq!(status.code(), Some(64));
    assert!(err.starts_with("3 settings are wrong:\n"), "{err}");
    assert!(err.contains("KEYPLANE_DRAIN_TIMEOUT: \"5\" needs a unit"), "{err}");
    assert!(err.contains("did you mean KEYPLANE_GRPC_ADDR?"), "{err}");
}

fn taken_port() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (status, _, err) = run(&[], &[("KEYPLANE_GRPC_ADDR", &addr)]);
    assert_eq!(status.code(), Some(1));
    assert!(err.contains(&format!("cannot listen on {addr}")) && err.contains("KEYPLANE_GRPC_ADDR"), "{err}");
}

fn signal_drains() {
    let mut child = serving(&[]);
    send(&child, Signal::TERM);
    assert!(within(&mut child, Duration::from_secs(10)).success());
}

fn second_signal_ends_at_once() {
    let mut child = serving(&[("KEYPLANE_DRAIN_DELAY", "1h")]);
    send(&child, Signal::TERM);
    line_with(&mut child, "shutting down");
    send(&child, Signal::INT);
    assert_eq!(within(&mut child, Duration::from_secs(10)).code(), Some(1));
}

fn command(args: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(args).env(CHILD, "1").env("KEYPLANE_GRPC_ADDR", "127.0.0.1:0").env("KEYPLANE_DRAIN_DELAY", "0s");
    command.env("KEYPLANE_ADMIN_ADDR", "127.0.0.1:0").env("KEYPLANE_KV_URL", "valkey://127.0.0.1:1");
    command.envs(settings.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str], settings: &[(&str, &str)]) -> (ExitStatus, String, String) {
    let output = command(args, settings).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status, text(output.stdout), text(output.stderr))
}

/// Starts a child, and waits until it serves.
fn serving(settings: &[(&str, &str)]) -> Child {
    let mut child = command(&[], settings).spawn().unwrap();
    line_with(&mut child, "serving");
    child
}

/// Reads the child's log up to a line with `text`.
fn line_with(child: &mut Child, text: &str) {
    let mut log = BufReader::with_capacity(1, child.stderr.as_mut().unwrap());
    let mut seen = String::new();
    while log.read_line(&mut seen).unwrap() > 0 {
        if seen.lines().last().is_some_and(|line| line.contains(text)) {
            return;
        }
    }
    panic!("the child ended without {text:?}: {seen}");
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits for the child's end; it closes its log then.
fn within(child: &mut Child, limit: Duration) -> ExitStatus {
    let began = Instant::now();
    let mut log = String::new();
    child.stderr.as_mut().unwrap().read_to_string(&mut log).unwrap();
    let status = child.wait().unwrap();
    assert!(began.elapsed() < limit, "took {:?}: {log}", began.elapsed());
    status
}
