//! One Valkey server.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Error;
use crate::port::free_port;
use crate::process::{Process, Spec};
use crate::resp::{Connection, Reply};
use crate::toolbox::Toolbox;
use crate::tools::Tool;

/// How long a server may take until it answers: its modules load, and the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a start is tried again on another port, since somebody took the first one in the meantime.
const ATTEMPTS: u32 = 8;

/// What ElastiCache Serverless lacks, in the words of an ACL rule.
const SERVERLESS_LACKS: &str = "-psubscribe -punsubscribe -fcall -fcall_ro -function -keys -wait -waitaof -config \
    -memory -object -slowlog -commandlog -latency -monitor -client|id -client|list -client|info -client|kill \
    -client|tracking -client|caching -client|no-evict -swapdb -move -script|kill -acl|log -pubsub|numpat";

/// The user that lacks what ElastiCache Serverless lacks.
const USER: &str = "keyplane";

/// A Valkey server on a loopback port, in memory only, with a folder of its own. Dropping it stops it.
///
/// It can be shared: every method takes `&self`.
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

/// How to start a [`Valkey`].
#[derive(Debug)]
pub struct ValkeyBuilder<'a> {
    toolbox: &'a Toolbox,
    modules: bool,
    port: Option<u16>,
    folder: Option<PathBuf>,
    acl_serverless: bool,
    may_wait: bool,
    password: Option<String>,
    /// How long a node of the cluster may be silent; `None` without a cluster.
    cluster: Option<Duration>,
    primary: Option<u16>,
    settings: Vec<(String, String)>,
}

// === impl Valkey ===

impl Valkey {
    /// Fetches the server if need be, and starts it when told to.
    #[must_use]
    pub fn builder(toolbox: &Toolbox) -> ValkeyBuilder<'_> {
        ValkeyBuilder {
            toolbox,
            modules: false,
            port: None,
            folder: None,
            acl_serverless: true,
            may_wait: false,
            password: None,
            cluster: None,
            primary: None,
            settings: Vec::new(),
        }
    }

    /// `valkey://keyplane:<password>@127.0.0.1:<port>`: the user that lacks what ElastiCache Serverless lacks. Without
    /// [`ValkeyBuilder::acl_serverless`] the same as [`Valkey::admin_url`].
    #[must_use]
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("valkey://{USER}:{password}@127.0.0.1:{}", self.port),
            None => self.admin_url(),
        }
    }

    /// `valkey://127.0.0.1:<port>`: the default user, who may do everything and needs no password.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("valkey://127.0.0.1:{}", self.port)
    }

    /// The port; it stays the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id, or `None` while the server is stopped or killed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Process::pid)
    }

    /// The server's log, over all restarts.
    #[must_use]
    pub fn log(&self) -> String {
        crate::process::read_lossy(&self.folder.join("valkey.log"))
    }

    /// Runs one command as the default user, on a connection of its own. Blocks for five seconds at most.
    ///
    /// # Errors
    /// When the server can't be reached or answers with an error.
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

    /// Kills the server (SIGKILL), as a crash does. Its data is lost. Nothing happens if it isn't running.
    ///
    /// # Errors
    /// When it can't be killed.
    pub fn kill(&self) -> Result<(), Error> {
        self.process().take().map_or(Ok(()), |process| process.kill().map(drop))
    }

    /// Stops the server in an orderly way. Nothing happens if it isn't running.
    ///
    /// # Errors
    /// When it can't be stopped.
    pub fn stop(&self) -> Result<(), Error> {
        self.process().take().map_or(Ok(()), |process| process.stop(Duration::from_secs(5)).map(drop))
    }

    /// Starts the server again on the same port, empty; kills it first if it is running. Blocks until it answers.
    ///
    /// # Errors
    /// When it does not start, as when another program holds the port by now.
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

    /// Freezes the server (SIGSTOP): connections stay open, the kernel accepts new ones, and nothing is answered.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or when it can't be signalled.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)?;
        self.paused.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Ends a [`Valkey::pause`].
    ///
    /// # Errors
    /// [`Error::NotRunning`], or when it can't be signalled.
    pub fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)?;
        self.paused.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Whether it was neither stopped nor killed nor paused.
    pub(crate) fn answers(&self) -> bool {
        self.pid().is_some() && !self.paused.load(Ordering::SeqCst)
    }

    /// Waits for `patience` at most; whether the server is still running then.
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

// === impl ValkeyBuilder ===

