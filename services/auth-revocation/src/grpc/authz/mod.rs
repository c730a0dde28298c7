//! Envoy's external authorization.
//!
//! A rejected token is 401. A check that fails is an error of the call, for which the gateway answers 503
//! (`status_on_error`): never 403, which would say that the token is good and the caller not allowed.

mod claims;
mod reply;

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::authorization_server::Authorization;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use keyplane_server::config::parse_duration;
use keyplane_server::status;
use keyplane_telemetry::LogLimit;
use tonic::{Request, Response, Status};

use self::claims::Fault;
use crate::app::{Authorizer, Decision};
use crate::domain::OutagePolicy;
use crate::error::Error;

/// Name of a route's outage policy in `context_extensions` of the filter's `check_settings`.
const POLICY: &str = "keyplane.policy";

/// Window of log lines that callers can cause: one line of a kind in each.
const EACH: Duration = Duration::from_secs(1);

/// `envoy.service.auth.v3.Authorization`.
pub(crate) struct Authz {
    authorizer: Authorizer,
    tenant_claim: Arc<str>,
    rejections: LogLimit,
    wrong_routes: LogLimit,
}

// === impl Authz ===

impl Authz {
    /// Answers by `authorizer`; the claim `tenant_claim` names a token's tenant.
    pub(crate) fn new(authorizer: Authorizer, tenant_claim: Arc<str>) -> Authz {
        Authz { authorizer, tenant_claim, rejections: LogLimit::new(1, EACH), wrong_routes: LogLimit::new(1, EACH) }
    }

    async fn authorize(&self, request: &CheckRequest) -> Result<CheckResponse, Error> {
        let policy = policy(request).inspect_err(|error| {
            if let Some(left_out) = self.wrong_routes.admit() {
                tracing::error!(%error, left_out, "a route of the gateway is rejected: correct its context_extensions");
            }
        })?;
        let claims = match claims::read(request, &self.tenant_claim) {
            Ok(claims) => claims,
            Err(fault) => {
                self.note(fault);
                return Ok(reply::unauthenticated(&fault.message()));
            }
        };
        Ok(match self.authorizer.decide(&claims, policy).await? {
            Decision::Allowed => reply::allowed(&claims),
            Decision::Rejected(rule) => reply::rejected(rule),
            Decision::MissingKid => {
                if let Some(left_out) = self.rejections.admit() {
                    tracing::warn!(left_out, "a token is rejected: its header lacks kid");
                }
                reply::unauthenticated("the token does not say in its header, as kid, which key signed it")
            }
            Decision::KeyUnknown => reply::unauthenticated(
                "a key of the issuer was revoked, and the token does not say which one signed it",
            ),
        })
    }

    fn note(&self, fault: Fault<'_>) {
        let Some(left_out) = self.rejections.admit() else { return };
        match fault {
            Fault::NoToken => {
                tracing::warn!(
                    left_out,
                    "a request is rejected: the gateway verified no token; should its route need none?"
                );
            }
            Fault::Missing(_) | Fault::Malformed(..) | Fault::Critical => {
                tracing::warn!(left_out, reason = fault.message(), "a token is rejected");
            }
        }
    }
}

#[tonic::async_trait]
impl Authorization for Authz {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        self.authorize(request.get_ref()).await.map(Response::new).map_err(status)
    }
}

/// Outage policy of the request's route, if it has one of its own.
fn policy(request: &CheckRequest) -> Result<Option<OutagePolicy>, Error> {
    let text = request.attributes.as_ref().and_then(|attributes| attributes.context_extensions.get(POLICY));
    let parse = |text: &String| OutagePolicy::parse(text, parse_duration);
    text.map(parse).transpose().map_err(|error| Error::RoutePolicy(error.to_string()))
}
