//! Generator of `ShouldRateLimit` calls over bare connections.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::try_join_all;
use prost::Message as _;
use rustix::thread::CpuSet;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use super::policies::{ADMITTING, DENYING};
use super::target::{DENIED, envoy};
use super::wire::{self, Calls, Made};
use crate::Error;
use crate::closed::Shape;
use crate::cores::Confined;

/// Calls over bare connections, made by a thread of their own.
#[derive(Clone)]
pub(super) struct Generator {
    admitting: Arc<[Vec<u8>]>,
    denied: Arc<[Vec<u8>]>,
    connections: usize,
    cores: Option<CpuSet>,
}

const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
/// `RateLimitResponse.overall_code`, its first field.
const OK: u8 = 1;
const OVER_LIMIT: u8 = 2;

// === impl Generator ===

impl Generator {
    pub(super) fn new(shape: Shape, users: usize, cores: Option<CpuSet>) -> Generator {
        let messages = |domain: &str, kind: &str, users: usize| {
            (0..users).map(|user| envoy(domain, format!("{kind}-{user}")).encode_to_vec()).collect()
        };
        Generator {
            admitting: messages(ADMITTING, "e", users),
            denied: messages(DENYING, "f", DENIED),
            connections: shape.connections.into(),
            cores,
        }
    }

    /// Keeps admitted calls in flight until then.
    pub(super) async fn admitted(&self, address: SocketAddr, in_flight: usize, until: Instant) -> Result<Made, Error> {
        self.drive(address, self.admitting.clone(), OK, in_flight, until).await
    }

    /// Keeps admitted calls in flight for that long; returns calls a second.
    pub(super) async fn rate(&self, address: SocketAddr, in_flight: usize, length: Duration) -> Result<f64, Error> {
        let start = Instant::now();
        let made = self.admitted(address, in_flight, start + length).await?;
        Ok(made.work.latencies.count() as f64 / start.elapsed().as_secs_f64())
    }

    /// Keeps denied calls in flight until then.
    pub(super) async fn denied(&self, address: SocketAddr, in_flight: usize, until: Instant) -> Result<Made, Error> {
        self.drive(address, self.denied.clone(), OVER_LIMIT, in_flight, until).await
    }

    async fn drive(
        &self,
        address: SocketAddr,
        messages: Arc<[Vec<u8>]>,
        expected: u8,
        in_flight: usize,
        until: Instant,
    ) -> Result<Made, Error> {
        let connections = self.connections.min(in_flight);
        let calls = move |first: usize| Calls {
            address,
            path: PATH,
            messages: messages.clone(),
            first,
            step: connections,
            in_flight: in_flight / connections + usize::from(first < in_flight % connections),
            expected,
        };
        let (done, made) = oneshot::channel();
        let cores = self.cores;
        std::thread::spawn(move || {
            let work = || -> Result<Made, Error> {
                let _confined = cores.map(|cores| Confined::to(&cores)).transpose()?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let all = try_join_all((0..connections).map(|first| wire::drive(calls(first), until)));
                Ok(Made::together(runtime.block_on(all)?))
            };
            // The receiver may have been dropped.
            let _ = done.send(work());
        });
        made.await?
    }
}
