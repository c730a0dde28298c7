//! Whether a token is revoked. Every rule is here, once: [`judge`] and [`crate::Replica`] both ask these functions.

use std::time::Duration;

use crate::claims::Claims;
use crate::state::{Kept, State};
use crate::target::{CutoffBy, RevocationId, Scope, Target, TokenHash};
use crate::time::Millis;

/// What every token must keep to. Counted in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The longest that a token may live. What revokes tokens is kept for so long.
    pub max_lifetime: Duration,
    /// By how much clocks may differ.
    pub leeway: Duration,
    /// By how much issuers' clocks may be ahead: added to each cutoff, so that it only widens refusal.
    pub issuer_skew: Duration,
}

/// Why a token must be refused. Of several, the first in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// It has no `exp`.
    NoExpiry,
    /// It has expired.
    Expired,
    /// It lives longer than tokens may, so that a revocation might be forgotten before it expires.
    LifetimeTooLong,
    /// It was issued in the future.
    IssuedInFuture,
    /// Its tenant was revoked up to a later moment.
    Tenant,
    /// The key that signed it was revoked.
    Key,
    /// Its client was revoked up to a later moment.
    Client,
    /// Its user was revoked up to a later moment.
    Subject,
    /// Its login session was revoked.
    Session,
    /// The token itself was revoked.
    Token,
    /// The store lost revocations, and the token is, or looks like, one that was revoked before: see
    /// [`Replica::may_be_lost`](crate::Replica::may_be_lost).
    Lost,
}

/// Whether a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing is known against it.
    Active,
    /// It must be refused.
    Revoked {
        /// Why.
        rule: Rule,
        /// By what, if by a revocation.
        revocation: Option<RevocationId>,
    },
    /// A filter holds the token, or one that looks like it: only the store can tell. Everything else speaks for it.
    Suspect(TokenHash),
    /// A key of its issuer was revoked, and the token does not say which key signed it: it must be refused. Nothing else
    /// speaks against it.
    KeyUnknown,
}

/// Judges a token by all that is known: of each of [`Claims::targets`] the state, and where it [hides its key](Claims::hides_key)
/// those of all keys of its issuer; in any order, those without one left out. Exact: the answer is never [`Answer::Suspect`].
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
    let hidden = known.iter().any(|(of, state)| claims.may_be_signed_by(of) && state.holds(now));
    if hidden { Answer::KeyUnknown } else { Answer::Active }
}

// === impl Rules ===

impl Rules {
    /// The longest that a token can be accepted from now on that was issued up to now. Its issuer's clock may be ahead, by
    /// the leeway that any clock has and by its own skew, and it is accepted for the leeway after it has expired. What is
    /// longer ago than that needs no telling any more.
    pub fn memory(&self) -> Duration {
        self.max_lifetime.saturating_add(self.leeway.saturating_mul(2)).saturating_add(self.issuer_skew)
    }

    /// From when on a cutoff can be forgotten: every token that it takes in has expired by then.
    pub fn cutoff_expires(&self, cutoff: Millis) -> Millis {
        cutoff.plus(self.memory())
    }

    /// The first whole second whose tokens a cutoff does not take in, also where their `iat` has whole seconds alone.
    pub fn reissue_time(&self, cutoff: Millis) -> Millis {
        let last = cutoff.plus(self.issuer_skew);
        Millis(last.0.div_euclid(1000).saturating_add(1).saturating_mul(1000))
    }

    /// The first of the rules that the token breaks by itself, whatever was revoked.
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

    /// Whether a revocation of `scope` that holds, and is for this token's tenant, session, user and so on, revokes it.
    pub(crate) fn revokes(&self, scope: &Scope, cutoff: Option<Millis>, kept: &[Kept], claims: &Claims<'_>) -> bool {
        match scope {
            Scope::Token(_) | Scope::Session(_) | Scope::Key { .. } => true,
            Scope::Subject { by: CutoffBy::AuthTime, .. } => self.cuts(cutoff, kept, claims.auth_time, claims),
            Scope::Subject { by: CutoffBy::IssuedAt, .. } | Scope::Client(_) | Scope::Tenant => {
                self.cuts(cutoff, kept, claims.issued_at, claims)
            }
        }
    }

    /// Whether a cutoff that holds takes in `time`, which is the token's `iat` or `auth_time`.
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
        // A token that does not say when it was issued may have been issued before; a cutoff without a moment can't come
        // from the service, and takes in everything.
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
    /// The rule by which a token that it takes in is refused.
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
