//! Processes of the mesh: start, readiness and stop.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keyplane_engine::{Process, Signal, Spec, Tool, Toolbox, Valkey};
use keyplane_gateway::{Setup, Socket, Supervisor};
use keyplane_server::ServiceInfo;
use serde_json::json;

use crate::endpoints::{Addresses, title, without_password};
use crate::error::tail;
use crate::services::{SERVICES, Service, Surroundings};
use crate::{Endpoints, Error, Gateway, Grant, Issuer, Options, policies, ports, ready, services};

/// Variable that makes the program the service of that name.
pub(crate) const SERVICE: &str = "KEYPLANE_LOCAL_SERVICE";
/// Variable that makes the program the gateway's guard.
pub(crate) const GUARD: &str = "KEYPLANE_LOCAL_GUARD";

/// Longest wait for a process to stop; longer than a service's drain.
const GRACE: Duration = Duration::from_secs(30);
/// Longest wait for requests through the gateway to end. A watch never ends by itself, so waiting longer is useless.
const GATEWAY_GRACE: Duration = Duration::from_secs(1);
/// Lifetime of the printed token.
const WORKING_DAY: Duration = Duration::from_secs(12 * 60 * 60);

/// Running mesh. Dropping it kills every process; [`Mesh::stop`] drains them first.
#[derive(Debug)]
pub struct Mesh {
    // Fields are dropped in this order.
    gateway: Option<Supervisor>,
    services: Vec<(&'static ServiceInfo, Process)>,
    valkey: Option<Valkey>,
    issuer: Issuer,
    endpoints: Endpoints,
}

// === impl Mesh ===

impl Mesh {
    /// Fetches missing programs, starts everything and waits until each part answers, up to a JSON round trip.
    ///
    /// Cancelling kills the started processes.
    ///
    /// # Errors
    ///
    /// Failure to fetch a program, a taken port, or a process that ends or does not become ready; the error shows the end
    /// of its log. Every started process is killed.
    pub async fn start(options: Options) -> Result<Mesh, Error> {
        let launched = tokio::task::spawn_blocking(move || Mesh::launch(&options)).await;
        let mut mesh = launched.map_err(|error| Error::io("starting the mesh")(std::io::Error::other(error)))??;
        let token = mesh.issuer.mint(&Grant { ttl: WORKING_DAY, ..Grant::new("demo", "ada") })?;
        let (unavailable, example) = tokio::select! {
            ready = mesh.ready(&token) => ready?,
            died = mesh.died() => return Err(died),
        };
        mesh.endpoints.unavailable = unavailable;
        mesh.endpoints.example = example;
        mesh.endpoints.token = token;
        Ok(mesh)
    }

    /// Addresses of all parts.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Issuer of tokens that the gateway accepts.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Process of a service, to signal it or to read its log.
    ///
    /// # Panics
    ///
    /// Unknown `name`.
    #[must_use]
    pub fn service(&self, name: &str) -> &Process {
        let service = self.services.iter().find(|(info, _)| info.name == name);
        &service.unwrap_or_else(|| panic!("the mesh has no service {name}")).1
    }

    /// Gateway, if it was started: Envoy and its guard, which are restarted when they die.
    #[must_use]
    pub fn gateway(&self) -> Option<&Supervisor> {
        self.gateway.as_ref()
    }

    /// Started Valkey, to pause or kill it.
    #[must_use]
    pub fn valkey(&self) -> Option<&Valkey> {
        self.valkey.as_ref()
    }

    /// Waits until a process of the mesh ends by itself, and returns it as an error. Cancel safe.
    ///
    /// Processes of the gateway are restarted instead.
    pub async fn died(&self) -> Error {
        tokio::select! {
            error = self.service_died() => error,
            error = self.valkey_died() => error,
        }
    }

    /// Drains and stops every process: the gateway, then the services, then Valkey.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`] or [`Error::Guarded`] when a process can't be stopped; the others are still stopped.
    pub async fn stop(self) -> Result<(), Error> {
        let stopped = tokio::task::spawn_blocking(move || {
            let gateway = self.gateway.map_or(Ok(()), |gateway| gateway.stop(Duration::ZERO, GATEWAY_GRACE));
            // All drain at the same time.
            for (_, process) in &self.services {
                let _ = process.signal(Signal::TERM);
            }
            let stops = self.services.iter().map(|(_, process)| process.stop(GRACE).map(drop));
            let services = stops.fold(Ok(()), Result::and);
            let valkey = self.valkey.map_or(Ok(()), |valkey| valkey.stop());
            gateway?;
            services?;
            Ok(valkey?)
        });
        stopped.await.map_err(|error| Error::io("stopping the mesh")(std::io::Error::other(error)))?
    }

