//! Revoking, for every face alike.

use futures::future::join_all;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revoke_request::Target;
use keyplane_revocation::{RevocationId, Rules, Scope, Version};

use super::convert::Bounds;
use super::oauth::OAuth;
use crate::domain::{Cause, Outcome, Revoke, Written};
use crate::error::Error;
use crate::replica::Mirror;
use crate::store::Store;

/// Writes to the store, and at once to this instance's memory: whoever revokes here is refused here from then on.
pub(super) struct Writer {
    store: Store,
    mirror: Mirror,
    rules: Rules,
    oauth: OAuth,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(store: Store, mirror: Mirror, rules: Rules, oauth: OAuth) -> Writer {
        Writer { store, mirror, rules, oauth }
    }

    /// What tokens must keep to.
    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Bounds of requests that are made now.
    pub(super) fn bounds(&self) -> Bounds<'_> {
        Bounds { rules: &self.rules, now: self.store.now(), tenant_claim: self.oauth.tenant_claim() }
    }

    /// Verifier of tokens.
    pub(super) fn oauth(&self) -> &OAuth {
        &self.oauth
    }

    /// Says of each request, in order, whether it has a token whose signature holds.
    pub(super) async fn prove<'a>(&self, requests: impl Iterator<Item = Option<&'a pb::RevokeRequest>>) -> Vec<bool> {
        let proofs = requests.map(|request| async move {
            match request.and_then(|request| request.target.as_ref()) {
                Some(Target::Token(request)) => self.oauth.proves(&request.token).await,
                Some(_) | None => false,
            }
        });
        join_all(proofs).await
    }

    /// Makes each of the revocations; one result for each, in their order.
    pub(super) async fn revoke(&self, revokes: Vec<Revoke>) -> Vec<Result<Written, Error>> {
        let mut possible = Vec::with_capacity(revokes.len());
        let asked: Vec<_> =
            revokes.into_iter().map(|revoke| self.is_possible(&revoke).map(|()| possible.push(revoke))).collect();
        let mut made = self.store.revoke(possible).await.into_iter();
        let result = |asked: Result<(), Error>| match asked {
            // The store answers each that it was given.
            Ok(()) => made.next().unwrap_or(Err(Error::Corrupt("a revocation without a result"))),
            Err(error) => Err(error),
        };
        let results: Vec<_> = asked.into_iter().map(result).collect();
        results.iter().flatten().for_each(|written| self.take_in(written));
        results
    }

    /// A key is revoked by its `kid`, which whoever has stolen it would leave out of tokens where none is needed.
    fn is_possible(&self, revoke: &Revoke) -> Result<(), Error> {
        match &revoke.target.scope {
            Scope::Key { issuer, .. } if self.oauth.needs_no_kid(issuer) => Err(Error::IssuerWithoutKid),
            Scope::Key { .. }
            | Scope::Token(_)
            | Scope::Session(_)
            | Scope::Subject { .. }
            | Scope::Client(_)
            | Scope::Tenant => Ok(()),
        }
    }

    /// Makes one.
    pub(super) async fn revoke_one(&self, revoke: Revoke) -> Result<Written, Error> {
        let made = self.revoke(vec![revoke]).await.pop();
        made.unwrap_or(Err(Error::Corrupt("a revocation without a result")))
    }

    /// Takes one back.
    pub(super) async fn undo(
        &self,
        tenant: &str,
        id: &RevocationId,
        version: Option<Version>,
        cause: Cause,
    ) -> Result<Written, Error> {
        let written = self.store.undo(tenant, id, version, cause).await?;
        self.take_in(&written);
        Ok(written)
    }

    fn take_in(&self, written: &Written) {
        match written.outcome {
            Outcome::Changed | Outcome::Unchanged => self.mirror.apply(&written.record),
            Outcome::Expired => {}
        }
    }
}
