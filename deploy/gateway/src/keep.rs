//! A process that is started anew whenever it ends by itself.

use std::process::ExitStatus;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use keyplane_engine::{Envoy, Process};

use crate::Error;

/// Pause before the first restart; it doubles with each further one, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After this long, a process counts as well again: its next end is a first one.
const WELL_AFTER: Duration = Duration::from_secs(30);
/// Lines of a dead process's log that are shown.
const SHOWN: usize = 10;

/// Receives each line for the operator.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Child process that can be kept.
pub(crate) trait Child: Send + Sync + 'static {
    fn process(&self) -> &Process;
}

/// Keeps one process running. Dropping it kills the process.
pub(crate) struct Kept<C: Child> {
    shared: Arc<Shared<C>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<C> {
    name: &'static str,
    say: Say,
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

// === impl Kept ===

impl<C: Child> Kept<C> {
    /// Starts it, and blocks until `start` returns; further calls of `start` are made on a thread of its own.
    ///
    /// # Errors
    ///
    /// When it does not even start once.
    pub(crate) fn start(
        name: &'static str,
        say: Say,
        start: impl Fn() -> Result<C, Error> + Send + 'static,
    ) -> Result<Kept<C>, Error> {
        let state = State { current: Arc::new(start()?), restarts: 0, stopping: false };
        let shared = Arc::new(Shared { name, say, state: Mutex::new(state), stopping: Condvar::new() });
        let watched = Arc::clone(&shared);
        let thread = thread::Builder::new().name("keep".to_owned()).spawn(move || watched.keep(start));
        Ok(Kept { shared, thread: Some(thread.map_err(Error::io("starting a thread"))?) })
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

    /// Waits for the thread, so that nothing of the process is left in use. To be called when the process has ended after
    /// [`Kept::release`]; a restart that is under way is waited for.
    pub(crate) fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            // It has no panic of its own.
            let _ = thread.join();
        }
    }
}

impl<C: Child> Drop for Kept<C> {
    fn drop(&mut self) {
        let _ = self.release().process().kill();
    }
}

// === impl Shared ===

impl<C: Child> Shared<C> {
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, start: impl Fn() -> Result<C, Error>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let (child, since) = (Arc::clone(&self.lock().current), Instant::now());
            let exit = ended(child.process());
            if since.elapsed() > WELL_AFTER {
                pause = FIRST_PAUSE;
            }
            if self.lock().stopping {
                return;
            }
            self.mourn(child.process(), exit, pause);
            drop(child);
            if !self.again(&start, &mut pause) {
                return;
            }
        }
    }

    /// Starts it until it runs; false when it is no longer wanted.
    fn again(&self, start: &impl Fn() -> Result<C, Error>, pause: &mut Duration) -> bool {
        loop {
            if self.stopped_within(*pause) {
                return false;
            }
            *pause = LONGEST_PAUSE.min(*pause * 2);
            match start() {
                Ok(child) => {
                    let mut state = self.lock();
                    state.restarts += 1;
                    // If it is no longer wanted, dropping it is what stops it.
                    if !state.stopping {
                        state.current = Arc::new(child);
                        (self.say)(&format!("{} runs again, as process {}", self.name, state.current.process().pid()));
                    }
                    return !state.stopping;
                }
                Err(error) => {
                    (self.say)(&format!("{} can't be restarted; next attempt in {pause:?}: {error}", self.name));
                }
            }
        }
    }

    fn stopped_within(&self, pause: Duration) -> bool {
        let wanted = |state: &mut State<C>| !state.stopping;
        let waited = self.stopping.wait_timeout_while(self.lock(), pause, wanted);
        waited.unwrap_or_else(PoisonError::into_inner).0.stopping
    }

    fn mourn(&self, process: &Process, exit: ExitStatus, pause: Duration) {
        let log = process.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
        let (name, pid) = (self.name, process.pid());
        (self.say)(&format!(
            "{name} (process {pid}) died: {exit}; it is restarted in {pause:?}; the end of its log:\n{tail}"
        ));
    }
}

fn ended(process: &Process) -> ExitStatus {
    loop {
        if let Some(exit) = process.wait_exit(Duration::from_secs(3600)) {
            return exit;
        }
    }
}
