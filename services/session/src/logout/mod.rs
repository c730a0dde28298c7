//! Ends sessions and revokes what was issued for them, so that neither outlives the other.
//!
//! First read, then revoke, then end, and that only if what ends is still what was read: a token that is bound in between
//! would survive its session. Else once more. Whatever fails on the way, the sessions are still there, so that the caller can
//! repeat the call; what was revoked stays revoked.

mod revoker;

use std::collections::BTreeSet;

use keyplane_contracts::names::{SessionId, SessionName, UserName};

use crate::domain::{BoundToken, Session};
use crate::error::Error;
use crate::store::Store;
pub(crate) use revoker::Revoker;

/// How often it is tried while sessions change. Each round is some milliseconds, and what changes is usually the page that
/// a user is on.
const ROUNDS: usize = 5;

/// How many sessions are read at once: the most that a user may have.
const PAGE: u32 = 100;

/// Ends sessions together with what was issued for them.
pub(crate) struct Logout {
    store: Store,
    revoker: Option<Revoker>,
}

/// Something that was issued for a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Issued {
    /// Whatever has the session's id as its `sid`.
    Session(SessionId),
    /// A token that was bound to it.
    Token(BoundToken),
}

/// What of a user was revoked so far in this call: a further round revokes only what is new.
struct Progress<'a> {
    revoker: &'a Revoker,
    user: &'a UserName,
    done: BTreeSet<Issued>,
}

// === impl Logout ===

impl Logout {
    /// Ends sessions of `store`; without a revoker, refuses to.
    pub(crate) fn new(store: Store, revoker: Option<Revoker>) -> Logout {
        Logout { store, revoker }
    }

    /// Revokes what was issued for a session, then ends it. Of a session that has ended before, what has its id as `sid` is
    /// revoked: tokens live on when a session ends by itself.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::SessionsChanging`], what the revoker fails with, or the store's.
    pub(crate) async fn delete(&self, name: &SessionName) -> Result<(), Error> {
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
            progress.revoke(issued(&session)).await?;
            match self.store.delete(name, Some(session.version)).await {
                Err(Error::StaleWrite { .. }) => {}
                result => return result,
            }
        }
        Err(Error::SessionsChanging)
    }

    /// Revokes what was issued for all sessions of a user but `except`, then ends those in one step; returns how many.
    ///
    /// # Errors
    ///
    /// [`Error::SessionsChanging`], what the revoker fails with, or the store's.
    pub(crate) async fn revoke_all(&self, user: &UserName, except: Option<&SessionId>) -> Result<i32, Error> {
        let mut progress = self.begin(user)?;
        for _ in 0..ROUNDS {
            let known = self.sessions(user).await?;
            let doomed = known.iter().filter(|session| Some(&session.name.session) != except);
            progress.revoke(doomed.flat_map(issued)).await?;
            match self.store.revoke_all(user, except, Some(&known)).await {
                Err(Error::SessionsChanging) => {}
                result => return result,
            }
        }
        Err(Error::SessionsChanging)
    }

    fn begin<'a>(&'a self, user: &'a UserName) -> Result<Progress<'a>, Error> {
        let revoker = self.revoker.as_ref().ok_or(Error::RevocationNotConfigured)?;
        Ok(Progress { revoker, user, done: BTreeSet::new() })
    }

    /// All live sessions of a user. If they change between two pages, the script that ends them notices.
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
        let new: Vec<Issued> = issued.into_iter().filter(|one| !self.done.contains(one)).collect();
        self.revoker.revoke(&self.user.tenant, &new).await?;
        self.done.extend(new);
        Ok(())
    }
}

/// Revocations that are due when `session` ends. The revocation service tells, by its store's clock, which tokens have
/// expired and need none.
fn issued(session: &Session) -> impl Iterator<Item = Issued> + '_ {
    let tokens = session.tokens.iter().cloned().map(Issued::Token);
    std::iter::once(Issued::Session(session.name.session.clone())).chain(tokens)
}
