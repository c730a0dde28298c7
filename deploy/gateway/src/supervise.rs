//! Envoy and its guard: started, restarted, drained and stopped.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyplane_engine::{Envoy, Process, Spec, Toolbox};

use crate::keep::{Kept, Say};
use crate::{Error, Socket};

/// Longest time until the guard listens.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest time that a process may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// Processes to run, and how.
pub struct Setup {
    /// Envoy's configuration, which names [`Setup::socket`].
    pub configuration: String,
    /// Finds Envoy.
    pub toolbox: Toolbox,
    /// Socket of the guard.
    pub socket: Socket,
    /// Makes what starts the guard, e.g. this program with the arguments `guard --socket PATH`.
    pub guard: Box<dyn Fn(&Path) -> Spec + Send + Sync>,
    /// Receives each line for the operator.
    pub say: Say,
}

/// Envoy and its guard, each of which is restarted when it dies. Dropping it kills both.
pub struct Supervisor {
    // In the order in which they are to be dropped.
    envoy: Kept<Envoy>,
    guard: Kept<Process>,
    _socket: Socket,
}

// === impl Supervisor ===

impl Supervisor {
    /// Starts the guard, then Envoy, and blocks until both are ready.
    ///
    /// # Errors
    ///
    /// When one of them does not become ready; then neither runs.
    pub fn start(setup: Setup) -> Result<Supervisor, Error> {
        let Setup { configuration, toolbox, socket, guard, say } = setup;
        let (path, folder) = (socket.path(), socket.folder().to_owned());
        let start = move || start_guard(guard(&path).remove_when_orphaned(&folder), &path);
        let guard = Kept::start("the gateway's guard", Arc::clone(&say), start)?;
        let start = move || Ok(Envoy::start(&toolbox, &configuration)?);
        let envoy = Kept::start("the gateway (Envoy)", say, start)?;
        Ok(Supervisor { envoy, guard, _socket: socket })
    }

    /// The Envoy that runs now, or ran last.
    #[must_use]
    pub fn envoy(&self) -> Arc<Envoy> {
        self.envoy.current()
    }

    /// The guard that runs now, or ran last.
    #[must_use]
    pub fn guard(&self) -> Arc<Process> {
        self.guard.current()
    }

    /// Times that Envoy or the guard was restarted.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.envoy.restarts() + self.guard.restarts()
    }

    /// Stops both in good order: `/healthz` says 503, and after `delay`, by which load balancers have noticed, Envoy accepts
    /// no more connections and ends what is in flight, for at most `timeout`. Blocks.
    ///
    /// # Errors
    ///
    /// When a process can't be stopped.
    pub fn stop(self, delay: Duration, timeout: Duration) -> Result<(), Error> {
        let (envoy, guard) = (self.envoy.release(), self.guard.release());
        drain(&envoy, delay, timeout);
        let (envoy, guard) = (envoy.process().stop(GRACE), guard.stop(GRACE));
        envoy?;
        guard?;
        self.envoy.join();
        self.guard.join();
        Ok(())
    }
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("envoy", &self.envoy()).field("guard", &self.guard()).finish()
    }
}

fn start_guard(spec: Spec, socket: &Path) -> Result<Process, Error> {
    let process = Process::spawn(spec)?;
    let start = Instant::now();
    loop {
        // A socket that an earlier guard left does not accept.
        if UnixStream::connect(socket).is_ok() {
            return Ok(process);
        }
        let why = match process.wait_exit(Duration::from_millis(10)) {
            Some(exit) => format!("ended with {exit}"),
            None if start.elapsed() > PATIENCE => format!("did not listen within {PATIENCE:?}"),
            None => continue,
        };
        return Err(Error::NotReady { why, log: process.log() });
    }
}

/// Waits for Envoy's requests in flight; not where Envoy does not answer.
fn drain(envoy: &Envoy, delay: Duration, timeout: Duration) {
    if envoy.admin_post("/healthcheck/fail").is_err() || envoy.process().wait_exit(delay).is_some() {
        return;
    }
    if envoy.admin_post("/drain_listeners").is_err() {
        return;
    }
    let end = Instant::now() + timeout;
    while Instant::now() < end && in_flight(envoy) != Some(0) {
        if envoy.process().wait_exit(Duration::from_millis(50)).is_some() {
            return;
        }
    }
}

/// Number of requests in flight.
fn in_flight(envoy: &Envoy) -> Option<u64> {
    let stats = envoy.admin_get("/stats?filter=^http.gateway.downstream_rq_active$").ok()?;
    stats.trim().rsplit(' ').next()?.parse().ok()
}
