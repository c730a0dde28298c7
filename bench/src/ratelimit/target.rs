//! Clients of a worker, and the answers that it gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_contracts::ratelimit::v1::rate_limit_service_client::RateLimitServiceClient;
use keyplane_rate_limiting::store::BucketStore;
use prost::Message as _;
use serde::Serialize;
use tonic::transport::Channel;

use super::row::Row;
use super::window::Windows;
use crate::closed;
use crate::decide::Decide;
use crate::load::TENANT;
use crate::pb::echo_service_client::EchoServiceClient;
use crate::pb::{EchoDecideRequest, EchoRequest};

/// Tenant of all calls.
pub(super) const PARENT: &str = "tenants/bench";
/// Users whose calls are denied: few, so that memory denies them.
pub(super) const DENIED: usize = 100;

/// Clients of a worker.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) echo: Vec<EchoServiceClient<Channel>>,
    pub(super) service: Vec<RateLimitServiceClient<Channel>>,
    pub(super) decide: Decide,
    pub(super) store: BucketStore,
    /// `None` on a cluster.
    pub(super) windows: Option<Arc<Windows>>,
    pub(super) users: usize,
    /// Makes each request id new.
    pub(super) ids: Arc<AtomicU64>,
    pub(super) tallies: Arc<[Tally; Row::ALL.len()]>,
}

/// Answers to the calls of a row.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    pub(super) admitted: AtomicU64,
    pub(super) denied: AtomicU64,
    /// Number of denials from memory.
    pub(super) cached: AtomicU64,
}

// === impl Tally ===

impl Tally {
    /// Share of calls that were admitted, 0 to 1.
    pub(super) fn admitted_share(&self) -> f64 {
        share(&self.admitted, self.admitted.load(Ordering::Relaxed) + self.denied.load(Ordering::Relaxed))
    }

    /// Share of denials that came from memory, 0 to 1.
    pub(super) fn cached_share(&self) -> f64 {
        share(&self.cached, self.denied.load(Ordering::Relaxed))
    }

    /// Counts as they are now.
    pub(super) fn snapshot(&self) -> Tally {
        let now = |count: &AtomicU64| AtomicU64::new(count.load(Ordering::Relaxed));
        Tally { admitted: now(&self.admitted), denied: now(&self.denied), cached: now(&self.cached) }
    }

    fn note(&self, admitted: bool, cached: bool) {
        let count = if admitted { &self.admitted } else { &self.denied };
        count.fetch_add(1, Ordering::Relaxed);
        self.cached.fetch_add(u64::from(cached), Ordering::Relaxed);
    }
}

fn share(part: &AtomicU64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part.load(Ordering::Relaxed) as f64 / of as f64 }
}

// === requests ===

/// Call of our own.
pub(super) fn acquire(user: String, limits: &[&str]) -> pb::AcquireRequest {
    let limits = limits.iter().map(|limit| (*limit).to_owned()).collect();
    pb::AcquireRequest { parent: PARENT.to_owned(), user, limits, ..Default::default() }
}

/// Envoy's call.
pub(crate) fn envoy(domain: &str, user: String) -> RateLimitRequest {
    let entry = |key: &str, value: String| Entry { key: key.to_owned(), value };
    let entries = vec![entry("tenant", TENANT.to_owned()), entry("user", user)];
    let descriptors = vec![RateLimitDescriptor { entries, ..RateLimitDescriptor::default() }];
    RateLimitRequest { domain: domain.to_owned(), descriptors, hits_addend: 1 }
}

// === impl Target ===

impl Target {
    async fn own(&mut self, row: Row, worker: usize, request: pb::AcquireRequest) -> Result<u64, String> {
        let connection = worker % self.service.len();
        let reply = self.service[connection].acquire(request).await.map_err(|status| status.to_string())?.into_inner();
        self.tallies[row as usize].note(reply.admitted, !reply.admitted && reply.source() == pb::Source::Cache);
        Ok(reply.encoded_len() as u64)
    }
}

impl closed::Caller for Target {
    type Row = Row;

    async fn call(&mut self, row: Row, worker: usize, number: usize) -> Result<u64, String> {
        let user = |kind: &str| format!("{kind}-{}", number % if row == Row::Denied { DENIED } else { self.users });
        let echo = worker % self.echo.len();
        match row {
            Row::Echo => size(self.echo[echo].echo(EchoRequest::default()).await),
            Row::RawDecide => {
                let bytes = self.decide.one(TENANT, &user("raw")).await.map_err(|error| error.to_string())?;
                Ok(bytes.len() as u64)
            }
            Row::RawGathered => {
                let group = self.decide.group(TENANT, &user("raw"));
                self.store.decide(group).await.map(|_| 34).map_err(|error| error.to_string())
            }
            Row::RawWindow => {
                let windows = self.windows.clone().ok_or("there are none on a cluster")?;
                windows.hit(worker, &format!("bench_window_{}", user("w"))).await.map_err(|error| error.to_string())
            }
            Row::EchoDecide => {
                let request = EchoDecideRequest { tenant: TENANT.to_owned(), user: user("echo") };
                size(self.echo[echo].echo_decide(request).await)
            }
            Row::Acquire => self.own(row, worker, acquire(user("u"), &["one"])).await,
            Row::Remembered => {
                let request_id = format!("id-{}", self.ids.fetch_add(1, Ordering::Relaxed));
                let request = pb::AcquireRequest { request_id, ..acquire(user("r"), &["one"]) };
                self.own(row, worker, request).await
            }
            Row::Three => self.own(row, worker, acquire(user("t"), &["one", "two", "three"])).await,
            Row::Across => self.own(row, worker, acquire(user("a"), &["tenant", "one"])).await,
            Row::Leased => self.own(row, worker, acquire(String::new(), &["leased"])).await,
            Row::Denied => self.own(row, worker, acquire(user("d"), &["denied"])).await,
        }
    }
}

fn size<T: prost::Message>(result: Result<tonic::Response<T>, tonic::Status>) -> Result<u64, String> {
    result.map(|response| response.get_ref().encoded_len() as u64).map_err(|status| status.to_string())
}
