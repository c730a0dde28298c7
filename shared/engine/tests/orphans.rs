//! Children end with the process that started them, after a crash too. This binary runs itself as that process.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use keyplane_engine::{Toolbox, Valkey};

/// Variable of the inner run: its kind of end.
const ENDING: &str = "KEYPLANE_TEST_ENDING";

/// Inner run; does nothing without the variable.
#[test]
fn inner() {
    let Ok(ending) = std::env::var(ENDING) else { return };
    let valkey = Valkey::builder(&Toolbox::find()).start().unwrap();
    if ending == "paused" {
        valkey.pause().unwrap();
    }
    // Straight to the stream: the harness captures println.
    writeln!(std::io::stdout(), "\nserver {}", valkey.pid().unwrap()).unwrap();
    // As a static does, it never drops.
    std::mem::forget(valkey);
    match ending.as_str() {
        "exit" => std::process::exit(0),
        "abort" => std::process::abort(),
        "panic" => panic!("as a failing test does"),
        _ => loop {
            std::thread::park();
        },
    }
}

#[test]
fn child_ends_with_an_exit() {
    leaves_nothing("exit");
}

#[test]
fn child_ends_with_a_panic() {
    leaves_nothing("panic");
}

#[test]
fn child_ends_with_an_abort() {
    leaves_nothing("abort");
}

#[test]
fn child_ends_with_a_kill() {
    leaves_nothing("kill");
}

#[test]
fn paused_child_ends_with_a_kill() {
    leaves_nothing("paused");
}

fn leaves_nothing(ending: &str) {
    let mut inner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "inner", "--nocapture"])
        .env(ENDING, ending)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(inner.stdout.take().unwrap()).lines();
    let server = lines.find_map(|line| line.unwrap().strip_prefix("server ").map(str::to_owned));
    let server = PathBuf::from("/proc").join(server.expect("the inner run starts a server"));
    // Gone already, if the inner run was quick to end; then its folder can't be known, but its end is what matters.
    let folder = config_folder(&server);
    if ["kill", "paused"].contains(&ending) {
        assert!(folder.as_ref().is_some_and(|folder| folder.exists()), "{folder:?}");
        inner.kill().unwrap();
    }
    inner.wait().unwrap();
    until(&format!("the server ends after {ending}"), || ended(&server));
    if let Some(folder) = folder {
        until(&format!("its folder goes after {ending}"), || !folder.exists());
        until(&format!("its guardian ends after {ending}"), || !someone_mentions(&folder));
    }
}

/// Folder of the configuration, from the command line.
fn config_folder(process: &Path) -> Option<PathBuf> {
    let line = std::fs::read_to_string(process.join("cmdline")).ok()?;
    let config = line.split('\0').find(|arg| arg.ends_with("valkey.conf"));
    // The server sets its own title once it runs; its folder is its working folder then.
    config
        .map_or_else(|| std::fs::read_link(process.join("cwd")).ok(), |path| Some(Path::new(path).parent()?.to_owned()))
}

/// Reports whether the process is missing, or waits to be reaped by its new parent.
fn ended(process: &Path) -> bool {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

fn someone_mentions(folder: &Path) -> bool {
    let folder = folder.display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).contains(&folder))
}

fn until(goal: &str, mut test: impl FnMut() -> bool) {
    let start = Instant::now();
    while !test() {
        assert!(start.elapsed() < Duration::from_secs(20), "not within 20 s: {goal}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
