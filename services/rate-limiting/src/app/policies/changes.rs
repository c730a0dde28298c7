//! Changes through the API.

use keyplane_contracts::Violations;
use keyplane_contracts::names::TenantId;

use super::{Action, Cause, Policies};
use crate::domain::{Catalog, Origin, Patch, Policy, PolicyId, check_plan};
use crate::error::Error;

/// How often a change without an etag is made anew where others change the same policy.
const ATTEMPTS: usize = 8;

// === impl Policies ===

impl Policies {
    /// Makes a policy, and returns it as it is stored. With `validate_only`, nothing is made.
    ///
    /// Dropped before it is done, or after an error whose outcome is unknown, the policy may exist or not; a retry finds out.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], [`Error::PolicyExists`], [`Error::TooManyPolicies`], or the store's.
    pub async fn create(&self, policy: Policy, validate_only: bool) -> Result<Policy, Error> {
        let mut violations = Violations::new();
        policy.check("policy", &mut violations);
        violations.into_result(()).map_err(Error::Invalid)?;
        let change = self.current.store.create(&policy, Catalog::MOST_OF_API, validate_only).await?;
        self.catch_up(change.version, validate_only).await;
        Ok(change.applied(policy))
    }

    /// Changes a policy, and returns it as it is stored. With an `etag`, only if that is its own. With `validate_only`,
    /// nothing is changed. What others change meanwhile in other fields stays.
    ///
    /// Dropped before it is done, or after an error whose outcome is unknown, the policy may be changed or not.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], [`Error::PolicyNotFound`], [`Error::PolicyFromFile`], [`Error::StaleWrite`],
    /// [`Error::Corrupt`] if what is stored is damaged, or the store's.
    pub async fn update(&self, id: &PolicyId, patch: &Patch, etag: &str, validate_only: bool) -> Result<Policy, Error> {
        let mut attempts = ATTEMPTS;
        loop {
            let Some(policy) = self.current.store.get(id).await? else { return Err(self.missing(id).await) };
            let current = super::etag(&policy);
            if !etag.is_empty() && etag != current {
                return Err(Error::StaleWrite { current });
            }
            let mut violations = Violations::new();
            let policy = patch.apply(policy, &mut violations);
            violations.into_result(()).map_err(Error::Invalid)?;
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

    /// Deletes a policy, even a damaged one; with an `etag`, only if that is its own. With `allow_missing` it is well if
    /// there is none.
    ///
    /// Dropped before it is done, or after an error whose outcome is unknown, the policy may exist or not.
    ///
    /// # Errors
    ///
    /// [`Error::PolicyNotFound`], [`Error::PolicyFromFile`], [`Error::StaleWrite`], or the store's.
    pub async fn delete(&self, id: &PolicyId, etag: &str, allow_missing: bool) -> Result<(), Error> {
        // A text that is the etag of no stored policy is no policy's version either.
        let version = etag.parse().ok().filter(|version: &u64| version.to_string() == etag).unwrap_or(u64::MAX);
        let deleted = self.current.store.delete(id, (!etag.is_empty()).then_some(version)).await;
        if let Err(Error::PolicyNotFound { .. }) = deleted {
            let missing = self.missing(id).await;
            let well = allow_missing && matches!(missing, Error::PolicyNotFound { .. });
            return if well { Ok(()) } else { Err(missing) };
        }
        self.catch_up(deleted?.version, false).await;
        Ok(())
    }

    /// Puts a tenant on a plan, or with an empty one on none, whatever the file says, and returns what [`Policies::plan`]
    /// says of it from now on. It is in the audit before it is done.
    ///
    /// Dropped before it is done, or after an error, it may be done or not, and may be in the audit; a retry is harmless.
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
        // Nothing may be written by a program of another layout, the audit neither.
        self.current.store.check().await?;
        self.audit().record(tenant, Action::Plan, target, cause).await?;
        let keep = self.current.layers().await.file.plans.contains_key(tenant.as_str());
        let change = self.current.store.set_plan(tenant, plan, keep).await?;
        self.catch_up(change.version, false).await;
        Ok((keep || !plan.is_empty()).then(|| (plan.to_owned(), Origin::Api)))
    }

    /// Puts an own change in force here. It is made already: if the store can't be read now, it is soon.
    async fn catch_up(&self, version: u64, dry: bool) {
        if !dry && let Err(error) = self.current.refresh_to(version).await {
            tracing::warn!(%error, "a change of policies was made and is not in force here yet");
        }
    }

    /// Why there is no stored policy of this id.
    async fn missing(&self, id: &PolicyId) -> Error {
        let layers = self.current.layers().await;
        let from_file = layers.file.policies.iter().any(|policy| policy.id == *id);
        let id = id.to_string();
        if from_file { Error::PolicyFromFile { id } } else { Error::PolicyNotFound { id } }
    }
}
