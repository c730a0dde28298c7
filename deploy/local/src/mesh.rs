use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use keyplane_engine::{Envoy, Process, Spec, Tool, Toolbox, Valkey};
use serde::Serialize;
use serde_json::json;
use url::Url;

use crate::error::tail;
use crate::{Error, Gateway, Options, ports, ready};

/// How long a process may take to stop in good order. More than a service's drain.
const GRACE: Duration = Duration::from_secs(30);

/// The running mesh. Dropping it kills every process; [`Mesh::stop`] ends them in good order.
#[derive(Debug)]
pub struct Mesh {
    // In the order in which they are to be dropped.
    gateway: Option<Envoy>,
    session: Process,
    valkey: Option<Valkey>,
    endpoints: Endpoints,
}

/// Where everything listens. All on loopback.
#[derive(Clone, Debug, Serialize)]
pub struct Endpoints {
    /// Base URL of the gateway, e.g. `http://127.0.0.1:8080`.
    pub gateway: Option<String>,
    /// The OpenAPI document.
    pub openapi: Option<String>,
    /// The session service.
    pub session: ServiceEndpoints,
    /// The store, as a user who may do everything, or as it was given, without its password.
    pub valkey: String,
    /// Where logs and generated files are.
    pub folder: String,
    /// Name of a session to try things out with; it lives for 30 minutes after its last use.
    pub example: Option<String>,
}

/// Where a service listens.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceEndpoints {
    /// Host and port of gRPC.
    pub grpc: String,
    /// Base URL of `/livez`, `/readyz`, `/metrics` and `/config`.
    pub admin: String,
    /// Process id.
    pub pid: u32,
}

// === impl Mesh ===

impl Mesh {
    /// Fetches what is missing, starts everything and waits until all of it answers, up to a JSON round trip.
    ///
    /// Cancelling kills what was started.
    ///
    /// # Errors
    ///
    /// When a program can't be fetched, a port is taken, or a process ends or does not become ready; the error shows
    /// the end of its log. Nothing is left running.
    pub async fn start(options: Options) -> Result<Mesh, Error> {
        let launched = tokio::task::spawn_blocking(move || Mesh::launch(&options)).await;
        let mut mesh = launched.map_err(|error| Error::io("starting the mesh")(std::io::Error::other(error)))??;
        let http = reqwest::Client::new();
        let example = tokio::select! {
            ready = mesh.ready(&http) => ready?,
            died = mesh.died() => return Err(died),
        };
        mesh.endpoints.example = example;
        Ok(mesh)
    }

    /// Where everything listens.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The session service's process, to signal it or to read its log.
    #[must_use]
    pub fn session(&self) -> &Process {
        &self.session
    }

    /// The gateway, if it was started.
    #[must_use]
    pub fn gateway(&self) -> Option<&Envoy> {
        self.gateway.as_ref()
    }

    /// The Valkey that was started, to pause or kill it.
    #[must_use]
    pub fn valkey(&self) -> Option<&Valkey> {
        self.valkey.as_ref()
    }

