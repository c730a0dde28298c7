//! The program `keyplane-gateway`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use keyplane_engine::{Spec, Toolbox};
use keyplane_server::config::Env;
use tokio::signal::unix::{SignalKind, signal};

use crate::guard::Guard;
use crate::{Error, Setup, Socket, Supervisor};

/// EX_USAGE: the command line or the settings are wrong.
const USAGE: u8 = 64;
/// First argument of the guard's process; the second one is the socket's path.
const GUARD: &str = "guard";

/// Settings of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Envoy's configuration; in it `${GUARD_SOCKET}` stands for the guard's socket.
    pub configuration: PathBuf,
    /// Time for load balancers to notice, before connections are no longer accepted.
    pub drain_delay: Duration,
    /// Longest time for requests in flight.
    pub drain_timeout: Duration,
}

// === impl Config ===

impl Config {
    /// Reads all settings. What is wrong is noted in `env`.
    pub fn read(env: &mut Env) -> Config {
        let configuration = env.text(
            "KEYPLANE_GATEWAY_CONFIG",
            "/etc/keyplane/gateway.yaml",
            "Envoy's configuration, `deploy/envoy/gateway.yaml` filled in but for `${GUARD_SOCKET}`",
        );
        Config {
            configuration: configuration.into(),
            drain_delay: env.duration(
                "KEYPLANE_GATEWAY_DRAIN_DELAY",
                "5s",
                "time after SIGTERM in which `/healthz` says 503 and connections are still accepted",
            ),
            drain_timeout: env.duration(
                "KEYPLANE_GATEWAY_DRAIN_TIMEOUT",
                "20s",
                "longest time for requests in flight after that",
            ),
        }
    }
}

/// The whole program: 0 after a drain, 64 for wrong settings or arguments, 1 for anything else.
#[must_use]
pub fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let mut env = Env::process();
    let config = Config::read(&mut env);
    match asked.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [GUARD, socket] => return guard_main(Path::new(socket)),
        [] | ["--print-config"] => {}
        _ => return failure(USAGE, &format!("unknown arguments {asked:?}: there is --print-config")),
    }
    match env.finish() {
        Ok(table) if !asked.is_empty() => {
            println!("{}", table.print());
            ExitCode::SUCCESS
        }
        Ok(_) => ended(run(&config)),
        Err(errors) => failure(USAGE, &errors.to_string()),
    }
}

/// The guard's process: listens on `socket` until SIGTERM.
#[must_use]
pub fn guard_main(socket: &Path) -> ExitCode {
    let guarded = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(Error::io("starting a runtime"))?.block_on(async {
            let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("listening for signals"))?;
            let listener = Socket::listen(socket).map_err(Error::io("listening on the guard's socket"))?;
            let stop = async {
                terminate.recv().await;
            };
            Ok(Guard::new()?.serve(listener, stop).await?)
        })
    };
    ended(guarded())
}

fn run(config: &Config) -> Result<(), Error> {
    let path = &config.configuration;
    let configuration = std::fs::read_to_string(path)
        .map_err(|source| Error::Configuration { path: path.display().to_string(), source })?;
    let program = std::env::current_exe().map_err(Error::io("finding this program"))?;
    let socket = Socket::new()?;
    let setup = Setup {
        configuration: configuration.replace("${GUARD_SOCKET}", &socket.path().display().to_string()),
        toolbox: Toolbox::find(),
        socket,
        guard: Box::new(move |socket| Spec::new(&program).arg(GUARD).arg(socket)),
        say: Arc::new(|line| eprintln!("{line}")),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::io("starting a runtime"))?.block_on(async {
        let listen = |kind| signal(kind).map_err(Error::io("listening for signals"));
        let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        let started = tokio::task::spawn_blocking(|| Supervisor::start(setup));
        let supervisor = started.await.map_err(|error| Error::io("starting")(std::io::Error::other(error)))??;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        supervisor.stop(config.drain_delay, config.drain_timeout)
    })
}

fn ended(result: Result<(), Error>) -> ExitCode {
    result.map_or_else(|error| failure(1, &error.to_string()), |()| ExitCode::SUCCESS)
}

fn failure(code: u8, message: &str) -> ExitCode {
    eprintln!("keyplane-gateway: {message}");
    ExitCode::from(code)
}
