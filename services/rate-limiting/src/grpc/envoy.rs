//! Envoy's global rate limit, `envoy.service.ratelimit.v3`.
//!
//! Errors are errors of the call, which the gateway's `failure_mode_deny` handles: never OK, which would let the request pass,
//! nor UNKNOWN, which Envoy takes for OK. Too many descriptors are an answer instead: an error would hide the reason from clients.

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitService;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use keyplane_server::status;
use tonic::{Request, Response, Status};

use super::convert::envoy_error::GatewayError;
use super::convert::{envoy_reply as reply, envoy_request as convert};
use crate::app::gateway::Gateway;

/// Service that Envoy calls.
pub(crate) struct Envoy {
    gateway: Gateway,
}

// === impl Envoy ===

impl Envoy {
    pub(crate) fn new(gateway: Gateway) -> Envoy {
        Envoy { gateway }
    }
}

#[tonic::async_trait]
impl RateLimitService for Envoy {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let peer = request.remote_addr().map(|address| address.ip());
        let request_id = convert::request_id(request.metadata());
        let request = request.into_inner();
        if request.descriptors.len() > convert::DESCRIPTORS {
            return Ok(Response::new(reply::too_many(request.descriptors.len())));
        }
        let decided = match convert::read(request) {
            Ok((domain, descriptors)) => self.gateway.decide(&domain, descriptors, peer, request_id).await,
            Err(error) => Err(error),
        };
        decided.map(|decided| Response::new(reply::reply(&decided))).map_err(|error| status(GatewayError::from(error)))
    }
}
