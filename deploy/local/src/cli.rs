//! Program behind `cargo up`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use keyplane_engine::Toolbox;
use tokio::signal::unix::{SignalKind, signal};

use crate::lock::Lock;
use crate::mesh::{GUARD, SERVICE};
use crate::{Error, Grant, Issuer, Mesh, Options, demo, services};

/// Highest gRPC port; the admin port is 1000 above it.
const HIGHEST_PORT: u16 = u16::MAX - 1000;

/// Starts Valkey, the services and the gateway on this machine, and stops them on Ctrl-C or SIGTERM.
///
/// Missing programs are fetched first. Everything listens on loopback only. Services inherit the environment: any of
/// their settings (KEYPLANE_LOG=debug) applies.
#[derive(Debug, Parser)]
#[command(name = "cargo up", bin_name = "cargo up", version)]
struct Args {
    /// Port of the gateway; 0, here and below, takes any free port
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    gateway_port: u16,
    /// gRPC port of a service, such as session=50061; its admin port is 1000 above [repeatable]
    #[arg(long, value_name = "NAME=PORT", value_parser = service_port)]
    service_port: Vec<(String, u16)>,
    /// Port of Valkey
    #[arg(long, default_value_t = 6390, value_name = "PORT")]
    valkey_port: u16,
    /// Use this Valkey instead of starting one; without a search module in it, search is unavailable
    #[arg(long, value_name = "URL", conflicts_with = "valkey_port")]
    valkey_url: Option<String>,
    /// Load companies and tasks into search, and print queries to try
    #[arg(long)]
    demo: bool,
    /// Start no gateway
    #[arg(long)]
    no_gateway: bool,
    /// Regular expression for the origins of browsers that may call
    #[arg(long, value_name = "REGEX", default_value = Options::LOCAL_ORIGINS)]
    cors_origins: String,
    /// Collector for traces and metrics, e.g. http://127.0.0.1:4317
    #[arg(long, value_name = "URL", env = "KEYPLANE_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// Print one line of JSON, and nothing else, on standard output once the mesh is ready
    #[arg(long)]
    json: bool,
    /// Fetch missing programs and exit
    #[arg(long)]
    fetch_only: bool,
    /// Folder for logs and generated files, for one mesh at a time [default: .run in the workspace]
    #[arg(long, global = true, alias = "folder", value_name = "FOLDER")]
    run_dir: Option<PathBuf>,
    /// Run as this service; the mesh starts its services so
    #[arg(long, hide = true, env = SERVICE)]
    service: Option<String>,
    /// Run as the gateway's guard on this socket; the mesh starts its guard so
    #[arg(long, hide = true, env = GUARD)]
    guard: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the OpenAPI document of the JSON routes
    Openapi {
        /// Base URL that the document names
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
        server: Vec<String>,
    },
    /// Print a token of the mesh in the same folder: TOKEN=$(cargo up token --tenant acme --user u-42)
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
    /// Lifetime, 1s to 24h
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

/// Runs the whole program: 0 once stopped, 1 after a failure, 2 for invalid options.
#[must_use]
pub fn run() -> ExitCode {
    let args = Args::parse();
    if let Some(name) = args.service.as_deref() {
        return match services::find(name) {
            Some(service) => (service.main)(),
            None => failure(&format!("unknown service {name:?}; known are {}", services::names())),
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
    // An interrupted start may still wait for a download. Its children die with this process.
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
        () = stop.requested() => return Ok(()),
    };
    lock.describe(mesh.endpoints())?;
    if args.demo
        && let Some(lack) = mesh.endpoints().unavailable.get("search")
    {
        let refused = Error::Demo(format!("search is unavailable: {lack}"));
        return mesh.stop().await.and(Err(refused));
    }
    if args.demo {
        tokio::select! {
            loaded = demo::load(mesh.endpoints()) => loaded?,
            () = stop.requested() => return mesh.stop().await,
        }
    }
    let ready = match (args.json, args.demo) {
        (true, _) => mesh.endpoints().json(),
        (false, false) => mesh.endpoints().guide(),
        (false, true) => mesh.endpoints().guide() + "\n" + &demo::guide(mesh.endpoints()),
    };
    // A closed standard output must not stop the mesh.
    let _ = print(&ready);
    let died = tokio::select! {
        error = mesh.died() => Some(error),
        () = stop.requested() => None,
    };
    eprintln!("stopping");
    let stopped = mesh.stop().await;
    died.map_or(stopped, Err)
}

/// Listener for Ctrl-C and SIGTERM.
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
            free_service_ports: false,
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

    async fn requested(&mut self) {
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
        return Err(format!("unknown service {name:?}; known are {}", services::names()));
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
