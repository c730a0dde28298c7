//! Claims of a token, and the targets whose revocation would cover it.

use crate::target::{CutoffBy, Scope, Target, TokenHash};
use crate::time::Millis;

/// Claims of a verified token. Nothing here verifies a signature.
///
/// An empty text, or a time that is `None`, is a claim that the token lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims<'a> {
    /// Tenant of the token.
    pub tenant: &'a str,
    /// Claim `iss`.
    pub issuer: &'a str,
    /// Claim `jti`. Without it, or without `iss`, the token can't be revoked by itself.
    pub jti: &'a str,
    /// Claim `sid`.
    pub sid: &'a str,
    /// Claim `sub`.
    pub subject: &'a str,
    /// Claim `client_id`, or `azp`.
    pub client: &'a str,
    /// Parameter `kid` of the header. Without it, any key of the issuer may have signed the token: see
    /// [`Answer::KeyUnknown`](crate::Answer::KeyUnknown).
    pub kid: &'a str,
    /// Claim `iat`, with its fraction if it has one; see [`Millis::from_seconds`].
    pub issued_at: Option<Millis>,
    /// Claim `auth_time`.
    pub auth_time: Option<Millis>,
    /// Claim `exp`.
    pub expires: Option<Millis>,
}

// === impl Claims ===

impl Claims<'_> {
    /// Targets whose revocation would cover the token, in the order of the rules: at most 7.
    pub fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::with_capacity(7);
        let mut add = |named: bool, scope: fn(&Self) -> Scope| {
            if named {
                targets.push(Target { tenant: self.tenant.into(), scope: scope(self) });
            }
        };
        add(true, |_| Scope::Tenant);
        add(self.names_key(), |claims| Scope::Key { issuer: claims.issuer.into(), kid: claims.kid.into() });
        add(!self.client.is_empty(), |claims| Scope::Client(claims.client.into()));
        add(!self.subject.is_empty(), |claims| Scope::Subject { user: claims.subject.into(), by: CutoffBy::IssuedAt });
        add(!self.subject.is_empty(), |claims| Scope::Subject { user: claims.subject.into(), by: CutoffBy::AuthTime });
        add(!self.sid.is_empty(), |claims| Scope::Session(claims.sid.into()));
        if let Some(hash) = self.token() {
            targets.push(Target { tenant: self.tenant.into(), scope: Scope::Token(hash) });
        }
        targets
    }

    /// Hash of the token, unless it lacks a claim that is hashed. One SHA-256, no allocation.
    pub fn token(&self) -> Option<TokenHash> {
        let named = !self.issuer.is_empty() && !self.jti.is_empty();
        named.then(|| TokenHash::digest(self.tenant, self.issuer, self.jti))
    }

    /// Returns whether the token names its issuer, but not the key that signed it: any key of that issuer may be the
    /// one.
    pub fn hides_key(&self) -> bool {
        !self.issuer.is_empty() && self.kid.is_empty()
    }

    pub(crate) fn names_key(&self) -> bool {
        !self.issuer.is_empty() && !self.kid.is_empty()
    }

    /// Returns whether `target` is a key that may have signed the token, which does not name its key.
    pub(crate) fn may_be_signed_by(&self, target: &Target) -> bool {
        let of_issuer = matches!(&target.scope, Scope::Key { issuer, .. } if **issuer == *self.issuer);
        self.hides_key() && of_issuer && *target.tenant == *self.tenant
    }
}

#[cfg(test)]
mod tests {
    use super::Claims;
    use crate::{Scope, Target, TokenHash};

    #[test]
    fn targets_are_those_that_cover_the_token() {
        let full = Claims {
            tenant: "acme",
            issuer: "i",
            jti: "j",
            sid: "s",
            subject: "u",
            client: "c",
            kid: "k",
            ..Claims::default()
        };
        let letters: String = full.targets().iter().map(|target| target.scope.letter()).collect();
        assert_eq!(letters, "nkciast");
        assert!(full.targets().iter().all(|target| &*target.tenant == "acme"));
        assert_eq!(full.targets()[6].scope, Scope::Token(TokenHash::digest("acme", "i", "j")));
    }

    #[test]
    fn a_token_without_kid_may_be_signed_by_any_key_of_its_issuer() {
        let key = |tenant: &str, issuer: &str| Target {
            tenant: tenant.into(),
            scope: Scope::Key { issuer: issuer.into(), kid: "k".into() },
        };
        let bare = Claims { tenant: "acme", issuer: "i", ..Claims::default() };
        assert!(bare.hides_key() && bare.may_be_signed_by(&key("acme", "i")));
        assert!(!bare.may_be_signed_by(&key("acme", "other")) && !bare.may_be_signed_by(&key("other", "i")));
        assert!(!bare.may_be_signed_by(&Target { tenant: "acme".into(), scope: Scope::Tenant }));
        for named in [Claims { kid: "k", ..bare }, Claims { issuer: "", ..bare }] {
            assert!(!named.hides_key() && !named.may_be_signed_by(&key("acme", named.issuer)), "{named:?}");
        }
    }

    #[test]
    fn a_missing_claim_names_no_target() {
        let letters =
            |claims: Claims<'_>| -> String { claims.targets().iter().map(|target| target.scope.letter()).collect() };
        assert_eq!(letters(Claims { tenant: "acme", ..Claims::default() }), "n");
        // A kid and a jti mean nothing without the issuer.
        assert_eq!(letters(Claims { tenant: "acme", kid: "k", jti: "j", ..Claims::default() }), "n");
        assert_eq!(letters(Claims { tenant: "acme", issuer: "i", ..Claims::default() }), "n");
    }
}
