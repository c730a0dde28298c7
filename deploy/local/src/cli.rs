//! The program behind `cargo up`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use keyplane_engine::Toolbox;
use tokio::signal::unix::{SignalKind, signal};

use crate::lock::Lock;
use crate::{Error, Grant, Issuer, Mesh, Options, services};

/// Makes this program the gateway's guard.
pub(crate) const GUARD: &str = "KEYPLANE_LOCAL_GUARD";

/// Leaves room for the admin port.
const HIGHEST_PORT: u16 = u16::MAX - 1000;

/// Starts Valkey, the services and the gateway on this machine, and stops them on Ctrl-C or SIGTERM.
///
/// What is missing is fetched first. Everything listens on loopback only. Services inherit the environment: any
/// setting of theirs (KEYPLANE_LOG=debug) may be given here.
#[derive(Debug, Parser)]
#[command(name = "cargo up", bin_name = "cargo up", version)]
struct Args {
    /// Port of the gateway; each port may be 0 for any that is free
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    gateway_port: u16,
    /// gRPC port of a service, such as session=50061; its admin port is 1000 above [repeatable]
    #[arg(long, value_name = "NAME=PORT", value_parser = service_port)]
    service_port: Vec<(String, u16)>,
    /// Port of Valkey
    #[arg(long, default_value_t = 6390, value_name = "PORT")]
    valkey_port: u16,
    /// Use this Valkey and start none
    #[arg(long, value_name = "URL", conflicts_with = "valkey_port")]
    valkey_url: Option<String>,
    /// Start no gateway
    #[arg(long)]
    no_gateway: bool,
    /// Origins that browsers may call from: a regular expression
    #[arg(long, value_name = "REGEX", default_value = Options::LOCAL_ORIGINS)]
    cors_origins: String,
    /// Collector for traces and metrics, e.g. http://127.0.0.1:4317
    #[arg(long, value_name = "URL", env = "KEYPLANE_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// Print one line of JSON when all is ready, and nothing else, on standard output
    #[arg(long)]
    json: bool,
    /// Fetch what is missing, and start nothing
    #[arg(long)]
    fetch_only: bool,
    /// Where logs and generated files go; one mesh at a time uses it [default: .run in the workspace]
    #[arg(long, global = true, alias = "folder", value_name = "FOLDER")]
    run_dir: Option<PathBuf>,
    /// Be this service: how the mesh starts its services
    #[arg(long, hide = true, env = "KEYPLANE_LOCAL_SERVICE")]
    service: Option<String>,
    /// Be the gateway's guard, on this socket: how the mesh starts it
    #[arg(long, hide = true, env = GUARD)]
    guard: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the OpenAPI document of the JSON routes
    Openapi {
        /// A base URL to name in it
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
        server: Vec<String>,
    },
    /// Print a token of the mesh that runs in the same folder: TOKEN=$(cargo up token --tenant acme --user u-42)
    Token(TokenArgs),
}

#[derive(Debug, clap::Args)]
struct TokenArgs {
    /// Claim tenant
    #[arg(long, value_name = "TENANT")]
    tenant: String,
    /// Claim sub
    #[arg(long, value_name = "USER")]
    user: String,
    /// How long it lives, 1s to 24h
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// Claim scope
    #[arg(long, value_name = "SCOPE", default_value = "*")]
    scope: String,
    /// Claim jti [default: random]
    #[arg(long, value_name = "ID")]
    jti: Option<String>,
    /// Claim sid, the login session [default: random]
    #[arg(long, value_name = "ID")]
    sid: Option<String>,
    /// Claim client_id [default: none]
    #[arg(long, value_name = "ID")]
    client: Option<String>,
}

