//! Instances of all services: processes that can be stopped, killed and started again, at fixed ports.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use keyplane_client::Channel;
use keyplane_engine::free_port;
use parking_lot::Mutex;
use tonic::transport::Endpoint;

use super::outcome::DEADLINE;
use crate::Error;
use crate::rig::Services;
use crate::serve::Service;

/// Three instances of each service.
pub(super) struct Fleet {
    pub(super) instances: Vec<Instance>,
}

/// Process, or the place of a killed one.
pub(super) struct Instance {
    pub(super) service: Service,
    pub(super) number: usize,
    pub(super) grpc: SocketAddr,
    pub(super) admin: SocketAddr,
    /// Channel for calls; the next one is for watches.
    pub(super) channel: Channel,
    pub(super) watches: Channel,
    store: String,
    settings: Vec<(String, String)>,
    process: Mutex<Option<Services>>,
    trouble: Mutex<Trouble>,
}

/// Times in which the process could not answer.
#[derive(Debug, Default)]
struct Trouble {
    since: Option<Instant>,
    until: Option<Instant>,
}

/// Instances of each service.
pub(super) const EACH: usize = 3;
/// Services in their starting order.
pub(super) const SERVICES: [Service; 3] = [Service::Revocation, Service::RateLimit, Service::Session];
/// Longest time to connect; longest silence of a live peer.
const CONNECT: Duration = Duration::from_millis(500);
const SILENCE: Duration = Duration::from_secs(5);
/// Longest time of a service's shutdown.
const GRACE: Duration = Duration::from_secs(30);

// === impl Fleet ===

impl Fleet {
    /// Starts all instances, and waits until each is ready. `urls` has the store's URL for each instance, and `limits` the
    /// text of the policies file.
    pub(super) async fn start(urls: &[String], folder: &Path, limits: &str) -> Result<Fleet, Error> {
        let policies = folder.join("policies.yaml");
        std::fs::write(&policies, limits)?;
        let mut instances = Vec::new();
        let mut urls = urls.iter();
        for service in SERVICES {
            for number in 0..EACH {
                let url = urls.next().ok_or("an instance has no way to the store")?;
                instances.push(Instance::new(service, number, url, &policies)?);
            }
        }
        // Session asks the first instance of revocation, as it asks the balancer in production.
        let revocation = format!("http://{}", instances[0].grpc);
        for instance in instances.iter_mut().filter(|instance| instance.service == Service::Session) {
            instance.settings.push(("KEYPLANE_SESSION_REVOCATION_URL".to_owned(), revocation.clone()));
        }
        let fleet = Fleet { instances };
        try_join_all(fleet.instances.iter().map(Instance::start)).await?;
        Ok(fleet)
    }

    /// Instances of one service.
    pub(super) fn of(&self, service: Service) -> &[Instance] {
        let first = SERVICES.iter().position(|other| *other == service).unwrap_or(0) * EACH;
        &self.instances[first..first + EACH]
    }

    /// Picks an instance by any number.
    pub(super) fn pick(&self, service: Service, number: u64) -> &Instance {
        &self.of(service)[(number % EACH as u64) as usize]
    }
}

// === impl Instance ===

impl Instance {
    fn new(service: Service, number: usize, store: &str, policies: &Path) -> Result<Instance, Error> {
        let [grpc, admin] = [free_port()?, free_port()?].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let endpoint = Endpoint::from_shared(format!("http://{grpc}"))?;
        let mut settings = vec![
            ("KEYPLANE_GRPC_ADDR".to_owned(), grpc.to_string()),
            ("KEYPLANE_ADMIN_ADDR".to_owned(), admin.to_string()),
            ("KEYPLANE_DEFAULT_DEADLINE".to_owned(), format!("{}ms", DEADLINE.as_millis())),
            ("KEYPLANE_LOG".to_owned(), "warn".to_owned()),
        ];
        if service == Service::Revocation {
            // Half of the default's reads: three instances idle on two cores here.
            settings.push(("KEYPLANE_REVOCATION_PARTITIONS".to_owned(), "2".to_owned()));
        }
        if service == Service::RateLimit {
            settings.push(("KEYPLANE_RATELIMIT_POLICIES".to_owned(), policies.display().to_string()));
            // A debug build on a busy machine is not done within production's 8 ms.
            settings.push(("KEYPLANE_RATELIMIT_ENVOY_DEADLINE".to_owned(), "400ms".to_owned()));
        }
        let channel = || Channel::lazy(endpoint.clone(), CONNECT, SILENCE);
        Ok(Instance {
            service,
            number,
            grpc,
            admin,
            channel: channel(),
            watches: channel(),
            store: store.to_owned(),
            settings,
            process: Mutex::default(),
            trouble: Mutex::default(),
        })
    }

    pub(super) fn name(&self) -> String {
        let service = match self.service {
            Service::Session => "session",
            Service::Revocation => "auth-revocation",
            Service::RateLimit => "rate-limiting",
            Service::Search => "search",
        };
        format!("{service} {}", self.number + 1)
    }

    /// Starts the process, and waits until it is ready.
    pub(super) async fn start(&self) -> Result<(), Error> {
        let settings: Vec<_> = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let process = Services::start(self.service, &self.store, false, &settings).await?;
        *self.process.lock() = Some(process);
        self.trouble_ends();
        Ok(())
    }

    /// SIGKILL.
    pub(super) fn kill(&self) {
        self.trouble_begins();
        // Dropping kills it.
        drop(self.process.lock().take());
    }

    /// SIGTERM; blocks until the process has drained.
    pub(super) fn stop(&self) -> Result<(), Error> {
        let process = self.process.lock().take();
        let stopped = process.map_or(Ok(()), |process| process.stop(GRACE));
        self.trouble_begins();
        stopped
    }

    /// SIGSTOP.
    pub(super) fn pause(&self) -> Result<(), Error> {
        self.trouble_begins();
        self.process.lock().as_ref().map_or(Ok(()), Services::pause)
    }

    /// SIGCONT.
    pub(super) fn resume(&self) -> Result<(), Error> {
        let resumed = self.process.lock().as_ref().map_or(Ok(()), Services::resume);
        self.trouble_ends();
        resumed
    }

    /// Reports whether the process was unable to answer at some time since `begin`.
    pub(super) fn disturbed_since(&self, begin: Instant) -> bool {
        let trouble = self.trouble.lock();
        trouble.since.is_some() || trouble.until.is_some_and(|until| until >= begin)
    }

    /// `None` while there is no process.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.lock().as_ref().map(Services::pid)
    }

    /// Text that it wrote.
    pub(super) fn log(&self) -> String {
        self.process.lock().as_ref().map(Services::log).unwrap_or_default()
    }

    fn trouble_begins(&self) {
        self.trouble.lock().since.get_or_insert_with(Instant::now);
    }

    fn trouble_ends(&self) {
        *self.trouble.lock() = Trouble { since: None, until: Some(Instant::now()) };
    }
}
