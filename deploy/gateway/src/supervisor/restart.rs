//! Child process that is restarted whenever it ends by itself.

use std::process::ExitStatus;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use keyplane_engine::{Envoy, Process};

use crate::Error;

/// Pause before the first restart; it doubles with each further one, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Running time after which a process is healthy again: its next restart has the first pause.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
/// Lines of a dead process's log that are reported.
const REPORTED_LINES: usize = 10;

/// Receiver of each line for the operator.
pub type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// Child process that can be restarted.
pub(crate) trait Child: Send + Sync + 'static {
    fn process(&self) -> &Process;
}

/// Process that is restarted until it is released. Dropping it kills the process.
pub(crate) struct Restarting<C: Child> {
    shared: Arc<Shared<C>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<C> {
    name: &'static str,
    report: Report,
    state: Mutex<State<C>>,
    stopping: Condvar,
}

struct State<C> {
    current: Arc<C>,
    restarts: u32,
    stopping: bool,
}

impl Child for Envoy {
    fn process(&self) -> &Process {
        Envoy::process(self)
    }
}

impl Child for Process {
    fn process(&self) -> &Process {
        self
    }
}

// === impl Restarting ===

impl<C: Child> Restarting<C> {
    /// Starts the process, and blocks until `start` returns. Restarts call `start` on another thread.
    ///
    /// # Errors
    ///
    /// Error of the first `start`.
    pub(crate) fn start(
        name: &'static str,
        report: Report,
        start: impl Fn() -> Result<C, Error> + Send + 'static,
    ) -> Result<Restarting<C>, Error> {
        let state = State { current: Arc::new(start()?), restarts: 0, stopping: false };
        let shared = Arc::new(Shared { name, report, state: Mutex::new(state), stopping: Condvar::new() });
        let watched = Arc::clone(&shared);
        let thread = thread::Builder::new().name("restart".to_owned()).spawn(move || watched.run(&start));
        Ok(Restarting { shared, thread: Some(thread.map_err(Error::io("starting a thread"))?) })
    }

    /// Process that runs now, or ran last.
    pub(crate) fn current(&self) -> Arc<C> {
        Arc::clone(&self.shared.lock().current)
    }

    /// Number of restarts.
    pub(crate) fn restarts(&self) -> u32 {
        self.shared.lock().restarts
    }

    /// Ends the restarts, and returns the process.
    pub(crate) fn release(&self) -> Arc<C> {
        let mut state = self.shared.lock();
        state.stopping = true;
        self.shared.stopping.notify_all();
        Arc::clone(&state.current)
    }

    /// Waits for the thread, and for a restart in flight. Call it once the process has ended after
    /// [`Restarting::release`].
    pub(crate) fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            // The thread does not panic.
            let _ = thread.join();
        }
    }
}

impl<C: Child> Drop for Restarting<C> {
    fn drop(&mut self) {
        let _ = self.release().process().kill();
    }
}

// === impl Shared ===

impl<C: Child> Shared<C> {
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, start: &impl Fn() -> Result<C, Error>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let (child, since) = (Arc::clone(&self.lock().current), Instant::now());
            let exit = wait_exit(child.process());
            if since.elapsed() > HEALTHY_AFTER {
                pause = FIRST_PAUSE;
            }
            if self.lock().stopping {
                return;
            }
            self.report_exit(child.process(), exit, pause);
            drop(child);
            if !self.restart(start, &mut pause) {
                return;
            }
        }
    }

    /// Calls `start` until the process runs; false once it is released.
    fn restart(&self, start: &impl Fn() -> Result<C, Error>, pause: &mut Duration) -> bool {
        loop {
            if self.stopped_within(*pause) {
                return false;
            }
            *pause = LONGEST_PAUSE.min(*pause * 2);
            match start() {
                Ok(child) => {
                    let mut state = self.lock();
                    state.restarts += 1;
                    // Dropping the child of a released process stops it.
                    if !state.stopping {
                        state.current = Arc::new(child);
                        (self.report)(&format!(
                            "{} runs again, as process {}",
                            self.name,
                            state.current.process().pid()
                        ));
                    }
                    return !state.stopping;
                }
                Err(error) => {
                    (self.report)(&format!("{} can't be restarted; next attempt in {pause:?}: {error}", self.name));
                }
            }
        }
    }

    fn stopped_within(&self, pause: Duration) -> bool {
        let wanted = |state: &mut State<C>| !state.stopping;
        let waited = self.stopping.wait_timeout_while(self.lock(), pause, wanted);
        waited.unwrap_or_else(PoisonError::into_inner).0.stopping
    }

    fn report_exit(&self, process: &Process, exit: ExitStatus, pause: Duration) {
        let log = process.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(REPORTED_LINES)..].join("\n");
        let (name, pid) = (self.name, process.pid());
        (self.report)(&format!(
            "{name} (process {pid}) died: {exit}; restarting it in {pause:?}; the end of its log:\n{tail}"
        ));
    }
}

/// Waits until a process ends, however long it runs.
fn wait_exit(process: &Process) -> ExitStatus {
    loop {
        if let Some(exit) = process.wait_exit(Duration::from_secs(3600)) {
            return exit;
        }
    }
}
