//! Envoy's global rate limit, `envoy.service.ratelimit.v3`.
//!
//! All descriptors of a request are admitted, or none is charged. An error is an error of the call, for which the gateway's
//! `failure_mode_deny` speaks: never OK, which would let the request pass, nor UNKNOWN, which Envoy takes for it. But that the
//! gateway sends too many descriptors is an answer: of an error, no client would hear the reason.

mod read;
mod refusal;
mod reply;

use std::net::IpAddr;
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitService;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use ipnet::IpNet;
use keyplane_server::status;
use keyplane_telemetry::{metrics, semconv};
use keyplane_valkey::deadline;
use opentelemetry::metrics::Counter;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use self::read::Hits;
use self::refusal::Refusal;
use crate::error::Error;
use crate::limiter::{Call, Limiter, Memory, Outcome, Slot, Source, State};
use crate::policies::Policies;

/// Envoy's door.
pub(crate) struct Envoy {
    limiter: Limiter,
    policies: Policies,
    settings: Settings,
    unmatched: Counter<u64>,
}

/// How the door is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a call may take: less than Envoy waits, so that it hears what the matter is.
    pub deadline: Duration,
    /// Who may take hits back.
    pub refund_peers: Vec<IpNet>,
    /// How long a request id is remembered.
    pub remember: Duration,
}

/// What was decided about the descriptors of a request.
pub(super) struct Decided {
    pub(super) hits: Vec<Hits>,
    /// Of those that charge, together.
    pub(super) charged: Option<(Call, Outcome)>,
    /// Of those that ask.
    pub(super) peeked: Option<(Call, Outcome)>,
    /// Of those that take back.
    pub(super) taken_back: Vec<(Slot, State)>,
}

// === impl Envoy ===

impl Envoy {
    pub(crate) fn new(limiter: Limiter, policies: Policies, settings: Settings) -> Envoy {
        let what = "Descriptors that no policy is for; they pass";
        let unmatched = metrics::counter(semconv::KEYPLANE_RATELIMIT_UNMATCHED, "{descriptor}", what);
        Envoy { limiter, policies, settings, unmatched }
    }

    async fn decide(
        &self,
        request: RateLimitRequest,
        peer: Option<IpAddr>,
        id: Option<String>,
    ) -> Result<Decided, Error> {
        let catalog = self.policies.catalog();
        let read = read::read(self.limiter.store().app(), &catalog, request)?;
        if !read.given_back.is_empty() && !self.trusts(peer) {
            return Err(Error::RefundNotAllowed);
        }
        match read.unmatched() {
            0 => {}
            unmatched => self.unmatched.add(unmatched, &[]),
        }
        let mut decided = Decided { hits: read.hits, charged: None, peeked: None, taken_back: Vec::new() };
        if !read.asked.slots.is_empty() {
            let outcome = self.limiter.peek(&read.asked).await?;
            decided.peeked = Some((read.asked, outcome));
        }
        let refused = decided.peeked.as_ref().is_some_and(|(_, outcome)| !outcome.admitted);
        if !read.charged.slots.is_empty() {
            let mut call = read.charged;
            call.remember = id.map(|id| remembered(&id, &call, self.settings.remember));
            // What one descriptor refuses, no other is charged for.
            let outcome = if refused { self.limiter.peek(&call).await? } else { self.limiter.acquire(&call).await? };
            decided.charged = Some((call, outcome));
        }
        if !read.given_back.is_empty() {
            let states = self.limiter.take_back(&read.given_back).await?;
            decided.taken_back = read.given_back.into_iter().zip(states).collect();
        }
        Ok(decided)
    }

    fn trusts(&self, peer: Option<IpAddr>) -> bool {
        peer.is_some_and(|peer| self.settings.refund_peers.iter().any(|net| net.contains(&peer.to_canonical())))
    }
}

#[tonic::async_trait]
impl RateLimitService for Envoy {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let peer = request.remote_addr().map(|address| address.ip());
        let id = request.metadata().get("x-request-id").and_then(|id| id.to_str().ok());
        let id = id.filter(|id| (1..=128).contains(&id.len())).map(str::to_owned);
        let request = request.into_inner();
        if request.descriptors.len() > read::DESCRIPTORS {
            return Ok(Response::new(reply::too_many(request.descriptors.len())));
        }
        // Nothing here waits but for the store, whose calls leave a tenth of the time for an outage policy to speak.
        let until = Instant::now() + self.settings.deadline;
        let decided = deadline::scope(until, self.decide(request, peer, id)).await;
        decided.map(|decided| Response::new(reply::reply(&decided))).map_err(|error| status(Refusal::from(error)))
    }
}

/// Envoy asks once for what is charged now and once for what is charged when the stream is done, under one id: so what it asks
/// for is part of ours. No id of the other door has a slash.
fn remembered(id: &str, call: &Call, ttl: Duration) -> Memory {
    use crate::limiter::{Charge, ChargeKind};
    let print = Charge::of(ChargeKind::Acquired, "", 0, call).print();
    let costs: Vec<String> = call.slots.iter().map(|slot| slot.cost.to_string()).collect();
    let print_text: String = print.iter().map(|byte| format!("{byte:02x}")).collect();
    Memory { id: format!("envoy/{id}/{print_text}/{}", costs.join(",")), print, ttl }
}

// === impl Decided ===

impl Decided {
    /// Whether the request may pass.
    pub(super) fn admitted(&self) -> bool {
        let refused = |part: &Option<(Call, Outcome)>| part.as_ref().is_some_and(|(_, outcome)| !outcome.admitted);
        !refused(&self.charged) && !refused(&self.peeked)
    }

    /// Whether the answer came from this instance because the store is away.
    pub(super) fn degraded(&self) -> bool {
        let parts = [&self.charged, &self.peeked];
        parts.into_iter().flatten().any(|(_, outcome)| outcome.source == Source::Outage)
    }
}
