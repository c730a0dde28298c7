//! Child processes.

use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc;
use std::time::Duration;

use keyplane_engine::{Process, Signal, Spec};

const PATIENCE: Duration = Duration::from_secs(20);
/// Variable of the run of `inner`.
const INNER: &str = "KEYPLANE_TEST_INNER";

fn sh(script: &str) -> Spec {
    Spec::new("/bin/sh").arg("-c").arg(script)
}

#[test]
fn child_has_its_own_exit_code_and_output() {
    let process = Process::spawn(sh("echo out; echo err >&2; exit 7")).unwrap();
    let exit = process.wait_exit(PATIENCE).unwrap();
    assert_eq!(exit.code(), Some(7));
    assert_eq!(process.log(), "out\nerr\n");
    // Too late for a signal, which is no error.
    process.signal(Signal::TERM).unwrap();
}

/// Does nothing without the variable.
#[test]
fn inner() {
    if std::env::var_os(INNER).is_some() {
        signal_shows_as_a_signal();
    }
}

/// Runs `inner` as a script's shell runs `program &`: with SIGINT and SIGQUIT ignored.
#[test]
fn ignored_signals_are_reset_in_children() {
    let status = std::process::Command::new("/bin/sh")
        .args(["-c", r#"trap '' INT QUIT; exec "$@""#, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "inner"])
        .env(INNER, "1")
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn signal_shows_as_a_signal() {
    let process = Process::spawn(Spec::new("sleep").arg("600")).unwrap();
    assert_eq!(process.wait_exit(Duration::from_millis(50)), None);
    process.signal(Signal::INT).unwrap();
    assert_eq!(process.wait_exit(PATIENCE).unwrap().signal(), Some(Signal::INT.as_raw()));
}

#[test]
fn stop_kills_a_child_that_ignores_sigterm() {
    let (send, lines) = mpsc::channel();
    let script = "trap '' TERM; echo deaf; while :; do sleep 600; done";
    let process = Process::spawn(sh(script).on_line(move |line| drop(send.send(line.to_owned())))).unwrap();
    assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "deaf");
    let exit = process.stop(Duration::from_millis(100)).unwrap();
    assert_eq!(exit.signal(), Some(Signal::KILL.as_raw()));
    // The child's own sleep holds the pipe too: it closes once both have ended.
    assert_eq!(lines.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn lines_reach_the_callback_and_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("child.log");
    std::fs::write(&log, "earlier\n").unwrap();
    let (send, lines) = mpsc::channel();
    let spec = sh("echo one; printf 'two\\r\\n'; printf three").log_to(&log);
    let process = Process::spawn(spec.on_line(move |line| drop(send.send(line.to_owned())))).unwrap();
    let seen: Vec<String> = lines.iter().collect();
    assert_eq!(seen, ["one", "two", "three"]);
    assert_eq!(process.log(), "one\ntwo\r\nthree");
    assert!(std::fs::read_to_string(&log).unwrap().starts_with("earlier\none\n"));
}

#[test]
fn environment_and_folder_are_those_of_the_spec() {
    let folder = tempfile::tempdir().unwrap();
    let spec = sh("/usr/bin/env; pwd -P").clear_env().env("ONLY", "a b").current_dir(folder.path());
    let process = Process::spawn(spec).unwrap();
    process.wait_exit(PATIENCE).unwrap();
    let log = process.log();
    assert!(log.contains("ONLY=a b\n"), "{log}");
    assert!(!log.contains("CARGO"), "{log}");
    let expected = folder.path().canonicalize().unwrap();
    assert!(log.contains(&format!("{}\n", expected.display())), "{log}");
}

#[test]
fn standard_input_is_empty() {
    let process = Process::spawn(Spec::new("cat")).unwrap();
    assert_eq!(process.wait_exit(PATIENCE).unwrap().code(), Some(0));
}

#[test]
fn missing_program_exits_with_127() {
    let process = Process::spawn(Spec::new("no-such-program")).unwrap();
    assert_eq!(process.wait_exit(PATIENCE).unwrap().code(), Some(127));
    assert!(process.log().contains("no-such-program"), "{}", process.log());
}

#[test]
fn dropping_kills() {
    let process = Process::spawn(Spec::new("sleep").arg("600")).unwrap();
    let proc_entry = std::path::PathBuf::from(format!("/proc/{}", process.pid()));
    assert!(proc_entry.exists());
    drop(process);
    assert!(!proc_entry.exists());
}

#[tokio::test]
async fn end_can_be_awaited() {
    let process = Process::spawn(Spec::new("sleep").arg("600")).unwrap();
    let (exit, ()) = tokio::join!(process.ended(), async { process.signal(Signal::TERM).unwrap() });
    assert_eq!(exit.signal(), Some(Signal::TERM.as_raw()));
    assert_eq!(process.ended().await, exit);
}