/// The whole program: 0 when it was stopped, 1 when something failed, 2 when the options make no sense.
#[must_use]
pub fn run() -> ExitCode {
    let args = Args::parse();
    if let Some(name) = args.service.as_deref() {
        return match services::find(name) {
            Some(service) => (service.main)(),
            None => failure(&format!("there is no service {name:?}; there are {}", services::names())),
        };
    }
    if let Some(socket) = args.guard.as_deref() {
        return keyplane_gateway::guard_main(socket);
    }
    match &args.command {
        Some(Command::Openapi { server }) => {
            return print(&format!("{:#}", keyplane_contracts::openapi::document(server)));
        }
        Some(Command::Token(token)) => {
            return match args.folder().and_then(|folder| Issuer::open(&folder)?.mint(&token.grant())) {
                Ok(token) => print(&token),
                Err(error) => failure(&error.to_string()),
            };
        }
        None => {}
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure(&format!("the runtime can't start: {error}")),
    };
    let ended = runtime.block_on(up(&args));
    // A start that was interrupted may still wait for a download. What it started dies with this process.
    runtime.shutdown_timeout(Duration::from_secs(2));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(&error.to_string()),
    }
}

async fn up(args: &Args) -> Result<(), Error> {
    let options = args.options()?;
    if args.fetch_only {
        return Ok(Toolbox::find().ensure(&Mesh::tools(&options))?);
    }
    let mut lock = Lock::take(&options.folder)?;
    let mut stop = Stop::listen()?;
    let mesh = tokio::select! {
        mesh = Mesh::start(options) => mesh?,
        () = stop.asked() => return Ok(()),
    };
    lock.describe(mesh.endpoints())?;
    let ready = if args.json { mesh.endpoints().json() } else { mesh.endpoints().guide() };
    // Nobody may be reading; the mesh runs all the same.
    let _ = print(&ready);
    let died = tokio::select! {
        error = mesh.died() => Some(error),
        () = stop.asked() => None,
    };
    eprintln!("stopping");
    let stopped = mesh.stop().await;
    died.map_or(stopped, Err)
}

/// Ctrl-C or SIGTERM.
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

// === impl Args ===

impl Args {
    fn options(&self) -> Result<Options, Error> {
        let program = std::env::current_exe().map_err(Error::io("finding this program"))?;
        Ok(Options {
            gateway: !self.no_gateway,
            gateway_port: self.gateway_port,
            service_ports: self.service_port.clone(),
            valkey_port: self.valkey_port,
            valkey_url: self.valkey_url.clone(),
            folder: self.folder()?,
            program,
            otlp_endpoint: self.otlp_endpoint.clone(),
            cors_origins: self.cors_origins.clone(),
            settings: Vec::new(),
        })
    }

    fn folder(&self) -> Result<PathBuf, Error> {
        let folder = self.run_dir.clone().unwrap_or_else(Options::default_folder);
        std::path::absolute(folder).map_err(Error::io("finding the folder to run in"))
    }
}

// === impl TokenArgs ===

impl TokenArgs {
    fn grant(&self) -> Grant {
        Grant {
            scope: self.scope.clone(),
            jti: self.jti.clone(),
            sid: self.sid.clone(),
            client: self.client.clone(),
            ttl: self.ttl,
            ..Grant::new(&self.tenant, &self.user)
        }
    }
}

// === impl Stop ===

impl Stop {
    fn listen() -> Result<Stop, Error> {
        let listen = |kind| signal(kind).map_err(Error::io("listening for signals"));
        Ok(Stop { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

// === parsing ===

fn service_port(text: &str) -> Result<(String, u16), String> {
    let (name, port) = text.split_once('=').ok_or("must have the form NAME=PORT")?;
    if services::find(name).is_none() {
        return Err(format!("there is no service {name:?}; there are {}", services::names()));
    }
    match port.parse() {
        Ok(port) if port <= HIGHEST_PORT => Ok((name.to_owned(), port)),
        _ => Err(format!("the port must be a number up to {HIGHEST_PORT}: the admin port is 1000 above")),
    }
}

// === output ===

fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn failure(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::FAILURE
}
