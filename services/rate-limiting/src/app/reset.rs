//! Emptying buckets: noted in the tenant's audit first, then done.

use super::Admission;
use super::policies::{Action, Cause};
use crate::domain::{LimitIds, Subject};
use crate::error::Error;

// === impl Admission ===

impl Admission {
    /// Empties the buckets of the named limits; returns how many held something.
    ///
    /// Dropped, or after an error, some buckets may be empty; the audit may name buckets that are not.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], [`Error::PolicyNotFound`], or the store's.
    pub async fn reset(&self, subject: &Subject<'_>, limits: LimitIds<'_>, cause: &Cause) -> Result<usize, Error> {
        let call = self.resolve(&self.policies.load(), subject, limits, 1)?;
        let targets: Vec<&str> = call.limits.iter().map(|limit| limit.key.as_str()).collect();
        // The audit comes first: no reset happens without its entry.
        self.policies.audit().record(subject.tenant(), Action::Reset, &targets, cause).await?;
        self.limiter.reset(&call.limits).await
    }
}
