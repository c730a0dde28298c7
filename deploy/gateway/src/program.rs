//! Program `keyplane-gateway`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use keyplane_engine::{Spec, Toolbox};
use keyplane_server::config::Env;
use tokio::signal::unix::{SignalKind, signal};

use crate::guard::Guard;
use crate::{Config, Error, Setup, Socket, Supervisor};

/// EX_USAGE: invalid command line or settings.
const USAGE: u8 = 64;
/// First argument of the guard's process; the second is the socket's path.
const GUARD: &str = "guard";

/// Runs the whole program: 0 after a drain, 64 for invalid settings or arguments, 1 for any other failure.
#[must_use]
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut env = Env::process();
    let config = Config::read(&mut env);
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [GUARD, socket] => return guard_main(Path::new(socket)),
        [] | ["--print-config"] => {}
        _ => return failure(USAGE, &format!("unknown arguments {args:?}; the only option is --print-config")),
    }
    match env.finish() {
        Ok(table) if !args.is_empty() => {
            println!("{}", table.print());
            ExitCode::SUCCESS
        }
        Ok(_) => exit_code(run(&config)),
        Err(errors) => failure(USAGE, &errors.to_string()),
    }
}

/// Runs the guard's process: listens on `socket` until SIGTERM.
#[must_use]
pub fn guard_main(socket: &Path) -> ExitCode {
    let serve = || {
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
    exit_code(serve())
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
        report: Arc::new(|line| eprintln!("{line}")),
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

fn exit_code(result: Result<(), Error>) -> ExitCode {
    result.map_or_else(|error| failure(1, &error.to_string()), |()| ExitCode::SUCCESS)
}

fn failure(code: u8, message: &str) -> ExitCode {
    eprintln!("keyplane-gateway: {message}");
    ExitCode::from(code)
}
