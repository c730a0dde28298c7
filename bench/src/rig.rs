//! What is measured: an embedded Valkey, and the services in a child process.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use keyplane_contracts::session::v1::GetSessionRequest;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use keyplane_engine::{Process, Spec, Toolbox, Valkey};
use tokio::time::{Instant, sleep};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::serve::Addresses;
use crate::{Error, machine};

/// The application whose keys a run writes.
pub(crate) const APP: &str = "bench";

/// How long a service may take until it serves, and until it is ready.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a service idles before its memory is read.
const IDLE: Duration = Duration::from_secs(2);

/// The services in a process of their own, which ends when this is dropped.
pub(crate) struct Services {
    process: Process,
    pub(crate) addresses: Addresses,
}

/// Starts a Valkey of its own; fetches the program the first time.
pub(crate) fn valkey() -> Result<Valkey, Error> {
    Ok(Valkey::builder(&Toolbox::find()).start()?)
}

/// A number out of `INFO`.
pub(crate) fn info(valkey: &Valkey, section: &str, name: &str) -> Result<String, Error> {
    let reply = valkey.command(&["INFO", section])?;
    let text = reply.text().unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(|value| value.trim().to_owned()).ok_or_else(|| format!("INFO {section} has no {name}").into())
}

/// Bytes that Valkey uses for data and connections.
pub(crate) fn used_memory(valkey: &Valkey) -> Result<u64, Error> {
    Ok(info(valkey, "memory", "used_memory")?.parse()?)
}

/// Resident memory of the session service alone, ready but without a call, in bytes.
pub(crate) async fn idle_rss(valkey: &Valkey) -> Result<u64, Error> {
    let services = Services::start(valkey, false).await?;
    sleep(IDLE).await;
    machine::rss(services.pid())
}

/// Connections to one server.
pub(crate) async fn channels(address: SocketAddr, count: usize) -> Result<Vec<Channel>, Error> {
    let mut channels = Vec::with_capacity(count);
    for _ in 0..count {
        channels.push(Endpoint::from_shared(format!("http://{address}"))?.connect().await?);
    }
    Ok(channels)
}

// === impl Services ===

impl Services {
    /// Starts the session service, and the yardsticks with it, on `valkey`, and waits until it is ready.
    ///
    /// The settings are the defaults, but for the store, the ports and the drain; this process's environment may set others.
    pub(crate) async fn start(valkey: &Valkey, echo: bool) -> Result<Services, Error> {
        let (said, lines) = mpsc::channel();
        let spec = Spec::new(std::env::current_exe()?)
            .name("the services")
            .arg("serve")
            .args(echo.then_some("--echo"))
            .env("KEYPLANE_APP", APP)
            .env("KEYPLANE_KV_URL", valkey.url())
            .env("KEYPLANE_GRPC_ADDR", "127.0.0.1:0")
            .env("KEYPLANE_ADMIN_ADDR", "127.0.0.1:0")
            .env("KEYPLANE_DRAIN_DELAY", "0s")
            .on_line(move |line| {
                if let Ok(addresses) = serde_json::from_str::<Addresses>(line) {
                    // Nobody listens any more: then the start has failed already.
                    let _ = said.send(addresses);
                }
            });
        let process = Process::spawn(spec)?;
        let Ok(addresses) = lines.recv_timeout(PATIENCE) else {
            return Err(format!("the services do not start:\n{}", process.log()).into());
        };
        let services = Services { process, addresses };
        services.wait_ready().await?;
        Ok(services)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until a call gets past the store: it finds no such session.
    async fn wait_ready(&self) -> Result<(), Error> {
        let channel = channels(self.addresses.session, 1).await?.remove(0);
        let mut client = SessionServiceClient::new(channel);
        let name = format!("tenants/bench/users/nobody/sessions/{:032}", 0);
        let until = Instant::now() + PATIENCE;
        loop {
            match client.get_session(GetSessionRequest { name: name.clone() }).await {
                Err(status) if status.code() == Code::NotFound => return Ok(()),
                Err(status) if Instant::now() > until => {
                    return Err(format!("the services do not get ready: {status}\n{}", self.process.log()).into());
                }
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    }
}
