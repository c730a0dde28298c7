//! Child processes that end with this one, and their output.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::guardian::{GATE, Guardian};
use crate::{Error, guardian, signals};

type LineCallback = Box<dyn FnMut(&str) + Send>;

/// Specification of a child process.
pub struct Spec {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    clear_env: bool,
    current_dir: Option<PathBuf>,
    log: Option<PathBuf>,
    on_line: Option<LineCallback>,
    remove: Option<PathBuf>,
}

/// Running or ended child process. It has its own process group, an empty standard input, and default SIGINT and SIGQUIT.
/// Dropping the value kills it, and so does any end of this process.
pub struct Process {
    name: String,
    pid: Pid,
    state: Arc<State>,
    log: PathBuf,
    /// Offset of this child's output in the log, in bytes.
    log_start: u64,
    _scratch: Option<tempfile::TempPath>,
}

struct State {
    exit: Mutex<Option<ExitStatus>>,
    ended: Condvar,
    ended_async: tokio::sync::Notify,
}

// === impl Spec ===

impl Spec {
    /// Runs `program`; messages name it by its file name.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Spec {
        let program = program.into();
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        Spec {
            name,
            program,
            args: Vec::new(),
            envs: Vec::new(),
            clear_env: false,
            current_dir: None,
            log: None,
            on_line: None,
            remove: None,
        }
    }

    /// Sets the name in messages.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Spec {
        self.name = name.into();
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Spec {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Spec {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable for the child.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Spec {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Hides this process's environment: the child sees only the variables of [`Spec::env`].
    #[must_use]
    pub fn clear_env(mut self) -> Spec {
        self.clear_env = true;
        self
    }

    /// Sets the child's working folder.
    #[must_use]
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> Spec {
        self.current_dir = Some(folder.into());
        self
    }

    /// Appends the child's output (both streams) to this file. Default: a temporary file.
    #[must_use]
    pub fn log_to(mut self, file: impl Into<PathBuf>) -> Spec {
        self.log = Some(file.into());
        self
    }

    /// Also calls `on_line` with each line of output, without its line end, on its own thread.
    #[must_use]
    pub fn on_line(mut self, on_line: impl FnMut(&str) + Send + 'static) -> Spec {
        self.on_line = Some(Box::new(on_line));
        self
    }

    /// Removes a folder if this process ends without dropping the [`Process`]. The caller removes it otherwise.
    #[must_use]
    pub fn remove_when_orphaned(mut self, folder: impl Into<PathBuf>) -> Spec {
        self.remove = Some(folder.into());
        self
    }
}

// === impl Process ===

impl Process {
    /// Starts the child and returns at once.
    ///
    /// A missing program shows as exit code 127, and as a line in the log; as an error if this process is PID 1.
    ///
    /// # Errors
    /// No process can be started, or the log can't be opened.
    pub fn spawn(spec: Spec) -> Result<Process, Error> {
        let failed = || format!("starting {}", spec.name);
        let (log, scratch) = match &spec.log {
            Some(path) => (path.clone(), None),
            None => {
                let file = tempfile::NamedTempFile::new().map_err(Error::io(failed()))?;
                (file.path().to_owned(), Some(file.into_temp_path()))
            }
        };
        let mut log_file = OpenOptions::new().create(true).append(true).open(&log).map_err(Error::io(failed()))?;
        let log_start = log_file.metadata().map_err(Error::io(failed()))?.len();

        let is_guarded = guardian::is_needed();
        let mut command = if is_guarded { signals::shell() } else { Command::new(&spec.program) };
        if is_guarded {
            command.args(["-c", GATE, "gate"]).arg(&spec.program);
        }
        command.args(&spec.args);
        if spec.clear_env {
            command.env_clear();
        }
        command.envs(spec.envs.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &spec.current_dir {
            command.current_dir(folder);
        }
        let mut output = None;
        if spec.on_line.is_some() {
            let (reader, writer) = std::io::pipe().map_err(Error::io(failed()))?;
            command.stdout(writer.try_clone().map_err(Error::io(failed()))?).stderr(writer);
            output = Some(reader);
        } else {
            command.stdout(log_file.try_clone().map_err(Error::io(failed()))?);
            command.stderr(log_file.try_clone().map_err(Error::io(failed()))?);
        }
        command.process_group(0).stdin(if is_guarded { Stdio::piped() } else { Stdio::null() });

        let mut guardian = Guardian::start(spec.remove.as_deref()).map_err(Error::io(failed()))?;
        let mut child = command.spawn().map_err(Error::io(failed()))?;
        drop(command);
        let pid = Pid::from_child(&child);
        let go = guardian.watch(child.id()).and_then(|()| match child.stdin.take() {
            Some(mut gate) => gate.write_all(b"\n"),
            None => Ok(()),
        });
        if let Err(error) = go {
            // The pipe was dropped, which shuts the gate: the child ends by itself.
            guardian.dismiss();
            let _ = child.wait();
            return Err(Error::io(failed())(error));
        }

        if let (Some(output), Some(mut on_line)) = (output, spec.on_line) {
            thread::spawn(move || forward(output, &mut log_file, &mut on_line));
        }
        let state =
            Arc::new(State { exit: Mutex::new(None), ended: Condvar::new(), ended_async: tokio::sync::Notify::new() });
        let watched = Arc::clone(&state);
        thread::spawn(move || watched.reap(pid, child, guardian));
        Ok(Process { name: spec.name, pid, state, log, log_start, _scratch: scratch })
    }

    /// Process id of the child. Another process may have it once the child has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a signal; does nothing if the child has ended.
    ///
    /// # Errors
    /// The kernel rejects the signal.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.unless_ended(|| rustix::process::kill_process(self.pid, signal))
    }

    /// Exit status of the child; `None` while it runs.
    #[must_use]
    pub fn exit(&self) -> Option<ExitStatus> {
        *self.state.lock()
    }

    /// Waits for at most `timeout` until the child ends; `None` if it still runs then.
    #[must_use]
    pub fn wait_exit(&self, timeout: Duration) -> Option<ExitStatus> {
        let running = |exit: &mut Option<ExitStatus>| exit.is_none();
        let waited = self.state.ended.wait_timeout_while(self.state.lock(), timeout, running);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until the child ends. Cancel safe.
    pub async fn ended(&self) -> ExitStatus {
        loop {
            let ended = self.state.ended_async.notified();
            if let Some(exit) = self.exit() {
                return exit;
            }
            ended.await;
        }
    }

    /// Sends SIGTERM, and kills the child if it still runs after `grace`.
    ///
    /// # Errors
    /// The child can't be signalled, or outlives SIGKILL by ten seconds.
    pub fn stop(&self, grace: Duration) -> Result<ExitStatus, Error> {
        self.signal(Signal::TERM)?;
        // A stopped child handles the signal only once it continues.
        self.signal(Signal::CONT)?;
        self.wait_exit(grace).map_or_else(|| self.kill(), Ok)
    }

    /// Kills the child with its process group (SIGKILL), its own children included, and waits until it has ended.
    ///
    /// # Errors
    /// The child can't be signalled, or still runs after ten seconds.
    pub fn kill(&self) -> Result<ExitStatus, Error> {
        let patience = Duration::from_secs(10);
        self.unless_ended(|| rustix::process::kill_process_group(self.pid, Signal::KILL))?;
        self.wait_exit(patience).ok_or_else(|| Error::StillRunning { program: self.name.clone(), waited: patience })
    }

    /// Output of the child so far, both streams, without earlier contents of the log file.
    #[must_use]
    pub fn log(&self) -> String {
        let read = || {
            let mut file = File::open(&self.log)?;
            file.seek(SeekFrom::Start(self.log_start))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map(|_| bytes)
        };
        // A removed log counts as empty.
        read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Calls `ready` every ten milliseconds until it returns a value.
    ///
    /// # Errors
    /// The child has ended, or `patience` is over.
    pub(crate) fn wait_until<T>(&self, patience: Duration, mut ready: impl FnMut() -> Option<T>) -> Result<T, Error> {
        let start = Instant::now();
        loop {
            if let Some(value) = ready() {
                return Ok(value);
            }
            if let Some(exit) = self.wait_exit(Duration::from_millis(10)) {
                return Err(self.start_error(format!("it ended with {exit}")));
            }
            if start.elapsed() > patience {
                return Err(self.start_error(format!("it was not ready after {patience:?}")));
            }
        }
    }

    fn unless_ended(&self, send: impl FnOnce() -> rustix::io::Result<()>) -> Result<(), Error> {
        // Under the lock the child can't be reaped, so its id can't be another's before the signal is out.
        let exit = self.state.lock();
        if exit.is_some() {
            return Ok(());
        }
        send().map_err(|error| Error::io(format!("signalling {}", self.name))(error.into()))
    }

    fn start_error(&self, detail: String) -> Error {
        Error::Start { program: self.name.clone(), detail, log: tail(&self.log(), 20) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name)
            .field("pid", &self.pid())
            .field("exit", &self.exit())
            .finish()
    }
}

// === impl State ===

impl State {
    fn lock(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        self.exit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reap(&self, pid: Pid, mut child: std::process::Child, guardian: Guardian) {
        // NOWAIT sees the end without reaping: the id stays the child's until the guardian is dismissed.
        while rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
            .is_err_and(|error| error == rustix::io::Errno::INTR)
        {}
        guardian.dismiss();
        let mut exit = self.lock();
        // Can't fail: the child is ours, has ended, and nobody else reaps it.
        *exit = Some(child.wait().unwrap_or_else(|_| ExitStatus::from_raw(0)));
        drop(exit);
        self.ended.notify_all();
        self.ended_async.notify_waiters();
    }
}

// === output ===

fn forward(output: impl Read, log: &mut File, on_line: &mut LineCallback) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        // A full disk must not stop the child.
        let _ = log.write_all(&line);
        on_line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        line.clear();
    }
}

pub(crate) fn read_lossy(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
