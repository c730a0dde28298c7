//! Envoy's external authorization: the same answers, in the gateway's words.
//!
//! A token that must be refused is 401. What can't be told is an error of the call, for which the gateway answers 503
//! (`status_on_error`): never 403, which would say that the token is good and the caller not allowed.

mod claims;
mod reply;

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::authorization_server::Authorization;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use keyplane_revocation::Answer;
use keyplane_server::config::parse_duration;
use keyplane_server::status;
use keyplane_telemetry::LogLimit;
use tonic::{Request, Response, Status};

use self::claims::Refusal;
use crate::domain::OutagePolicy;
use crate::error::Error;
use crate::replica::{Checker, Demands};

/// Where a route names its outage policy: `context_extensions` of the filter's `check_settings`.
const POLICY: &str = "keyplane.policy";

/// Window of log lines that callers can cause: one line of a kind in each.
const EACH: Duration = Duration::from_secs(1);

/// Envoy's external authorization.
#[derive(Debug)]
pub(crate) struct Authz {
    checker: Checker,
    tenant_claim: Arc<str>,
    without_kid: Arc<[String]>,
    refusals: LogLimit,
    mistakes: LogLimit,
}

// === impl Authz ===

impl Authz {
    /// Answers by `checker`; a token's tenant stands in the claim `tenant_claim`. Tokens must have a `kid`, but those of the
    /// issuers in `without_kid`.
    pub(crate) fn new(checker: Checker, tenant_claim: Arc<str>, without_kid: Arc<[String]>) -> Authz {
        Authz { checker, tenant_claim, without_kid, refusals: LogLimit::new(1, EACH), mistakes: LogLimit::new(1, EACH) }
    }

    async fn authorize(&self, request: &CheckRequest) -> Result<CheckResponse, Error> {
        let policy = policy(request).inspect_err(|error| {
            if let Some(left_out) = self.mistakes.admit() {
                tracing::error!(%error, left_out, "a route of the gateway is refused: correct its context_extensions");
            }
        })?;
        let claims = match claims::read(request, &self.tenant_claim) {
            Ok(claims) => claims,
            Err(refusal) => {
                self.note(refusal);
                return Ok(reply::unacceptable(&refusal.words()));
            }
        };
        // The gateway holds such a token against every key of the set, and does not tell which one signed it.
        if claims.kid.is_empty() && !self.without_kid.iter().any(|issuer| issuer == claims.issuer) {
            if let Some(left_out) = self.refusals.admit() {
                tracing::warn!(left_out, "a token is refused: its header lacks kid");
            }
            return Ok(reply::unacceptable("the token does not say in its header, as kid, which key signed it"));
        }
        let demands = Demands { policy, ..Demands::default() };
        let found = match self.checker.check_now(&claims, &demands) {
            Some(found) => found,
            None => self.checker.check(&claims, &demands).await?,
        };
        Ok(match found.answer {
            Answer::Active => reply::allowed(&claims),
            Answer::Revoked { rule, .. } => reply::refused(rule),
            Answer::KeyUnknown => {
                reply::unacceptable("a key of the issuer was revoked, and the token does not say which one signed it")
            }
            // The checker confirms what is suspect; if it ever did not, nothing must pass.
            Answer::Suspect(_) => return Err(Error::FreshnessUnknown),
        })
    }

    fn note(&self, refusal: Refusal<'_>) {
        let Some(left_out) = self.refusals.admit() else { return };
        match refusal {
            Refusal::NoToken => {
                tracing::warn!(
                    left_out,
                    "a request is refused: the gateway verified no token; should its route need none?"
                );
            }
            Refusal::Missing(_) | Refusal::Malformed(..) | Refusal::Critical => {
                tracing::warn!(left_out, why = refusal.words(), "a token is refused");
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

/// The outage policy of the request's route, if it has one of its own.
fn policy(request: &CheckRequest) -> Result<Option<OutagePolicy>, Error> {
    let text = request.attributes.as_ref().and_then(|attributes| attributes.context_extensions.get(POLICY));
    let parse = |text: &String| OutagePolicy::parse(text, parse_duration);
    text.map(parse).transpose().map_err(|error| Error::RoutePolicy(error.to_string()))
}
