//! Builder and configuration of a [`Valkey`].

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{TEMPORARY, USER, Valkey, port_taken, run};
use crate::Error;
use crate::port::free_port;
use crate::toolbox::Toolbox;
use crate::tools::Tool;

/// Most attempts to start; another program may take a free port first.
const ATTEMPTS: u32 = 8;

/// ACL rule that removes the commands which ElastiCache Serverless lacks.
const SERVERLESS_LACKS: &str = "-psubscribe -punsubscribe -fcall -fcall_ro -function -keys -wait -waitaof -config \
    -memory -object -slowlog -commandlog -latency -monitor -client|id -client|list -client|info -client|kill \
    -client|tracking -client|caching -client|no-evict -swapdb -move -script|kill -acl|log -pubsub|numpat";

/// Builder of a [`Valkey`].
#[derive(Debug)]
pub struct ValkeyBuilder<'a> {
    toolbox: &'a Toolbox,
    modules: bool,
    port: Option<u16>,
    folder: Option<PathBuf>,
    acl_serverless: bool,
    may_wait: bool,
    password: Option<String>,
    /// Longest silence of a node of the cluster; `None` without a cluster.
    cluster: Option<Duration>,
    primary: Option<u16>,
    settings: Vec<(String, String)>,
}

// === impl Valkey ===

impl Valkey {
    /// Configures a server. [`ValkeyBuilder::start`] fetches the program if it is missing, and starts it.
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
}

// === impl ValkeyBuilder ===

impl ValkeyBuilder<'_> {
    /// Loads RediSearch and RedisBloom. Default: no.
    #[must_use]
    pub fn modules(mut self, modules: bool) -> Self {
        self.modules = modules;
        self
    }

    /// Fixes the port. Default: a free one.
    #[must_use]
    pub fn port(mut self, port: Option<u16>) -> Self {
        self.port = port;
        self
    }

    /// Sets the folder for configuration and log, which is created and kept. Default: a temporary one.
    #[must_use]
    pub fn dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Sets whether [`Valkey::url`] names a user without the commands that ElastiCache Serverless lacks. Default: yes.
    #[must_use]
    pub fn acl_serverless(mut self, acl_serverless: bool) -> Self {
        self.acl_serverless = acl_serverless;
        self
    }

    /// Sets whether the user of [`Valkey::url`] may call WAIT, as on a node-based engine. Default: no.
    #[must_use]
    pub fn may_wait(mut self, may_wait: bool) -> Self {
        self.may_wait = may_wait;
        self
    }

    /// Sets the password of the user of [`Valkey::url`]; a replica needs its primary's to take over. Default: random.
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

    /// Adds a line of configuration, such as `("maxmemory", "10mb")`.
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
    /// A tool can't be fetched, or the server doesn't start; the error shows the end of its log.
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
            // The default, the port plus 10,000, may not be free.
            lines.push(format!("cluster-port {}", free_port()?));
            lines.push(format!("cluster-node-timeout {}", node_timeout.as_millis()));
            // A test's pause is no dead replica link, and a new replica no one without data.
            lines.push("cluster-replica-validity-factor 0".to_owned());
        }
        // Replicas join at once, rather than wait for others.
        lines.push("repl-diskless-sync-delay 0".to_owned());
        if let Some(primary) = self.primary {
            lines.push(format!("replicaof 127.0.0.1 {primary}"));
        }
        lines.extend(self.settings.iter().map(|(name, value)| format!("{name} {value}")));
        let path = folder.join("valkey.conf");
        std::fs::write(&path, lines.join("\n") + "\n").map_err(Error::io(format!("writing {}", path.display())))
    }
}

pub(crate) fn new_password() -> Result<String, Error> {
    let number = getrandom::u64().map_err(|error| Error::io("making a password")(std::io::Error::other(error)))?;
    Ok(format!("{number:016x}"))
}

/// Path in quotes, for the configuration file.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}
