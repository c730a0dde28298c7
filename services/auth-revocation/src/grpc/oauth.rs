//! RFC 7009: a token is revoked by whoever holds it.
//!
//! The token proves itself: only what a key of the issuer's set signed is looked at, else anyone could revoke a token whose
//! jti can be guessed. Whatever can't be verified is answered as if it had been revoked, as the RFC has it.

mod body;
mod jwks;
mod keys;

use std::collections::HashMap;
use std::sync::Arc;

use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::{Violation, Violations};
use keyplane_revocation::{Millis, Rules, Scope, Target, TokenHash};
use serde_json::Value;

pub(crate) use self::jwks::Jwks;
use super::convert;
use crate::domain::{Cause, Cutoff, Reason, Revoke};
use crate::error::Error;

/// What is needed to judge a token.
#[derive(Debug)]
pub(crate) struct OAuth {
    jwks: Option<Arc<Jwks>>,
    issuers: Vec<String>,
    without_kid: Arc<[String]>,
    tenant_claim: Arc<str>,
    rules: Rules,
}

// === impl OAuth ===

impl OAuth {
    /// Takes tokens that a key of the set `jwks` signed, and whose `iss` is among `issuers`, if any are given. Those of
    /// the issuers in `without_kid` need no `kid`.
    pub(crate) fn new(
        jwks: Option<Arc<Jwks>>,
        issuers: Vec<String>,
        without_kid: Arc<[String]>,
        tenant_claim: Arc<str>,
        rules: Rules,
    ) -> OAuth {
        OAuth { jwks, issuers, without_kid, tenant_claim, rules }
    }

    /// Revocation that the request asks for at `now`, the store's time. `None`: nothing is revoked, and the caller is not told so.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`]; [`Error::UnsupportedTokenType`] for refresh tokens, and for tokens that hold and that no
    /// revocation could name; [`Error::JwksNotConfigured`].
    pub(super) async fn read(
        &self,
        request: &pb::RevokeOAuthTokenRequest,
        now: Millis,
    ) -> Result<Option<Revoke>, Error> {
        let mut violations = Violations::new();
        let tenant = violations.keep(convert::tenant(&request.parent, "parent"));
        let body = request.body.as_ref().ok_or_else(|| Violation::new("body", "must be set"));
        let parameters = violations.keep(body.and_then(body::read));
        let (Some(tenant), Some(parameters)) = (tenant, parameters) else {
            return Err(Error::Invalid(violations.into_iter().collect()));
        };
        if parameters.token_type_hint == "refresh_token" {
            return Err(Error::UnsupportedTokenType);
        }
        let jwks = self.jwks.as_ref().ok_or(Error::JwksNotConfigured)?;
        match jwks.verify(&parameters.token).await? {
            Some(claims) => self.revoke(tenant, &claims, now),
            None => Ok(None),
        }
    }

    /// The claim that names a token's tenant.
    pub(super) fn tenant_claim(&self) -> &str {
        &self.tenant_claim
    }

    /// Whether a key of the set signed `token`, and its issuer is among those that are known.
    pub(super) async fn proves(&self, token: &str) -> bool {
        let Some(jwks) = self.jwks.as_ref().filter(|_| !token.is_empty()) else { return false };
        let claims = jwks.verify(token).await.ok().flatten();
        claims.is_some_and(|claims| self.knows(claims.get("iss").and_then(Value::as_str).unwrap_or_default()))
    }

    /// Whether tokens of `issuer` need not say which key signed them.
    pub(super) fn needs_no_kid(&self, issuer: &str) -> bool {
        self.without_kid.iter().any(|without| without == issuer)
    }

    fn knows(&self, issuer: &str) -> bool {
        self.issuers.is_empty() || self.issuers.iter().any(|known| known == issuer)
    }