impl ValkeyBuilder<'_> {
    /// Loads RediSearch and RedisBloom. Default: no.
    #[must_use]
    pub fn modules(mut self, modules: bool) -> Self {
        self.modules = modules;
        self
    }

    /// A fixed port. Default: one that is free.
    #[must_use]
    pub fn port(mut self, port: Option<u16>) -> Self {
        self.port = port;
        self
    }

    /// The folder for configuration and log, which is made and kept. Default: a temporary one.
    #[must_use]
    pub fn dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Whether [`Valkey::url`] names a user who lacks what ElastiCache Serverless lacks. Default: yes.
    #[must_use]
    pub fn acl_serverless(mut self, acl_serverless: bool) -> Self {
        self.acl_serverless = acl_serverless;
        self
    }

    /// Whether the user of [`Valkey::url`] may WAIT for replicas all the same, as on a node-based engine. Default: no.
    #[must_use]
    pub fn may_wait(mut self, may_wait: bool) -> Self {
        self.may_wait = may_wait;
        self
    }

    /// The password of the user of [`Valkey::url`], so that a replica that takes over knows it. Default: a random one.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Starts as a replica of `primary`, in sync with it. Default: none.
    #[must_use]
    pub fn replica_of(mut self, primary: &Valkey) -> Self {
        self.primary = Some(primary.port);
        self
    }

    /// One more line of configuration, such as `("maxmemory", "10mb")`.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    pub(crate) fn cluster(mut self, password: Option<String>, node_timeout: Duration) -> Self {
        self.cluster = Some(node_timeout);
        self.password = password;
        self
    }

    /// Starts the server, and blocks until it answers.
    ///
    /// # Errors
    /// When a tool can't be fetched, or the server doesn't start; the error shows the end of its log.
    pub fn start(self) -> Result<Valkey, Error> {
        self.toolbox.ensure(if self.modules { &[Tool::Valkey, Tool::Modules] } else { &[Tool::Valkey] })?;
        let program = self.toolbox.path(Tool::Valkey)?;
        let (folder, scratch) = self.make_folder()?;
        let password = match self.acl_serverless {
            true => Some(self.password.clone().map_or_else(new_password, Ok)?),
            false => None,
        };
        let mut attempt = 1;
        let (port, process) = loop {
            let port = self.port.map_or_else(free_port, Ok)?;
            self.write_config(&folder, port, password.as_deref())?;
            match run(&program, &folder, port) {
                Ok(process) => break (port, process),
                Err(error) if self.port.is_none() && attempt < ATTEMPTS && port_taken(&error) => attempt += 1,
                Err(error) => return Err(error),
            }
        };
        let (process, paused) = (Mutex::new(Some(process)), AtomicBool::new(false));
        let valkey = Valkey { port, password, folder, program, process, paused, _scratch: scratch };
        if self.primary.is_some() {
            valkey.wait_in_sync()?;
        }
        Ok(valkey)
    }

    fn make_folder(&self) -> Result<(PathBuf, Option<tempfile::TempDir>), Error> {
        if let Some(folder) = &self.folder {
            std::fs::create_dir_all(folder).map_err(Error::io(format!("making {}", folder.display())))?;
            return Ok((folder.clone(), None));
        }
        let scratch = tempfile::Builder::new().prefix("keyplane-valkey-").tempdir();
        let scratch = scratch.map_err(Error::io("making a temporary folder"))?;
        std::fs::write(scratch.path().join(TEMPORARY), "").map_err(Error::io("writing to a temporary folder"))?;
        Ok((scratch.path().to_owned(), Some(scratch)))
    }

    fn write_config(&self, folder: &Path, port: u16, password: Option<&str>) -> Result<(), Error> {
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            "save \"\"".to_owned(),
            "appendonly no".to_owned(),
            format!("dir {}", quoted(folder)),
        ];
        if let Some(password) = password {
            let wait = if self.may_wait { " +wait" } else { "" };
            lines.push(format!("user {USER} on >{password} ~* &* +@all {SERVERLESS_LACKS}{wait}"));
        }
        if self.modules {
            let modules = self.toolbox.path(Tool::Modules)?;
            lines.push(format!("loadmodule {}", quoted(&modules.join("redisbloom.so"))));
            let search = quoted(&modules.join("redisearch.so"));
            lines.push(format!("loadmodule {search} DEFAULT_DIALECT 2 ON_TIMEOUT FAIL MINPREFIX 1"));
        }
        if let Some(node_timeout) = self.cluster {
            lines.push("cluster-enabled yes".to_owned());
            // The usual bus port is the port plus 10,000, which may not be free.
            lines.push(format!("cluster-port {}", free_port()?));
            lines.push(format!("cluster-node-timeout {}", node_timeout.as_millis()));
            // Pauses in tests may not pass for a dead replica link, nor a new replica for one without data.
            lines.push("cluster-replica-validity-factor 0".to_owned());
        }
        // Replicas join at once, rather than wait for others to join with them.
        lines.push("repl-diskless-sync-delay 0".to_owned());
        if let Some(primary) = self.primary {
            lines.push(format!("replicaof 127.0.0.1 {primary}"));
        }
        lines.extend(self.settings.iter().map(|(name, value)| format!("{name} {value}")));
        let path = folder.join("valkey.conf");
        std::fs::write(&path, lines.join("\n") + "\n").map_err(Error::io(format!("writing {}", path.display())))
    }
}

// === starting ===

/// Marks a folder that may be removed with its server.
const TEMPORARY: &str = ".temporary";

/// Starts the server in `folder` and waits until it answers. The port may be another server's, so it is asked who it is.
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

pub(crate) fn new_password() -> Result<String, Error> {
    let number = getrandom::u64().map_err(|error| Error::io("making a password")(std::io::Error::other(error)))?;
    Ok(format!("{number:016x}"))
}

/// A path as the configuration file takes it, with blanks and quotes.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}