    fn launch(options: &Options) -> Result<Mesh, Error> {
        let folder = &options.folder;
        std::fs::create_dir_all(folder).map_err(Error::io(format!("making {}", folder.display())))?;
        let gateway_port = match options.gateway {
            true => Some(ports::claim("the gateway", options.gateway_port, "--gateway-port")?),
            false => None,
        };
        let addresses = SERVICES.iter().map(|service| Addresses::claim(options, service.info));
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        let toolbox = Toolbox::find();
        toolbox.ensure(&Mesh::tools(options))?;

        let valkey = start_valkey(options, &toolbox)?;
        let store = valkey.as_ref().map(Valkey::url).or_else(|| options.valkey_url.clone()).unwrap_or_default();
        let issuer = Issuer::create(folder)?;
        let policies = policies::file(options)?;
        let mesh = Surroundings { services: &addresses, keys: issuer.keys(), policies: &policies, options };
        let start =
            |(service, at): (&Service, &Addresses)| Ok((at.info, start_service(options, service, at, &store, &mesh)?));
        let services = SERVICES.iter().zip(&addresses).map(start).collect::<Result<Vec<_>, Error>>()?;
        let listen = gateway_port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let gateway = listen.map(|listen| start_gateway(options, &toolbox, listen, &mesh)).transpose()?;

        let url = listen.map(|listen| format!("http://{listen}"));
        let endpoints = Endpoints {
            openapi: url.as_ref().map(|url| format!("{url}/openapi.json")),
            gateway: url,
            services: addresses.iter().zip(&services).map(|(at, (_, process))| at.endpoints(process)).collect(),
            valkey: valkey.as_ref().map_or_else(|| without_password(&store), Valkey::admin_url),
            folder: folder.display().to_string(),
            policies: policies.display().to_string(),
            unavailable: BTreeMap::new(),
            example: None,
            token: String::new(),
        };
        Ok(Mesh { gateway, services, valkey, issuer, endpoints })
    }

    /// Tools that `options` need.
    pub(crate) fn tools(options: &Options) -> Vec<Tool> {
        let mut tools = Vec::new();
        if options.valkey_url.is_none() {
            tools.extend([Tool::Valkey, Tool::Modules]);
        }
        if options.gateway {
            tools.push(Tool::Envoy);
        }
        tools
    }

    /// Waits for each part in turn, and creates the example session through the gateway. Returns the unavailable services,
    /// and the session.
    async fn ready(&self, token: &str) -> Result<(BTreeMap<&'static str, String>, Option<String>), Error> {
        let http = reqwest::Client::new();
        let mut unavailable = BTreeMap::new();
        for (info, process) in &self.services {
            let lack = self.service_ready(&http, info).await;
            let lack = lack.map_err(|detail| not_ready(&title(info), process.log(), detail))?;
            unavailable.extend(lack.map(|lack| (info.name, lack)));
        }
        Ok((unavailable, self.gateway_ready(&http, token).await?))
    }

    /// Waits for a service. `Some` is what its engine lacks, if the mesh starts without the service.
    async fn service_ready(&self, http: &reqwest::Client, info: &ServiceInfo) -> Result<Option<String>, String> {
        let at = self.endpoints.service(info.name);
        let optional = services::find(info.name).is_some_and(|service| service.optional);
        let url = format!("{}/readyz", at.admin);
        let lack = ready::until(async || match ready::readyz(http, &url).await {
            Ok(Some(lack)) if !optional => Err(lack),
            answer => answer,
        });
        if let Some(lack) = lack.await? {
            return Ok(Some(lack));
        }
        ready::until(async || ready::serving(&at.grpc, info.grpc_services[0]).await).await?;
        Ok(None)
    }

    /// Waits for the gateway, and creates the example session through it.
    async fn gateway_ready(&self, http: &reqwest::Client, token: &str) -> Result<Option<String>, Error> {
        let (Some(url), Some(gateway)) = (&self.endpoints.gateway, &self.gateway) else { return Ok(None) };
        let healthz = format!("{url}/healthz");
        let answered = ready::until(async || ready::get(http, &healthz).await).await;
        answered.map_err(|detail| not_ready("the gateway", gateway.envoy().process().log(), detail))?;
        // One request through every part; the printed examples need the session.
        let sessions = format!("{url}/v1/tenants/demo/users/ada/sessions");
        let body = json!({"companyId": "c-7", "lastPath": "/"});
        let created = ready::until(async || ready::post(http, &sessions, token, &body).await).await;
        let created = created.map_err(|detail| not_ready("the gateway", gateway.envoy().process().log(), detail))?;
        let created: serde_json::Value = serde_json::from_str(&created).unwrap_or_default();
        Ok(created["name"].as_str().map(str::to_owned))
    }

