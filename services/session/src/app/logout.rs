//! Ends sessions; on request together with the tokens that were issued for them, so that neither outlives the other.
//!
//! Rounds of three steps: read the sessions, revoke their tokens, end the sessions if none has changed. A change starts
//! another round, since a token bound in between would survive its session. After a failure the sessions still exist, so
//! the caller can repeat the call; tokens revoked by then stay revoked.

use std::collections::BTreeSet;

use keyplane_contracts::names::{SessionId, SessionName, UserName};

use crate::domain::{Deletion, Issued, Session};
use crate::error::Error;
use crate::peers::Revoker;
use crate::store::Store;

/// Maximum of rounds while sessions change. A round takes some milliseconds, and what changes is usually the page that a
/// user is on.
const ROUNDS: usize = 5;

/// Sessions per read: the maximum that a user may have.
const PAGE: u32 = 100;

/// Ends sessions, alone or together with their tokens.
pub(crate) struct Logout {
    store: Store,
    revoker: Option<Revoker>,
}

/// Tokens of a user that this call has revoked: a further round revokes only new ones.
struct Progress<'a> {
    revoker: &'a Revoker,
    user: &'a UserName,
    done: BTreeSet<Issued>,
}

// === impl Logout ===

impl Logout {
    /// Ends sessions of `store`. Without a revoker, each call that revokes tokens is rejected.
    pub(crate) fn new(store: Store, revoker: Option<Revoker>) -> Logout {
        Logout { store, revoker }
    }

    /// Ends a session.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], unless the deletion allows it; [`Error::StaleWrite`]; [`Error::SessionsChanging`] and those of
    /// the revoker, if it revokes tokens; those of the store.
    pub(crate) async fn delete(&self, name: &SessionName, deletion: &Deletion) -> Result<(), Error> {
        let deleted = if deletion.revoke_tokens {
            self.delete_with_tokens(name).await
        } else {
            self.store.delete(name, deletion.version).await
        };
        match deleted {
            Err(Error::NotFound) if deletion.allow_missing => Ok(()),
            result => result,
        }
    }

    /// Ends all sessions of a user but `except` in one step, on request with their tokens; returns their number.
    ///
    /// # Errors
    ///
    /// [`Error::SessionsChanging`] and those of the revoker, if it revokes tokens; those of the store.
    pub(crate) async fn revoke_all(
        &self,
        user: &UserName,
        except: Option<&SessionId>,
        revoke_tokens: bool,
    ) -> Result<i32, Error> {
        if !revoke_tokens {
            return self.store.revoke_all(user, except, None).await;
        }
        let mut progress = self.begin(user)?;
        for _ in 0..ROUNDS {
            let known = self.sessions(user).await?;
            let doomed = known.iter().filter(|session| Some(&session.name.session) != except);
            progress.revoke(doomed.flat_map(Session::issued)).await?;
            match self.store.revoke_all(user, except, Some(&known)).await {
                Err(Error::SessionsChanging) => {}
                result => return result,
            }
        }
        Err(Error::SessionsChanging)
    }

    /// Revokes what was issued for a session, then ends it. Tokens outlive a session that ended by itself, so its `sid` is
    /// revoked even then.
    async fn delete_with_tokens(&self, name: &SessionName) -> Result<(), Error> {
        let mut progress = self.begin(&name.user)?;
        for _ in 0..ROUNDS {
            let session = match self.store.get(name).await {
                Ok(session) => session,
                Err(Error::NotFound) => {
                    progress.revoke([Issued::Session(name.session.clone())]).await?;
                    return Err(Error::NotFound);
                }
                Err(error) => return Err(error),
            };
            progress.revoke(session.issued()).await?;
            match self.store.delete(name, Some(session.version)).await {
                Err(Error::StaleWrite { .. }) => {}
                result => return result,
            }
        }
        Err(Error::SessionsChanging)
    }

    fn begin<'a>(&'a self, user: &'a UserName) -> Result<Progress<'a>, Error> {
        let revoker = self.revoker.as_ref().ok_or(Error::RevocationNotConfigured)?;
        Ok(Progress { revoker, user, done: BTreeSet::new() })
    }

    /// Reads all live sessions of a user. The script that ends them notices a change between two pages.
    async fn sessions(&self, user: &UserName) -> Result<Vec<Session>, Error> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list(user, PAGE, after.as_ref()).await?;
            all.extend(page.sessions);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }
}

// === impl Progress ===

impl Progress<'_> {
    async fn revoke(&mut self, issued: impl IntoIterator<Item = Issued>) -> Result<(), Error> {
        let new: Vec<Issued> = issued.into_iter().filter(|issued| !self.done.contains(issued)).collect();
        self.revoker.revoke(&self.user.tenant, &new).await?;
        self.done.extend(new);
        Ok(())
    }
}
