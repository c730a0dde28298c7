//! Rig of a run: an embedded Valkey, and the services in child processes.

use std::net::SocketAddr;
use std::time::Duration;

use keyplane_engine::{Cluster, Process, Signal, Spec, Toolbox, Valkey};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::serve::{Addresses, Service};
use crate::{Error, machine};

/// Application whose keys a run writes.
pub(crate) const APP: &str = "bench";

/// Longest time until a service serves, and until it is ready: one that has a million revocations to read takes
/// its time.
const PATIENCE: Duration = Duration::from_mins(1);
/// Bytes that a server may send on a connection before they are read.
const WINDOW: u32 = 16 << 20;
/// Silence after which a node of a cluster is replaced: short, but not for a machine as busy as this.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest time until a replica is in sync with its primary.
const SYNC: Duration = Duration::from_secs(30);
/// Idle time before a service's memory is read.
const IDLE: Duration = Duration::from_secs(2);

/// Service, perhaps with the yardsticks, in a process of its own, which ends when this is dropped.
pub(crate) struct Services {
    process: Process,
    pub(crate) addresses: Addresses,
}

/// Starts a Valkey of its own; fetches the program the first time.
pub(crate) fn valkey() -> Result<Valkey, Error> {
    Ok(Valkey::builder(&Toolbox::find()).start()?)
}

/// Starts three primaries with a replica each.
pub(crate) fn cluster() -> Result<Cluster, Error> {
    let toolbox = Toolbox::find();
    let builder = Cluster::builder(&toolbox).primaries(3).replicas(1).may_wait(true);
    Ok(builder.node_timeout(NODE_TIMEOUT).start()?)
}

/// Blocks until each primary of a cluster has a replica that is in sync.
pub(crate) fn wait_whole(cluster: &Cluster) -> Result<(), Error> {
    let until = Instant::now() + SYNC;
    loop {
        let replicas = cluster.nodes().iter().map(|node| {
            let info = node.command(&["INFO", "replication"])?;
            Ok::<_, Error>(info.text().map_or(0, |text| text.matches("state=online").count()))
        });
        if replicas.sum::<Result<usize, Error>>()? == cluster.nodes().len() - cluster.primaries() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("the cluster's replicas are not in sync after {SYNC:?}").into());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Number out of `INFO`.
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

/// Resident memory of a service alone, ready but without a call, in bytes.
pub(crate) async fn idle_rss(service: Service, valkey: &Valkey) -> Result<u64, Error> {
    let services = Services::start(service, &valkey.url(), false, &[]).await?;
    sleep(IDLE).await;
    machine::rss(services.pid())
}

/// Connections to one server.
pub(crate) async fn channels(address: SocketAddr, count: usize) -> Result<Vec<Channel>, Error> {
    let mut channels = Vec::with_capacity(count);
    for _ in 0..count {
        // Half of the window is also how many answers h2 buffers: by default a server that was stopped for a moment
        // answers so many calls at once that the client takes it for an attack, and closes the connection.
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.initial_connection_window_size(WINDOW);
        channels.push(endpoint.connect().await?);
    }
    Ok(channels)
}

// === impl Services ===

impl Services {
    /// Starts a service, and the yardsticks with it if asked to, on the store at `url`, and waits until it is ready.
    ///
    /// Settings are the defaults, but for the store, the ports, the drain and what `settings` names; this process's
    /// environment may set others.
    pub(crate) async fn start(
        service: Service,
        url: &str,
        echo: bool,
        settings: &[(&str, &str)],
    ) -> Result<Services, Error> {
        let (said, says) = oneshot::channel();
        let mut said = Some(said);
        let spec = Spec::new(std::env::current_exe()?)
            .name("the services")
            .args(["serve", service.name()])
            .args(echo.then_some("--echo"))
            .env("KEYPLANE_APP", APP)
            .env("KEYPLANE_KV_URL", url)
            .env("KEYPLANE_GRPC_ADDR", "127.0.0.1:0")
            .env("KEYPLANE_ADMIN_ADDR", "127.0.0.1:0")
            .env("KEYPLANE_DRAIN_DELAY", "0s")
            .on_line(move |line| {
                if let Ok(addresses) = serde_json::from_str::<Addresses>(line)
                    && let Some(said) = said.take()
                {
                    // Nobody listens any more: then the start has failed already.
                    let _ = said.send(addresses);
                }
            });
        let spec = settings.iter().fold(spec, |spec, (name, value)| spec.env(name, value));
        let process = Process::spawn(spec)?;
        let Ok(Ok(addresses)) = timeout(PATIENCE, says).await else {
            return Err(format!("the services do not start:\n{}", process.log()).into());
        };
        let services = Services { process, addresses };
        services.wait_ready().await?;
        Ok(services)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Freezes the process: connections stay open, and nothing is answered.
    pub(crate) fn pause(&self) -> Result<(), Error> {
        Ok(self.process.signal(Signal::STOP)?)
    }

    /// Ends a [`Services::pause`].
    pub(crate) fn resume(&self) -> Result<(), Error> {
        Ok(self.process.signal(Signal::CONT)?)
    }

    /// Stops the process (SIGTERM), and blocks until it has ended.
    ///
    /// # Errors
    /// It ends with a failure, or had to be killed after `grace`.
    pub(crate) fn stop(&self, grace: Duration) -> Result<(), Error> {
        let status = self.process.stop(grace)?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("the services do not stop within {grace:?} of SIGTERM: {status}").into()),
        }
    }

    /// Output so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until the service says of itself that it is ready.
    async fn wait_ready(&self) -> Result<(), Error> {
        let mut client = HealthClient::new(channels(self.addresses.service, 1).await?.remove(0));
        let until = Instant::now() + PATIENCE;
        loop {
            let request = HealthCheckRequest { service: "readiness".to_owned() };
            match client.check(request).await {
                Ok(reply) if reply.get_ref().status() == ServingStatus::Serving => return Ok(()),
                _ if Instant::now() > until => {
                    return Err(format!("the services do not get ready:\n{}", self.process.log()).into());
                }
                _ => sleep(Duration::from_millis(5)).await,
            }
        }
    }
}
