//! Supervisor of Envoy and its guard: starts, restarts, drains and stops them.

mod restart;
mod socket;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyplane_engine::{Envoy, Process, Spec, Toolbox};

pub use self::restart::Report;
use self::restart::Restarting;
pub use self::socket::Socket;
use crate::Error;

/// Longest wait for the guard to listen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for a process to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// Description of the processes to run.
pub struct Setup {
    /// Envoy's configuration, which names [`Setup::socket`].
    pub configuration: String,
    /// Finder of Envoy's program.
    pub toolbox: Toolbox,
    /// Socket of the guard.
    pub socket: Socket,
    /// Command that starts the guard on a socket, e.g. this program with the arguments `guard PATH`.
    pub guard: Box<dyn Fn(&Path) -> Spec + Send + Sync>,
    /// Receiver of each line for the operator.
    pub report: Report,
}

/// Running Envoy and guard, each restarted when it dies. Dropping it kills both.
pub struct Supervisor {
    // Fields are dropped in this order.
    envoy: Restarting<Envoy>,
    guard: Restarting<Process>,
    _socket: Socket,
}

// === impl Supervisor ===

impl Supervisor {
    /// Starts the guard, then Envoy, and blocks until both are ready.
    ///
    /// # Errors
    ///
    /// [`Error::Process`] or [`Error::NotReady`] when one of them does not become ready; then neither runs.
    pub fn start(setup: Setup) -> Result<Supervisor, Error> {
        let Setup { configuration, toolbox, socket, guard, report } = setup;
        let (path, folder) = (socket.path(), socket.folder().to_owned());
        let start = move || start_guard(guard(&path).remove_when_orphaned(&folder), &path);
        let guard = Restarting::start("the gateway's guard", Arc::clone(&report), start)?;
        let start = move || Ok(Envoy::start(&toolbox, &configuration)?);
        let envoy = Restarting::start("the gateway (Envoy)", report, start)?;
        Ok(Supervisor { envoy, guard, _socket: socket })
    }

    /// Envoy that runs now, or ran last.
    #[must_use]
    pub fn envoy(&self) -> Arc<Envoy> {
        self.envoy.current()
    }

    /// Guard that runs now, or ran last.
    #[must_use]
    pub fn guard(&self) -> Arc<Process> {
        self.guard.current()
    }

    /// Number of restarts, of Envoy and of the guard together.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.envoy.restarts() + self.guard.restarts()
    }

    /// Drains and stops both. Blocks.
    ///
    /// `/healthz` answers 503 for `delay`, the time for load balancers to notice. Envoy then accepts no more connections, and
    /// requests in flight have `timeout` to end.
    ///
    /// # Errors
    ///
    /// [`Error::Process`] when a process can't be stopped.
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
        // A socket that an earlier guard left accepts no connection.
        if UnixStream::connect(socket).is_ok() {
            return Ok(process);
        }
        let cause = match process.wait_exit(Duration::from_millis(10)) {
            Some(exit) => format!("ended with {exit}"),
            None if start.elapsed() > PATIENCE => format!("did not listen within {PATIENCE:?}"),
            None => continue,
        };
        return Err(Error::NotReady { cause, log: process.log() });
    }
}

/// Waits for Envoy's requests in flight, unless Envoy does not answer.
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
