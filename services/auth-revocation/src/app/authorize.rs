//! Authorization of the gateway's requests: whether a token that the gateway verified may pass.

use std::sync::Arc;

use keyplane_revocation::{Answer, Claims, Rule};

use super::check::{Checker, Demands};
use crate::domain::OutagePolicy;
use crate::error::Error;

/// Decides on tokens that the gateway verified.
pub(crate) struct Authorizer {
    checker: Checker,
    without_kid: Arc<[String]>,
}

/// Decision on a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Pass.
    Allowed,
    /// Rejection: the token's header names no key, and its issuer must name one.
    MissingKid,
    /// Rejection by a rule, or a revocation.
    Rejected(Rule),
    /// Rejection: a key of the issuer was revoked, and the token does not name the one that signed it.
    KeyUnknown,
}

// === impl Authorizer ===

impl Authorizer {
    /// Decides by `checker`. Tokens must have a `kid`, but those of the issuers in `without_kid`.
    pub(crate) fn new(checker: Checker, without_kid: Arc<[String]>) -> Authorizer {
        Authorizer { checker, without_kid }
    }

    /// Decides on a token; `policy` is the outage policy of the request's route, if it has one.
    ///
    /// # Errors
    ///
    /// [`Error::FreshnessUnknown`]: see [`Checker::check`]. Cancel safe.
    pub(crate) async fn decide(&self, claims: &Claims<'_>, policy: Option<OutagePolicy>) -> Result<Decision, Error> {
        // The gateway verifies such a token with every key of the set, and does not say which one signed it.
        if claims.kid.is_empty() && !self.without_kid.iter().any(|issuer| issuer == claims.issuer) {
            return Ok(Decision::MissingKid);
        }
        let demands = Demands { policy, ..Demands::default() };
        let checked = match self.checker.check_now(claims, &demands) {
            Some(checked) => checked,
            None => self.checker.check(claims, &demands).await?,
        };
        match checked.answer {
            Answer::Active => Ok(Decision::Allowed),
            Answer::Revoked { rule, .. } => Ok(Decision::Rejected(rule)),
            Answer::KeyUnknown => Ok(Decision::KeyUnknown),
            // The checker confirms suspects; if it ever did not, nothing must pass.
            Answer::Suspect(_) => Err(Error::FreshnessUnknown),
        }
    }
}
