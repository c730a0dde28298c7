//! Creates sessions, and rotates them, under ids that nobody can guess.

use keyplane_contracts::Violations;
use keyplane_contracts::names::{SessionId, SessionName, UserName};
use keyplane_server::random;

use crate::domain::{NewSession, Policies, Request, Session, check_timeouts};
use crate::error::Error;
use crate::store::Store;

/// Creates sessions by the policy of their tenant.
pub(crate) struct Login {
    store: Store,
    policies: Policies,
}

// === impl Login ===

impl Login {
    /// Login into `store`, by `policies`.
    pub(crate) fn new(store: Store, policies: Policies) -> Login {
        Login { store, policies }
    }

    /// Creates a session. `violations` has those that the request's own fields made; the tenant's policy may add to them.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with all violations, or those of [`Store::create`].
    pub(crate) async fn create(
        &self,
        user: &UserName,
        new: &NewSession,
        mut violations: Violations,
    ) -> Result<Session, Error> {
        let policy = self.policies.for_tenant(&user.tenant);
        check_timeouts(new.timeouts, policy, &mut violations);
        violations.into_result(()).map_err(Error::Invalid)?;
        self.store.create(user, random_id()?, new, policy).await
    }

    /// Moves a session to a new id.
    ///
    /// # Errors
    ///
    /// Errors of [`Store::rotate`].
    pub(crate) async fn rotate(&self, name: &SessionName, request: Option<&Request>) -> Result<Session, Error> {
        self.store.rotate(name, random_id()?, request).await
    }
}

fn random_id() -> Result<SessionId, Error> {
    Ok(SessionId::from_bits(random::bytes()?))
}
