//! Changes of policies and plans through the API.

use keyplane_contracts::names::TenantId;

use super::{Action, Cause, Policies};
use crate::domain::{Catalog, Origin, Patch, Policy, PolicyId, PolicyViolation, check_plan};
use crate::error::Error;

/// Attempts of a change without an etag while others change the same policy.
const ATTEMPTS: usize = 8;

// === impl Policies ===

impl Policies {
    /// Creates a policy, and returns it as stored. With `validate_only`, nothing is created.
    ///
    /// Dropped before it returns, or after an error with unknown outcome, the policy may exist; a retry finds out.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPolicy`], [`Error::PolicyExists`], [`Error::TooManyPolicies`], or the store's.
    pub async fn create(&self, policy: Policy, validate_only: bool) -> Result<Policy, Error> {
        valid(policy.check())?;
        let change = self.current.store.create(&policy, Catalog::MOST_OF_API, validate_only).await?;
        self.catch_up(change.version, validate_only).await;
        Ok(change.applied(policy))
    }

    /// Changes a policy, and returns it as stored. With an `etag`, only if the policy still has it. With `validate_only`, nothing is
    /// changed. Concurrent changes of other fields stay.
    ///
    /// Dropped before it returns, or after an error with unknown outcome, the policy may be changed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPolicy`], [`Error::PolicyNotFound`], [`Error::PolicyFromFile`], [`Error::StaleWrite`],
    /// [`Error::Corrupt`] if what is stored is damaged, or the store's.
    pub async fn update(&self, id: &PolicyId, patch: &Patch, etag: &str, validate_only: bool) -> Result<Policy, Error> {
        let mut attempts = ATTEMPTS;
        loop {
            let Some(policy) = self.current.store.get(id).await? else { return Err(self.missing(id).await) };
            let current = super::etag(&policy);
            if !etag.is_empty() && etag != current {
                return Err(Error::StaleWrite { current });
            }
            let (policy, broken) = patch.apply(policy);
            valid(broken)?;
            attempts -= 1;
            match self.current.store.update(&policy, validate_only).await {
                Ok(change) => {
                    self.catch_up(change.version, validate_only).await;
                    return Ok(change.applied(policy));
                }
                Err(Error::StaleWrite { .. }) if etag.is_empty() && attempts > 0 => {}
                Err(Error::PolicyNotFound { .. }) => return Err(self.missing(id).await),
                Err(error) => return Err(error),
            }
        }
    }

    /// Deletes a policy, even a damaged one; with an `etag`, only if the policy still has it. With `allow_missing`, a missing policy
    /// is no error.
    ///
    /// Dropped before it returns, or after an error with unknown outcome, the policy may still exist.
    ///
    /// # Errors
    ///
    /// [`Error::PolicyNotFound`], [`Error::PolicyFromFile`], [`Error::StaleWrite`], or the store's.
    pub async fn delete(&self, id: &PolicyId, etag: &str, allow_missing: bool) -> Result<(), Error> {
        // An etag that is no version matches no stored policy.
        let version = etag.parse().ok().filter(|version: &u64| version.to_string() == etag).unwrap_or(u64::MAX);
        let deleted = self.current.store.delete(id, (!etag.is_empty()).then_some(version)).await;
        if let Err(Error::PolicyNotFound { .. }) = deleted {
            let missing = self.missing(id).await;
            let ignored = allow_missing && matches!(missing, Error::PolicyNotFound { .. });
            return if ignored { Ok(()) } else { Err(missing) };
        }
        self.catch_up(deleted?.version, false).await;
        Ok(())
    }

    /// Sets the plan of a tenant, whatever the file says; an empty one means none. Returns the tenant's new plan. The audit notes the
    /// change before it is made.
    ///
    /// Dropped before it returns, or after an error, the plan may be set, and the audit may note it; a retry is safe.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], or the store's.
    pub async fn set_plan(
        &self,
        tenant: &TenantId,
        plan: &str,
        cause: &Cause,
    ) -> Result<Option<(String, Origin)>, Error> {
        if !plan.is_empty() {
            check_plan(plan, "tenant_plan.plan").map_err(Error::invalid)?;
        }
        let target = if plan.is_empty() { &[][..] } else { &[plan][..] };
        // A program of another layout may write nothing, not even the audit.
        self.current.store.check().await?;
        self.audit().record(tenant, Action::Plan, target, cause).await?;
        let keep = self.current.layers().await.file.plans.contains_key(tenant.as_str());
        let change = self.current.store.set_plan(tenant, plan, keep).await?;
        self.catch_up(change.version, false).await;
        Ok((keep || !plan.is_empty()).then(|| (plan.to_owned(), Origin::Api)))
    }

    /// Puts a change of this instance in force. The change is made already: a store that can't be read now is read again soon.
    async fn catch_up(&self, version: u64, dry: bool) {
        if !dry && let Err(error) = self.current.refresh_to(version).await {
            tracing::warn!(%error, "a change of policies is stored, but not in force on this instance yet");
        }
    }

    /// Error for an id without a stored policy.
    async fn missing(&self, id: &PolicyId) -> Error {
        let layers = self.current.layers().await;
        let from_file = layers.file.policies.iter().any(|policy| policy.id == *id);
        let id = id.to_string();
        if from_file { Error::PolicyFromFile { id } } else { Error::PolicyNotFound { id } }
    }
}

fn valid(broken: Vec<PolicyViolation>) -> Result<(), Error> {
    if broken.is_empty() { Ok(()) } else { Err(Error::InvalidPolicy(broken)) }
}
