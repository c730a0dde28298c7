//! Stage of a scenario: a store, and instances of the service.

use std::net::SocketAddr;

use futures::future::try_join_all;
use keyplane_engine::{Cluster, Toolbox, Valkey};
use keyplane_testkit::FaultProxy;

use super::case::Client;
use super::scenario::Scenario;
use crate::Error;
use crate::rig::{self, Services};
use crate::serve::Service;

/// Store, up.
pub(super) enum Store {
    One(Valkey),
    Many(Cluster),
}

/// Store and the instances; all end when this is dropped.
pub(super) struct Stage {
    pub(super) instances: Vec<Services>,
    /// Before the last instance, where the scenario has one.
    pub(super) proxy: Option<FaultProxy>,
    pub(super) store: Store,
}

// === impl Store ===

impl Store {
    /// Blocks until it is up.
    pub(super) fn start(scenario: Scenario) -> Result<Store, Error> {
        let toolbox = Toolbox::find();
        Ok(match scenario {
            Scenario::Cluster => Store::Many(rig::cluster()?),
            Scenario::Restart => {
                // Each write is on disk before it is acknowledged: what is lost is the service's fault.
                let builder = Valkey::builder(&toolbox).setting("appendonly", "yes");
                Store::One(builder.setting("appendfsync", "always").start()?)
            }
            Scenario::Calm
            | Scenario::FalsePositives
            | Scenario::Sigstop
            | Scenario::Cut
            | Scenario::BlackHole
            | Scenario::HalfOpen
            | Scenario::Trim
            | Scenario::Flush => Store::One(Valkey::builder(&toolbox).start()?),
        })
    }

    pub(super) fn url(&self) -> String {
        match self {
            Store::One(valkey) => valkey.url(),
            Store::Many(cluster) => cluster.url(),
        }
    }
}

// === impl Stage ===

impl Stage {
    /// Starts the instances, and waits until all are ready.
    pub(super) async fn start(
        scenario: Scenario,
        rule: bool,
        count: usize,
        settings: &[(&str, &str)],
    ) -> Result<Stage, Error> {
        let store = tokio::task::block_in_place(|| Store::start(scenario))?;
        let proxy = match &store {
            Store::One(valkey) if scenario.has_proxy() => Some(FaultProxy::to_port(valkey.port())),
            Store::One(_) | Store::Many(_) => None,
        };
        let url = store.url();
        let settings = [&scenario.settings(rule)[..], settings].concat();
        let urls: Vec<_> = (1..=count)
            .map(|number| match &proxy {
                Some(proxy) if number == count => proxy.url(&url),
                _ => url.clone(),
            })
            .collect();
        let starts = urls.iter().map(|url| Services::start(Service::Revocation, url, false, &settings));
        let instances = try_join_all(starts).await?;
        Ok(Stage { instances, proxy, store })
    }

    /// Connections to each instance.
    pub(super) async fn clients(&self, connections: usize) -> Result<Vec<Vec<Client>>, Error> {
        let connect = async |address: SocketAddr| {
            let channels = rig::channels(address, connections).await?;
            Ok::<_, Error>(channels.into_iter().map(Client::new).collect())
        };
        try_join_all(self.instances.iter().map(|instance| connect(instance.addresses.service))).await
    }

    /// Error of this stage, with what the instances wrote last.
    pub(super) fn explain(&self, scenario: &str, error: &Error) -> Error {
        let logs = self.instances.iter().enumerate().map(|(number, instance)| {
            let log = instance.log();
            let lines: Vec<_> = log.lines().rev().take(20).collect();
            let lines: Vec<_> = lines.into_iter().rev().collect();
            format!("\ninstance {number}:\n{}", lines.join("\n"))
        });
        format!("{scenario}: {error}{}", logs.collect::<String>()).into()
    }
}
