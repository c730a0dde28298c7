//! Limits of a gateway's request: all of its descriptors are admitted, or none is charged.

mod decided;
mod matching;

use std::net::IpAddr;
use std::time::Duration;

use data_encoding::HEXLOWER;
use ipnet::IpNet;
use keyplane_telemetry::{metrics, semconv};
use opentelemetry::metrics::Counter;
use tokio::time::Instant;

use super::Admission;
use super::limiter::{Call, Charge, ChargeKind, Idempotency};
use crate::error::Error;
use matching::{Hits, Matched};

pub use decided::{Decided, Met};
pub use matching::Counted;

/// Decides on the requests of a gateway.
pub struct Gateway {
    admission: Admission,
    settings: Settings,
    unmatched: Counter<u64>,
}

/// Settings of the gateway's calls.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Longest time of a call: shorter than the gateway waits, so that the gateway receives the reason.
    pub deadline: Duration,
    /// Peers that may take hits back.
    pub refund_peers: Vec<IpNet>,
    /// Time to remember a request id.
    pub remember: Duration,
}

// === impl Gateway ===

impl Gateway {
    /// Decides with `admission`.
    #[must_use]
    pub fn new(admission: Admission, settings: Settings) -> Gateway {
        let description = "Descriptors that match no policy; they pass";
        let unmatched = metrics::counter(semconv::KEYPLANE_RATELIMIT_UNMATCHED, "{descriptor}", description);
        Gateway { admission, settings, unmatched }
    }

    /// Decides on the descriptors of one request from `peer`; under a request id, once.
    ///
    /// # Errors
    ///
    /// [`Error::RefundNotAllowed`], or those of [`super::limiter::Limiter::acquire`].
    pub async fn decide(
        &self,
        domain: &str,
        descriptors: impl Iterator<Item = Counted>,
        peer: Option<IpAddr>,
        request_id: Option<String>,
    ) -> Result<Decided, Error> {
        let until = Instant::now() + self.settings.deadline;
        let matched = self.admission.matching(domain, descriptors);
        if matched.takes_back() && !self.trusts(peer) {
            return Err(Error::RefundNotAllowed);
        }
        match matched.unmatched() {
            0 => {}
            unmatched => self.unmatched.add(unmatched, &[]),
        }
        // Calls to the store leave a tenth of the deadline for the outage mode to answer.
        keyplane_deadline::scope(until, self.decide_matched(matched, request_id)).await
    }

    async fn decide_matched(&self, matched: Matched, request_id: Option<String>) -> Result<Decided, Error> {
        let Matched { hits, charged: mut call, peeks, given_back } = matched;
        let limiter = &self.admission.limiter;
        let mut decided = Decided { hits, charged: None, peeked: None, taken_back: Vec::new() };
        if !peeks.limits.is_empty() {
            let outcome = limiter.peek(&peeks).await?;
            decided.peeked = Some((peeks, outcome));
        }
        let denied = decided.peeked.as_ref().is_some_and(|(_, outcome)| !outcome.admitted);
        if !call.limits.is_empty() {
            call.idempotency = request_id.map(|id| idempotency(&id, &call, self.settings.remember));
            // A descriptor that is denied keeps all others from being charged.
            let outcome = if denied { limiter.peek(&call).await? } else { limiter.acquire(&call).await? };
            decided.charged = Some((call, outcome));
        }
        if !given_back.is_empty() {
            let states = limiter.take_back(&given_back).await?;
            decided.taken_back = given_back.into_iter().zip(states).collect();
        }
        Ok(decided)
    }

    fn trusts(&self, peer: Option<IpAddr>) -> bool {
        peer.is_some_and(|peer| self.settings.refund_peers.iter().any(|net| net.contains(&peer.to_canonical())))
    }
}

/// Remembers a call under the gateway's request id.
///
/// Envoy calls once before the request and once when its stream is done, under one id, so the limits and costs are part of
/// ours. Ids of the other face hold no slash.
fn idempotency(id: &str, call: &Call, ttl: Duration) -> Idempotency {
    let fingerprint = Charge::new(ChargeKind::Acquired, "", 0, call).fingerprint();
    let costs: Vec<String> = call.limits.iter().map(|limit| limit.cost.to_string()).collect();
    let request_id = format!("envoy/{id}/{}/{}", HEXLOWER.encode_display(&fingerprint), costs.join(","));
    Idempotency { request_id, fingerprint, ttl }
}
