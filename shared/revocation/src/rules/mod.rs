//! Rules that decide whether a token is revoked. Each is here, once: [`judge`] and [`crate::Replica`] share them.

use std::time::Duration;

use crate::claims::Claims;
use crate::state::{Kept, State};
use crate::target::{CutoffBy, RevocationId, Scope, Target, TokenHash};
use crate::time::Millis;

/// Rules that every token must keep. Counted in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Longest life of a token. Revocations are kept for as long.
    pub max_lifetime: Duration,
    /// Greatest difference between two clocks.
    pub leeway: Duration,
    /// Time by which issuers' clocks may be ahead: added to each cutoff, so that it only widens rejection.
    pub issuer_skew: Duration,
}

/// Rule by which a token is rejected. Of several, the first in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Missing `exp`.
    NoExpiry,
    /// Expired token.
    Expired,
    /// Life that is too long: a revocation might be forgotten before the token expires.
    LifetimeTooLong,
    /// Issue in the future.
    IssuedInFuture,
    /// Tenant whose tokens were revoked up to a later moment.
    Tenant,
    /// Revoked key that signed the token.
    Key,
    /// Client whose tokens were revoked up to a later moment.
    Client,
    /// User whose tokens were revoked up to a later moment.
    Subject,
    /// Revoked login session.
    Session,
    /// Revoked token.
    Token,
    /// Loss of revocations by the store: the token is, or looks like, one that was revoked before. See
    /// [`Replica::may_be_lost`](crate::Replica::may_be_lost).
    Lost,
}

/// Verdict on a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Good: nothing is known against it.
    Active,
    /// Rejected by a rule.
    Revoked {
        /// Rule that rejects it.
        rule: Rule,
        /// Revocation that covers it, if there is one.
        revocation: Option<RevocationId>,
    },
    /// Suspect: a filter holds the token, or one that looks like it, and only the store can tell. Nothing else is known
    /// against it.
    Suspect(TokenHash),
    /// Rejected, since a key of its issuer was revoked, and the token does not name the key that signed it. Nothing
    /// else is known against it.
    KeyUnknown,
}

/// Judges a token by exact states: those of [`Claims::targets`], and of all keys of its issuer where it [hides its
/// key](Claims::hides_key). States come in any order; targets without one are left out. Never [`Answer::Suspect`].
pub fn judge(claims: &Claims<'_>, rules: &Rules, now: Millis, known: &[(Target, State)]) -> Answer {
    if let Some(rule) = rules.broken_by(claims, now) {
        return Answer::Revoked { rule, revocation: None };
    }
    // In the order of the rules, which is that of the targets.
    for target in claims.targets() {
        let revoked = known.iter().any(|(of, state)| {
            *of == target && state.holds(now) && rules.revokes(&target.scope, state.cutoff, &state.kept, claims)
        });
        if revoked {
            return Answer::revoked(target.scope.rule(), target.id());
        }
    }
    let hidden = known.iter().any(|(target, state)| claims.may_be_signed_by(target) && state.holds(now));
    if hidden { Answer::KeyUnknown } else { Answer::Active }
}

// === impl Rules ===

impl Rules {
    /// Longest time for which a token issued up to now can be accepted. Its issuer's clock may be ahead by the leeway
    /// of any clock and by its own skew, and the token is accepted for the leeway after it has expired. Older
    /// revocations need not be known.
    pub fn memory(&self) -> Duration {
        self.max_lifetime.saturating_add(self.leeway.saturating_mul(2)).saturating_add(self.issuer_skew)
    }

    /// First whole second whose tokens a cutoff does not cover, also where their `iat` has whole seconds alone.
    pub fn reissue_time(&self, cutoff: Millis) -> Millis {
        let last = cutoff.plus(self.issuer_skew);
        Millis(last.0.div_euclid(1000).saturating_add(1).saturating_mul(1000))
    }

    /// First rule that the token breaks by itself, whatever was revoked.
    pub fn broken_by(&self, claims: &Claims<'_>, now: Millis) -> Option<Rule> {
        let Some(expires) = claims.expires else {
            return Some(Rule::NoExpiry);
        };
        if expires.plus(self.leeway) <= now {
            return Some(Rule::Expired);
        }
        let lives_too_long = claims.issued_at.is_some_and(|issued| expires > issued.plus(self.max_lifetime));
        if lives_too_long || expires > now.plus(self.max_lifetime).plus(self.leeway) {
            return Some(Rule::LifetimeTooLong);
        }
        let latest = now.plus(self.leeway).plus(self.issuer_skew);
        claims.issued_at.is_some_and(|issued| issued > latest).then_some(Rule::IssuedInFuture)
    }

    /// Returns whether a revocation of `scope`, which holds and names this token's tenant, session, user and so on,
    /// covers it.
    pub(crate) fn revokes(&self, scope: &Scope, cutoff: Option<Millis>, kept: &[Kept], claims: &Claims<'_>) -> bool {
        match scope {
            Scope::Token(_) | Scope::Session(_) | Scope::Key { .. } => true,
            Scope::Subject { by: CutoffBy::AuthTime, .. } => self.cuts(cutoff, kept, claims.auth_time, claims),
            Scope::Subject { by: CutoffBy::IssuedAt, .. } | Scope::Client(_) | Scope::Tenant => {
                self.cuts(cutoff, kept, claims.issued_at, claims)
            }
        }
    }

    /// Returns whether a cutoff that holds covers `time`, the token's `iat` or `auth_time`.
    pub(crate) fn cuts(
        &self,
        cutoff: Option<Millis>,
        kept: &[Kept],
        time: Option<Millis>,
        claims: &Claims<'_>,
    ) -> bool {
        let cutoff = match Kept::find(kept, claims.sid) {
            // No earlier cutoff holds for it either.
            Some(Kept { cutoff: None, .. }) => return false,
            Some(Kept { cutoff: earlier, .. }) => *earlier,
            None => cutoff,
        };
        // A token without a time of issue may have been issued before. A cutoff without a moment can't come from the
        // service, and covers everything.
        let (Some(cutoff), Some(time)) = (cutoff, time) else {
            return true;
        };
        time <= cutoff.plus(self.issuer_skew)
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) fn revoked(rule: Rule, revocation: RevocationId) -> Self {
        Self::Revoked { rule, revocation: Some(revocation) }
    }
}

// === impl Scope ===

impl Scope {
    /// Rule that rejects a token that it covers.
    pub fn rule(&self) -> Rule {
        match self {
            Self::Token(_) => Rule::Token,
            Self::Session(_) => Rule::Session,
            Self::Subject { .. } => Rule::Subject,
            Self::Client(_) => Rule::Client,
            Self::Key { .. } => Rule::Key,
            Self::Tenant => Rule::Tenant,
        }
    }
}

#[cfg(test)]
mod tests;
