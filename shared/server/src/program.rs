//! Program of every service: arguments, settings, telemetry, service, drain, exit code.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use crate::ServiceInfo;
use crate::config::{Env, ServerConfig, Table};
use crate::run::{Error, Running, Signals};

/// EX_USAGE: exit code for wrong arguments or settings.
const USAGE: u8 = 64;

/// Runs a service from its settings to its exit code: 0 after a drain, 64 for wrong settings or arguments, 1 otherwise.
///
/// `read` reads the service's own settings, after those that every service has. `start` connects what the service needs
/// and calls [`start`](crate::start).
///
/// `--print-config` prints every setting in effect (secrets masked) and ends; `--help` explains each setting.
pub fn main<C, F>(
    info: &'static ServiceInfo,
    read: fn(&mut Env) -> C,
    start: impl FnOnce(ServerConfig, C) -> F,
) -> ExitCode
where
    F: Future<Output = Result<Running, Error>>,
{
    let mut env = Env::process();
    let (mut server, config) = (ServerConfig::read(&mut env, info), read(&mut env));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] | ["--print-config"] => {}
        ["--help" | "-h"] => return print(&help(info, &env.describe())),
        ["--version" | "-V"] => return print(&format!("keyplane-{} {}\n", info.name, info.version)),
        _ => return reject(&format!("unknown arguments {arguments:?}: use --print-config, --help or --version\n")),
    }
    match env.finish() {
        Ok(table) if !arguments.is_empty() => return print(&table.print()),
        Ok(table) => server.settings = table,
        Err(errors) => return reject(&errors.to_string()),
    }
    match run(server.telemetry.clone(), |registry| start(ServerConfig { registry, ..server }, config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&format!("keyplane-{}: {error}\n", info.name));
            ExitCode::FAILURE
        }
    }
}

fn run<F>(telemetry: keyplane_telemetry::Settings, start: impl FnOnce(prometheus::Registry) -> F) -> Result<(), Error>
where
    F: Future<Output = Result<Running, Error>>,
{
    // One worker for each core that the cgroup grants; blocking threads only look up names and flush.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
        .map_err(|error| Error::Service(Box::new(error)))?;
    let result = runtime.block_on(async {
        // First of all: a signal that comes during the start must drain, not kill.
        let signals = Signals::listen()?;
        let telemetry = keyplane_telemetry::init(&telemetry).map_err(|error| Error::Service(Box::new(error)))?;
        std::panic::set_hook(Box::new(log_panic));
        let result = match start(telemetry.registry()).await {
            Ok(running) => {
                let (grpc, admin): (SocketAddr, SocketAddr) = (running.grpc_addr(), running.admin_addr());
                tracing::info!(%grpc, %admin, health = ?running.health_addr(), "serving");
                running.wait_for(signals).await
            }
            Err(error) => Err(error),
        };
        if !matches!(result, Err(Error::Interrupted)) {
            telemetry.shutdown().await;
        }
        result
    });
    // Tasks that still run must not hold the exit.
    runtime.shutdown_background();
    result
}

fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    tracing::error!(location, panic = panic.payload_as_str(), "panic");
}

fn help(info: &ServiceInfo, settings: &Table) -> String {
    let mut text = format!(
        "keyplane-{} {}\n\nTakes no arguments but --print-config, --help and --version. Settings (environment):\n\n",
        info.name, info.version
    );
    for row in settings.rows() {
        let default = if row.default.is_empty() { "none" } else { &row.default };
        text.push_str(&format!("  {}\n      {} [{default}]\n", row.name, row.doc));
    }
    text
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn reject(text: &str) -> ExitCode {
    print_error(text);
    ExitCode::from(USAGE)
}

/// Prints to stderr directly: there may be no log yet.
fn print_error(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
