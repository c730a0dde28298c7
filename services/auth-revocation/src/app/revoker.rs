//! Revoking and undoing: writes to the store, and at once to this instance's memory.

use futures::future::join_all;
use keyplane_revocation::{Millis, RevocationId, Rules, Scope, Version};

use super::replica::Mirror;
use super::tokens::TokenVerifier;
use crate::domain::{Cause, Outcome, Revoke, Written};
use crate::error::Error;
use crate::store::Store;

/// Writes revocations. A token that is revoked here is rejected here from then on.
pub(crate) struct Revoker {
    store: Store,
    mirror: Mirror,
    rules: Rules,
    tokens: TokenVerifier,
}

// === impl Revoker ===

impl Revoker {
    pub(crate) fn new(store: Store, mirror: Mirror, rules: Rules, tokens: TokenVerifier) -> Revoker {
        Revoker { store, mirror, rules, tokens }
    }

    /// Rules that tokens must keep.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Store's time.
    pub(crate) fn now(&self) -> Millis {
        self.store.now()
    }

    /// Verifier of tokens.
    pub(crate) fn tokens(&self) -> &TokenVerifier {
        &self.tokens
    }

    /// Verifies tokens: for each, in order, whether its signature holds; `false` for an empty one.
    pub(crate) async fn prove<'a>(&self, tokens: impl Iterator<Item = &'a str>) -> Vec<bool> {
        join_all(tokens.map(|token| self.tokens.proves(token))).await
    }

    /// Makes each of the revocations; one result for each, in their order, and for an error that error. Dropped before
    /// it is done, any of them may have been made; repeating them does no harm.
    pub(crate) async fn revoke(
        &self,
        revokes: impl IntoIterator<Item = Result<Revoke, Error>>,
    ) -> Vec<Result<Written, Error>> {
        let mut possible = Vec::new();
        let checked = revokes.into_iter().map(|revoke| {
            let revoke = revoke.and_then(|revoke| self.is_possible(&revoke).map(|()| revoke));
            revoke.map(|revoke| possible.push(revoke))
        });
        let checked: Vec<_> = checked.collect();
        let mut made = self.store.revoke(possible).await.into_iter();
        // The store answers each that it was given.
        let mut next = || made.next().unwrap_or(Err(Error::Corrupt("a revocation without a result")));
        let results: Vec<_> = checked.into_iter().map(|checked| checked.and_then(|()| next())).collect();
        results.iter().flatten().for_each(|written| self.apply(written));
        results
    }

    /// Makes one revocation: see [`Revoker::revoke`].
    pub(crate) async fn revoke_one(&self, revoke: Result<Revoke, Error>) -> Result<Written, Error> {
        let made = self.revoke([revoke]).await.pop();
        made.unwrap_or(Err(Error::Corrupt("a revocation without a result")))
    }

    /// Revokes a token on behalf of its bearer (RFC 7009). A token that cannot be verified is answered as if it had
    /// been revoked.
    ///
    /// # Errors
    ///
    /// Errors of [`TokenVerifier::revocation`] and [`Revoker::revoke`].
    pub(crate) async fn revoke_for_bearer(&self, tenant: &str, token: &str, type_hint: &str) -> Result<(), Error> {
        match self.tokens.revocation(tenant, token, type_hint, self.now()).await? {
            Some(revoke) => self.revoke_one(Ok(revoke)).await.map(drop),
            None => Ok(()),
        }
    }

    /// Undoes a revocation: see [`Store::undo`].
    pub(crate) async fn undo(
        &self,
        tenant: &str,
        id: &RevocationId,
        version: Option<Version>,
        cause: Cause,
    ) -> Result<Written, Error> {
        let written = self.store.undo(tenant, id, version, cause).await?;
        self.apply(&written);
        Ok(written)
    }

    /// Rejects the revocation of a key by a `kid` that tokens of its issuer may leave out: a thief would leave it out.
    fn is_possible(&self, revoke: &Revoke) -> Result<(), Error> {
        let needs_no_kid =
            matches!(&revoke.target.scope, Scope::Key { issuer, .. } if self.tokens.needs_no_kid(issuer));
        if needs_no_kid { Err(Error::IssuerWithoutKid) } else { Ok(()) }
    }

    fn apply(&self, written: &Written) {
        if written.outcome != Outcome::Expired {
            self.mirror.apply(&written.record);
        }
    }
}