    /// What a token with these claims, whose signature holds, revokes for `tenant`.
    fn revoke(&self, tenant: &str, claims: &HashMap<String, Value>, now: Millis) -> Result<Option<Revoke>, Error> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let (issuer, jti, subject) = (text("iss"), text("jti"), text("sub"));
        if text(&self.tenant_claim) != tenant {
            return Ok(None);
        }
        if !self.knows(issuer) {
            return Ok(None);
        }
        // What no check lets pass need not be revoked: a token that has expired, never does, or lives too long.
        let expires = claims.get("exp").and_then(Value::as_f64).and_then(Millis::from_seconds);
        let Some(expires) = expires.filter(|at| at.plus(self.rules.leeway) > now) else { return Ok(None) };
        if expires > now.plus(self.rules.memory()) {
            return Ok(None);
        }
        if [issuer, jti].into_iter().any(|name| name.is_empty() || !convert::nameable(name)) {
            return Err(Error::UnsupportedTokenType);
        }
        let initiator = if convert::is_user(subject) { subject.to_owned() } else { String::new() };
        let target = Target { tenant: tenant.into(), scope: Scope::Token(TokenHash::of(tenant, issuer, jti)) };
        let cause = Cause { reason: Reason::Logout, initiator, description: "RFC 7009".to_owned() };
        Ok(Some(Revoke {
            target,
            cutoff: Cutoff::All,
            expires: Some(expires),
            exp_is_proven: true,
            keep: Vec::new(),
            cause,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    const NOW: Millis = Millis(1_700_000_000_000);

    fn oauth(issuers: &[&str]) -> OAuth {
        let rules = Rules {
            max_lifetime: Duration::from_hours(24),
            leeway: Duration::from_mins(1),
            issuer_skew: Duration::ZERO,
        };
        let issuers = issuers.iter().map(|issuer| (*issuer).to_owned()).collect();
        OAuth::new(None, issuers, Arc::new([]), "tenant".into(), rules)
    }

    fn claims(changed: &Value) -> HashMap<String, Value> {
        let mut claims =
            json!({"tenant": "acme", "iss": "https://idp", "jti": "j", "sub": "u-42", "exp": 1_700_000_600.5});
        claims.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        serde_json::from_value(claims).unwrap()
    }

    #[test]
    fn a_good_token_is_revoked_until_it_expires() {
        let made = oauth(&["https://idp"]).revoke("acme", &claims(&json!({})), NOW).unwrap().expect("it is revoked");
        assert_eq!(made.target.scope, Scope::Token(TokenHash::of("acme", "https://idp", "j")));
        assert_eq!(made.expires, Some(Millis(1_700_000_600_500)));
        assert_eq!((made.cause.initiator.as_str(), made.cause.reason), ("u-42", Reason::Logout));
    }

    #[test]
    fn a_token_that_is_not_the_tenants_or_is_refused_anyway_has_no_effect() {
        for changed in [
            json!({"tenant": "other"}),
            json!({"tenant": 7}),
            json!({"iss": "https://elsewhere"}),
            json!({"exp": 1_699_999_940}),
            json!({"exp": null}),
            json!({"exp": "soon"}),
            json!({"exp": 1_700_100_000}),
        ] {
            assert_eq!(oauth(&["https://idp"]).revoke("acme", &claims(&changed), NOW).unwrap(), None, "{changed}");
        }
        let leeway = json!({"exp": 1_699_999_941});
        assert!(oauth(&[]).revoke("acme", &claims(&leeway), NOW).unwrap().is_some(), "it may still pass");
    }

    #[test]
    fn a_token_that_nobody_could_name_is_not_said_to_be_revoked() {
        for changed in [json!({"jti": ""}), json!({"jti": 7}), json!({"iss": null}), json!({"jti": "x".repeat(257)})] {
            let refused = oauth(&[]).revoke("acme", &claims(&changed), NOW).expect_err("it says so");
            assert!(matches!(refused, Error::UnsupportedTokenType), "{refused}");
        }
    }
}
