//! Gateways: a real Envoy with the shipped configuration, and one without the guard.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keyplane_engine::{Envoy, Spec, Toolbox};
use keyplane_gateway::{Setup, Socket, Supervisor};
use keyplane_local::{Gateway, Issuer};

use super::plain::without_guard;
use crate::{Error, machine};

/// Configuration of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arm {
    Shipped,
    Plain,
}

/// Gateway; its processes end when this is dropped.
pub(super) struct Front {
    pub(super) url: String,
    running: Running,
}

enum Running {
    Shipped(Supervisor),
    Plain(Envoy),
}

/// Surroundings of all gateways.
pub(super) struct Site<'a> {
    pub(super) services: Vec<(&'static str, SocketAddr)>,
    pub(super) issuer: &'a Issuer,
}

// === impl Front ===

impl Front {
    /// Starts one with its files in `folder`. Blocks until it is ready.
    pub(super) fn start(arm: Arm, site: &Site<'_>, folder: &Path) -> Result<Front, Error> {
        std::fs::create_dir_all(folder)?;
        let socket = Socket::new()?;
        let gateway = Gateway {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            services: site.services.clone(),
            folder: folder.to_owned(),
            otlp_endpoint: None,
            cors_origins: "none".to_owned(),
            keys: site.issuer.keys().to_owned(),
            guard: socket.path(),
        };
        let (configuration, toolbox) = (gateway.prepare()?, Toolbox::find());
        let running = match arm {
            Arm::Shipped => {
                let program = std::env::current_exe()?;
                Running::Shipped(Supervisor::start(Setup {
                    configuration,
                    toolbox,
                    socket,
                    guard: Box::new(move |socket| Spec::new(&program).name("the guard").arg("guard").arg(socket)),
                    report: Arc::new(|line| eprintln!("{line}")),
                })?)
            }
            Arm::Plain => Running::Plain(Envoy::start(&toolbox, &without_guard(&configuration)?)?),
        };
        let mut front = Front { url: String::new(), running };
        front.url = format!("http://{}", front.with_envoy(|envoy| envoy.listener("gateway"))?);
        Ok(front)
    }

    /// User and system time so far, of Envoy and of the guard.
    pub(super) fn cpu(&self) -> Result<[Duration; 2], Error> {
        let envoy = machine::cpu(self.with_envoy(|envoy| envoy.process().pid()))?;
        let guard = match &self.running {
            Running::Shipped(supervisor) => machine::cpu(supervisor.guard().pid())?,
            Running::Plain(_) => Duration::ZERO,
        };
        Ok([envoy, guard])
    }

    /// Questions to the guard so far.
    pub(super) fn asked(&self) -> Result<u64, Error> {
        let stats = self.with_envoy(|envoy| envoy.admin_get("/stats?filter=^cluster.guard.upstream_rq_total$"))?;
        match stats.trim().rsplit_once(": ") {
            Some((_, count)) => Ok(count.parse()?),
            None => Ok(0),
        }
    }

    fn with_envoy<T>(&self, read: impl FnOnce(&Envoy) -> T) -> T {
        match &self.running {
            Running::Shipped(supervisor) => read(&supervisor.envoy()),
            Running::Plain(envoy) => read(envoy),
        }
    }
}
