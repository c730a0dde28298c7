//! Valkey server.

mod agreement;
mod builder;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Error;
use crate::process::{Process, Spec};
use crate::resp::{Connection, Reply};

pub use builder::ValkeyBuilder;
pub(crate) use builder::new_password;

/// Longest time until a server answers: its modules load, and other tests may keep the machine busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// User without the commands that ElastiCache Serverless lacks.
const USER: &str = "keyplane";

/// Valkey server on a loopback port, in memory only, with its own folder. Dropping it stops it.
///
/// Shareable: every method takes `&self`.
#[derive(Debug)]
pub struct Valkey {
    port: u16,
    password: Option<String>,
    folder: PathBuf,
    program: PathBuf,
    process: Mutex<Option<Process>>,
    paused: AtomicBool,
    _scratch: Option<tempfile::TempDir>,
}

// === impl Valkey ===

impl Valkey {
    /// `valkey://keyplane:<password>@127.0.0.1:<port>`: the user without the commands that ElastiCache Serverless lacks.
    /// Without [`ValkeyBuilder::acl_serverless`] equal to [`Valkey::admin_url`].
    #[must_use]
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("valkey://{USER}:{password}@127.0.0.1:{}", self.port),
            None => self.admin_url(),
        }
    }

    /// `valkey://127.0.0.1:<port>`: the default user, with all rights and no password.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("valkey://127.0.0.1:{}", self.port)
    }

    /// Port of the server, the same after each restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id; `None` while the server is stopped or killed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Process::pid)
    }

    /// Log of the server, over all restarts.
    #[must_use]
    pub fn log(&self) -> String {
        crate::process::read_lossy(&self.folder.join("valkey.log"))
    }

    /// Runs one command as the default user, on its own connection. Blocks for at most five seconds.
    ///
    /// # Errors
    /// The server can't be reached, or answers with an error.
    pub fn command(&self, args: &[&str]) -> Result<Reply, Error> {
        let failed = |detail: String| Error::Command {
            command: args.first().copied().unwrap_or("(no command)").to_owned(),
            port: self.port,
            detail,
        };
        let reply = Connection::open(self.port).and_then(|mut connection| connection.call(args));
        match reply.map_err(|error| failed(error.to_string()))? {
            Reply::Error(error) => Err(failed(error)),
            reply @ (Reply::Nil | Reply::Int(_) | Reply::Text(_) | Reply::Array(_)) => Ok(reply),
        }
    }

    /// Kills the server (SIGKILL), like a crash. Its data is lost. Does nothing unless it is running.
    ///
    /// # Errors
    /// The server can't be killed.
    pub fn kill(&self) -> Result<(), Error> {
        self.process().take().map_or(Ok(()), |process| process.kill().map(drop))
    }

    /// Stops the server (SIGTERM). Does nothing unless it is running.
    ///
    /// # Errors
    /// The server can't be stopped.
    pub fn stop(&self) -> Result<(), Error> {
        self.process().take().map_or(Ok(()), |process| process.stop(Duration::from_secs(5)).map(drop))
    }

    /// Starts the server on the same port, empty; kills a running one first. Blocks until it answers.
    ///
    /// # Errors
    /// The server does not start: another program may hold the port by now.
    pub fn restart(&self) -> Result<(), Error> {
        let mut process = self.process();
        if let Some(old) = process.take() {
            old.kill()?;
        }
        let start = Instant::now();
        loop {
            match run(&self.program, &self.folder, self.port) {
                Ok(new) => {
                    *process = Some(new);
                    self.paused.store(false, Ordering::SeqCst);
                    return Ok(());
                }
                // A short-lived connection may hold the port for a moment.
                Err(error) if port_taken(&error) && start.elapsed() < Duration::from_secs(5) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Freezes the server (SIGSTOP): connections stay open, the kernel accepts new ones, and none gets an answer.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or the server can't be signalled.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)?;
        self.paused.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Ends a [`Valkey::pause`].
    ///
    /// # Errors
    /// [`Error::NotRunning`], or the server can't be signalled.
    pub fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)?;
        self.paused.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Reports whether the server is neither stopped nor killed nor paused.
    pub(crate) fn answers(&self) -> bool {
        self.pid().is_some() && !self.paused.load(Ordering::SeqCst)
    }

    /// Waits for at most `patience` while the server runs; returns whether it still runs then.
    pub(crate) fn runs_on_for(&self, patience: Duration) -> bool {
        self.process().as_ref().is_some_and(|process| process.wait_exit(patience).is_none())
    }

    pub(crate) fn credentials(&self) -> String {
        self.password.as_ref().map_or_else(String::new, |password| format!("{USER}:{password}@"))
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let process = self.process();
        let process = process.as_ref().ok_or_else(|| Error::NotRunning { program: "valkey-server".to_owned() })?;
        process.signal(signal)
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === starting ===

/// Mark of a folder that is removed with its server.
const TEMPORARY: &str = ".temporary";

/// Starts the server in `folder` and waits until it answers. Checks the process id: the port may be another server's.
fn run(program: &Path, folder: &Path, port: u16) -> Result<Process, Error> {
    let log = folder.join("valkey.log");
    let mut spec = Spec::new(program).name("valkey-server").arg(folder.join("valkey.conf")).log_to(&log);
    if folder.join(TEMPORARY).exists() {
        spec = spec.remove_when_orphaned(folder);
    }
    let process = Process::spawn(spec)?;
    let pid = format!("process_id:{}\r\n", process.pid());
    let answers = || {
        let mut connection = Connection::open(port).ok()?;
        let info = connection.call(&["INFO", "server"]).ok()?;
        let pong = connection.call(&["PING"]).ok()?;
        (info.text()?.contains(&pid) && pong.text()? == "PONG").then_some(())
    };
    process.wait_until(PATIENCE, answers)?;
    Ok(process)
}

fn port_taken(error: &Error) -> bool {
    error.to_string().contains("Address already in use")
}
