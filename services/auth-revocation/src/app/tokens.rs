//! Verification of tokens, and the revocation that a token's bearer may ask for (RFC 7009).
//!
//! The token proves itself: only claims that a key of the issuer's set signed count, else anyone could revoke a token
//! whose jti can be guessed.

use std::collections::HashMap;
use std::sync::Arc;

use keyplane_revocation::{Millis, Rules, Scope, Target, TokenHash};
use serde_json::Value;

use crate::domain::names::{is_nameable, is_user};
use crate::domain::{Cause, Cutoff, Reason, Revoke};
use crate::error::Error;
use crate::peers::KeySet;

/// Verifies tokens: accepts those that a key of the set signed.
#[derive(Debug)]
pub(crate) struct TokenVerifier {
    /// Issuers' keys; `None` if none are configured.
    pub(crate) keys: Option<Arc<KeySet>>,
    /// Issuers whose tokens are accepted; empty for any.
    pub(crate) issuers: Vec<String>,
    /// Issuers whose tokens need no `kid`.
    pub(crate) without_kid: Arc<[String]>,
    /// Claim that names a token's tenant.
    pub(crate) tenant_claim: Arc<str>,
    pub(crate) rules: Rules,
}

// === impl TokenVerifier ===

impl TokenVerifier {
    /// Revocation that the bearer of `token` asks for at `now`, the store's time. `None`: nothing is revoked, and the
    /// caller does not learn of it.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedTokenType`] for refresh tokens, and for good tokens that no revocation could name;
    /// [`Error::JwksNotConfigured`].
    pub(super) async fn revocation(
        &self,
        tenant: &str,
        token: &str,
        type_hint: &str,
        now: Millis,
    ) -> Result<Option<Revoke>, Error> {
        if type_hint == "refresh_token" {
            return Err(Error::UnsupportedTokenType);
        }
        let keys = self.keys.as_ref().ok_or(Error::JwksNotConfigured)?;
        match keys.verify(token).await? {
            Some(claims) => self.revoke(tenant, &claims, now),
            None => Ok(None),
        }
    }

    /// Returns whether a key of the set signed `token`, and its issuer is known.
    pub(crate) async fn proves(&self, token: &str) -> bool {
        let Some(keys) = self.keys.as_ref().filter(|_| !token.is_empty()) else { return false };
        let claims = keys.verify(token).await.ok().flatten();
        claims.is_some_and(|claims| self.knows(claims.get("iss").and_then(Value::as_str).unwrap_or_default()))
    }

    /// Returns whether tokens of `issuer` need not name the key that signed them.
    pub(super) fn needs_no_kid(&self, issuer: &str) -> bool {
        self.without_kid.iter().any(|without| without == issuer)
    }

    fn knows(&self, issuer: &str) -> bool {
        self.issuers.is_empty() || self.issuers.iter().any(|known| known == issuer)
    }

    /// Revocation of a token with these claims, whose signature holds, for `tenant`.
    fn revoke(&self, tenant: &str, claims: &HashMap<String, Value>, now: Millis) -> Result<Option<Revoke>, Error> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let (issuer, jti, subject) = (text("iss"), text("jti"), text("sub"));
        if text(&self.tenant_claim) != tenant {
            return Ok(None);
        }
        if !self.knows(issuer) {
            return Ok(None);
        }
        // A token that no check lets pass need not be revoked: it has expired, never expires, or lives too long.
        let expires = claims.get("exp").and_then(Value::as_f64).and_then(Millis::from_seconds);
        let Some(expires) = expires.filter(|at| at.plus(self.rules.leeway) > now) else { return Ok(None) };
        if expires > now.plus(self.rules.memory()) {
            return Ok(None);
        }
        if [issuer, jti].into_iter().any(|name| name.is_empty() || !is_nameable(name)) {
            return Err(Error::UnsupportedTokenType);
        }
        let initiator = if is_user(subject) { subject.to_owned() } else { String::new() };
        let target = Target { tenant: tenant.into(), scope: Scope::Token(TokenHash::digest(tenant, issuer, jti)) };
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

    fn verifier(issuers: &[&str]) -> TokenVerifier {
        let rules = Rules {
            max_lifetime: Duration::from_hours(24),
            leeway: Duration::from_mins(1),
            issuer_skew: Duration::ZERO,
        };
        let issuers = issuers.iter().map(|issuer| (*issuer).to_owned()).collect();
        TokenVerifier { keys: None, issuers, without_kid: Arc::new([]), tenant_claim: "tenant".into(), rules }
    }

    fn claims(changed: &Value) -> HashMap<String, Value> {
        let mut claims =
            json!({"tenant": "acme", "iss": "https://idp", "jti": "j", "sub": "u-42", "exp": 1_700_000_600.5});
        claims.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        serde_json::from_value(claims).unwrap()
    }

    #[test]
    fn a_good_token_is_revoked_until_it_expires() {
        let made = verifier(&["https://idp"]).revoke("acme", &claims(&json!({})), NOW).unwrap().expect("it is revoked");
        assert_eq!(made.target.scope, Scope::Token(TokenHash::digest("acme", "https://idp", "j")));
        assert_eq!(made.expires, Some(Millis(1_700_000_600_500)));
        assert_eq!((made.cause.initiator.as_str(), made.cause.reason), ("u-42", Reason::Logout));
    }

    #[test]
    fn a_token_of_another_tenant_or_rejected_anyway_has_no_effect() {
        for changed in [
            json!({"tenant": "other"}),
            json!({"tenant": 7}),
            json!({"iss": "https://elsewhere"}),
            json!({"exp": 1_699_999_940}),
            json!({"exp": null}),
            json!({"exp": "soon"}),
            json!({"exp": 1_700_100_000}),
        ] {
            assert_eq!(verifier(&["https://idp"]).revoke("acme", &claims(&changed), NOW).unwrap(), None, "{changed}");
        }
        let leeway = json!({"exp": 1_699_999_941});
        assert!(verifier(&[]).revoke("acme", &claims(&leeway), NOW).unwrap().is_some(), "it may still pass");
    }

    #[test]
    fn a_token_that_no_revocation_could_name_is_unsupported() {
        for changed in [json!({"jti": ""}), json!({"jti": 7}), json!({"iss": null}), json!({"jti": "x".repeat(257)})] {
            let error = verifier(&[]).revoke("acme", &claims(&changed), NOW).expect_err("nobody could name it");
            assert!(matches!(error, Error::UnsupportedTokenType), "{error}");
        }
    }
}