    /// Waits until a process of the mesh ends by itself, and says which. Cancel safe.
    pub async fn died(&self) -> Error {
        let gateway = async {
            match &self.gateway {
                Some(envoy) => died("the gateway", envoy.process()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            error = gateway => error,
            error = died("the session service", &self.session) => error,
            error = self.valkey_died() => error,
        }
    }

    /// Stops every process in good order: the gateway, then the services (they drain), then Valkey.
    ///
    /// # Errors
    ///
    /// When a process can't be stopped; the others are stopped all the same.
    pub async fn stop(self) -> Result<(), Error> {
        let stopped = tokio::task::spawn_blocking(move || {
            let gateway = self.gateway.map_or(Ok(()), Envoy::stop);
            let session = self.session.stop(GRACE).map(drop);
            let valkey = self.valkey.map_or(Ok(()), |valkey| valkey.stop());
            gateway.and(session).and(valkey)
        });
        stopped.await.map_err(|error| Error::io("stopping the mesh")(std::io::Error::other(error)))??;
        Ok(())
    }

    fn launch(options: &Options) -> Result<Mesh, Error> {
        let folder = &options.folder;
        std::fs::create_dir_all(folder).map_err(Error::io(format!("making {}", folder.display())))?;
        let gateway_port = match options.gateway {
            true => Some(ports::claim("the gateway", options.gateway_port, "--gateway-port")?),
            false => None,
        };
        let session_port = ports::claim("the session service", options.session_port, "--session-port")?;
        let admin_port = match options.session_port {
            0 => keyplane_engine::free_port()?,
            port => ports::claim("the session service's admin interface", port.saturating_add(1000), "--session-port")?,
        };
        let toolbox = Toolbox::find();
        toolbox.ensure(&Mesh::tools(options))?;

        let valkey = start_valkey(options, &toolbox)?;
        let store = valkey.as_ref().map(Valkey::url).or_else(|| options.valkey_url.clone()).unwrap_or_default();
        let [grpc, admin] = [session_port, admin_port].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let session = start_session(options, grpc, admin, &store)?;
        let listen = gateway_port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let gateway = listen.map(|listen| start_gateway(options, &toolbox, listen, grpc)).transpose()?;

        let url = listen.map(|listen| format!("http://{listen}"));
        let endpoints = Endpoints {
            openapi: url.as_ref().map(|url| format!("{url}/openapi.json")),
            gateway: url,
            session: ServiceEndpoints { grpc: grpc.to_string(), admin: format!("http://{admin}"), pid: session.pid() },
            valkey: valkey.as_ref().map_or_else(|| without_password(&store), Valkey::admin_url),
            folder: folder.display().to_string(),
            example: None,
        };
        Ok(Mesh { gateway, session, valkey, endpoints })
    }

    /// The tools that `options` need.
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

    /// Waits for each part in turn. Ends with a session that was created through the gateway.
    async fn ready(&self, http: &reqwest::Client) -> Result<Option<String>, Error> {
        let session = &self.endpoints.session;
        let service = "keyplane.session.v1.SessionService";
        let log = || tail(&self.session.log());
        let failed = |what: &str, log: String| {
            let what = what.to_owned();
            move |detail| Error::NotReady { what, waited: ready::PATIENCE, detail, log }
        };
        let served = ready::until(async || ready::serving(&session.grpc, service).await).await;
        served.map_err(|detail| failed("the session service", log())(detail))?;
        let url = format!("{}/readyz", session.admin);
        let answered = ready::until(async || ready::get(http, &url).await).await;
        answered.map_err(|detail| failed("the session service", log())(detail))?;

        let (Some(url), Some(gateway)) = (&self.endpoints.gateway, &self.gateway) else { return Ok(None) };
        let healthz = format!("{url}/healthz");
        let answered = ready::until(async || ready::get(http, &healthz).await).await;
        answered.map_err(|detail| failed("the gateway", tail(&gateway.log()))(detail))?;
        // Through everything; and the printed examples need a session.
        let sessions = format!("{url}/v1/tenants/demo/users/ada/sessions");
        let body = json!({"companyId": "c-7", "lastPath": "/"});
        let created = ready::until(async || ready::post(http, &sessions, &body).await).await;
        let created = created.map_err(|detail| failed("the gateway", tail(&gateway.log()))(detail))?;
        let created: serde_json::Value = serde_json::from_str(&created).unwrap_or_default();
        Ok(created["name"].as_str().map(str::to_owned))
    }

    /// The engine keeps a dead server's id, but not the server.
    async fn valkey_died(&self) -> Error {
        let Some(valkey) = &self.valkey else { return std::future::pending().await };
        loop {
            let pid = valkey.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
            // None: stopped by whoever holds the mesh, as tests do.
            if pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_err()) {
                return Error::Died {
                    name: "valkey".to_owned(),
                    how: "see the log".to_owned(),
                    log: tail(&valkey.log()),
                };
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

// === parts ===

fn start_valkey(options: &Options, toolbox: &Toolbox) -> Result<Option<Valkey>, Error> {
    if options.valkey_url.is_some() {
        return Ok(None);
    }
    let port = ports::claim("Valkey", options.valkey_port, "--valkey-port (or use yours: --valkey-url)")?;
    let folder = options.folder.join("valkey");
    remove_log(&folder.join("valkey.log"))?;
    Ok(Some(Valkey::builder(toolbox).modules(true).port(Some(port)).dir(folder).start()?))
}

fn start_session(options: &Options, grpc: SocketAddr, admin: SocketAddr, store: &str) -> Result<Process, Error> {
    let log = options.folder.join("session.log");
    remove_log(&log)?;
    let mut spec = Spec::new(&options.program)
        .name("session")
        .env("KEYPLANE_LOCAL_SERVICE", "session")
        .env("KEYPLANE_GRPC_ADDR", grpc.to_string())
        .env("KEYPLANE_ADMIN_ADDR", admin.to_string())
        .env("KEYPLANE_KV_URL", store)
        // Nobody else has to learn that it goes: the gateway has stopped by then.
        .env("KEYPLANE_DRAIN_DELAY", "0s")
        .env("KEYPLANE_DRAIN_TIMEOUT", "5s")
        .env("KEYPLANE_TRACE_SAMPLE_RATIO", "1")
        .log_to(log);
    if let Some(endpoint) = &options.otlp_endpoint {
        spec = spec.env("KEYPLANE_OTLP_ENDPOINT", endpoint);
    }
    for (name, value) in &options.settings {
        spec = spec.env(name, value);
    }
    Ok(Process::spawn(spec)?)
}

fn start_gateway(options: &Options, toolbox: &Toolbox, listen: SocketAddr, grpc: SocketAddr) -> Result<Envoy, Error> {
    let gateway = Gateway {
        listen,
        admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        session: grpc,
        folder: options.folder.clone(),
        otlp_endpoint: options.otlp_endpoint.clone(),
        cors_origins: options.cors_origins.clone(),
    };
    Ok(Envoy::start(toolbox, &gateway.prepare()?)?)
}

/// It is printed, and kept in a file.
fn without_password(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return String::new() };
    if url.password().is_some() && url.set_password(Some("****")).is_err() {
        return String::new();
    }
    url.to_string()
}

/// Logs are appended to; one of an earlier run would be taken for this one's.
fn remove_log(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("removing {}", path.display()))(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn died(name: &str, process: &Process) -> Error {
    let how = process.ended().await.to_string();
    Error::Died { name: name.to_owned(), how, log: tail(&process.log()) }
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(without_password("valkey://me:secret@h:6379"), "valkey://me:****@h:6379");
        assert_eq!(without_password("valkey://h:6379"), "valkey://h:6379");
        assert_eq!(without_password("secret"), "");
    }
}
