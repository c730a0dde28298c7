//! Envoy's global rate limit, `envoy.service.ratelimit.v3`.
//!
//! All descriptors of a request are admitted, or none is charged. An error is an error of the call, for which the gateway's
//! `failure_mode_deny` speaks: never OK, which would let the request pass, nor UNKNOWN, which Envoy takes for it. But that the
//! gateway sends too many descriptors is an answer: of an error, no client would hear the reason.

use std::net::IpAddr;
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitService;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use ipnet::IpNet;
use keyplane_server::status;
use keyplane_telemetry::{metrics, semconv};
use opentelemetry::metrics::Counter;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::convert::envoy_error::Refusal;
use super::convert::{envoy_reply as reply, envoy_request as read};
use crate::app::Admission;
use crate::app::gateway::Decided;
use crate::error::Error;

/// Envoy's door.
pub(crate) struct Envoy {
    admission: Admission,
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

// === impl Envoy ===

impl Envoy {
    pub(crate) fn new(admission: Admission, settings: Settings) -> Envoy {
        let what = "Descriptors that no policy is for; they pass";
        let unmatched = metrics::counter(semconv::KEYPLANE_RATELIMIT_UNMATCHED, "{descriptor}", what);
        Envoy { admission, settings, unmatched }
    }

    async fn decide(
        &self,
        request: RateLimitRequest,
        peer: Option<IpAddr>,
        id: Option<String>,
    ) -> Result<Decided, Error> {
        let (domain, descriptors) = read::read(request)?;
        let matched = self.admission.matching(&domain, descriptors);
        if matched.takes_back() && !self.trusts(peer) {
            return Err(Error::RefundNotAllowed);
        }
        match matched.unmatched() {
            0 => {}
            unmatched => self.unmatched.add(unmatched, &[]),
        }
        self.admission.decide(matched, id.map(|id| (id, self.settings.remember))).await
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
        let decided = keyplane_deadline::scope(until, self.decide(request, peer, id)).await;
        decided.map(|decided| Response::new(reply::reply(&decided))).map_err(|error| status(Refusal::from(error)))
    }
}