    async fn service_died(&self) -> Error {
        let each = self.services.iter().map(|(info, process)| Box::pin(async { died(&title(info), process).await }));
        futures::future::select_all(each).await.0
    }

    /// Polls the process id, since the engine does not report a dead server.
    async fn valkey_died(&self) -> Error {
        let Some(valkey) = &self.valkey else { return std::future::pending().await };
        loop {
            let pid = valkey.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
            // `None`: stopped by the owner of the mesh, e.g. a test.
            if pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_err()) {
                return Error::Died {
                    name: "valkey".to_owned(),
                    exit: "see the log".to_owned(),
                    log: tail(&valkey.log()),
                };
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

// === parts ===

fn not_ready(part: &str, log: String, detail: String) -> Error {
    Error::NotReady { part: part.to_owned(), waited: ready::PATIENCE, detail, log: tail(&log) }
}

fn start_valkey(options: &Options, toolbox: &Toolbox) -> Result<Option<Valkey>, Error> {
    if options.valkey_url.is_some() {
        return Ok(None);
    }
    let port = ports::claim("Valkey", options.valkey_port, "--valkey-port (or use yours: --valkey-url)")?;
    let folder = options.folder.join("valkey");
    remove_log(&folder.join("valkey.log"))?;
    Ok(Some(Valkey::builder(toolbox).modules(true).port(Some(port)).dir(folder).start()?))
}

fn start_service(
    options: &Options,
    service: &Service,
    at: &Addresses,
    store: &str,
    mesh: &Surroundings<'_>,
) -> Result<Process, Error> {
    let log = options.folder.join(format!("{}.log", at.info.name));
    remove_log(&log)?;
    let mut spec = Spec::new(&options.program).clear_env();
    for (name, value) in std::env::vars_os().filter(|(name, _)| !service.is_foreign(&name.to_string_lossy())) {
        spec = spec.env(name, value);
    }
    spec = spec
        .name(at.info.name)
        .env(SERVICE, at.info.name)
        .env("KEYPLANE_GRPC_ADDR", at.grpc.to_string())
        .env("KEYPLANE_ADMIN_ADDR", at.admin.to_string())
        .env("KEYPLANE_KV_URL", store)
        // No load balancer has to notice: the gateway has stopped by then.
        .env("KEYPLANE_DRAIN_DELAY", "0s")
        .env("KEYPLANE_DRAIN_TIMEOUT", "5s")
        .env("KEYPLANE_TRACE_SAMPLE_RATIO", "1")
        .log_to(log);
    if let Some(endpoint) = &options.otlp_endpoint {
        spec = spec.env("KEYPLANE_OTLP_ENDPOINT", endpoint);
    }
    for (name, value) in (service.settings)(mesh) {
        spec = spec.env(name, value);
    }
    for (name, value) in options.settings.iter().filter(|(name, _)| !service.is_foreign(name)) {
        spec = spec.env(name, value);
    }
    Ok(Process::spawn(spec)?)
}

fn start_gateway(
    options: &Options,
    toolbox: &Toolbox,
    listen: SocketAddr,
    mesh: &Surroundings<'_>,
) -> Result<Supervisor, Error> {
    let socket = Socket::new()?;
    let gateway = Gateway {
        listen,
        admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        services: mesh.services.iter().map(|at| (at.info.name, at.grpc)).collect(),
        folder: options.folder.clone(),
        otlp_endpoint: options.otlp_endpoint.clone(),
        cors_origins: options.cors_origins.clone(),
        keys: mesh.keys.to_owned(),
        guard: socket.path(),
    };
    let (program, log) = (options.program.clone(), options.folder.join("guard.log"));
    remove_log(&log)?;
    Ok(Supervisor::start(Setup {
        configuration: gateway.prepare()?,
        toolbox: toolbox.clone(),
        socket,
        guard: Box::new(move |socket| Spec::new(&program).name("guard").env(GUARD, socket).log_to(&log)),
        report: Arc::new(|line| eprintln!("{line}")),
    })?)
}

/// Removes the log of an earlier run, since logs are appended to.
fn remove_log(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("removing {}", path.display()))(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn died(name: &str, process: &Process) -> Error {
    let exit = process.ended().await.to_string();
    Error::Died { name: name.to_owned(), exit, log: tail(&process.log()) }
}
