//! Explaining limits: where each comes from, its bucket, and what this instance knows of it.

use std::sync::Arc;
use std::time::Duration;

use super::Admission;
use super::limiter::{Call, CallLimit, State};
use crate::domain::{Catalog, Compiled, LimitIds, Subject};
use crate::error::Error;
use crate::store::Stored;

/// Limits of a subject, explained.
pub struct Explained {
    /// Tenant's plan; empty for none.
    pub plan: String,
    /// Limits.
    pub limits: Vec<Explanation>,
    /// Version of the policies in force.
    pub version: u64,
}

/// Limit and its bucket.
pub struct Explanation {
    /// Limit.
    pub limit: CallLimit,
    /// Answer for a cost of 1.
    pub state: State,
    /// Stored bucket; none if it is empty, or nothing is counted.
    pub stored: Option<Stored>,
    /// Time for which this instance denies calls without asking the store.
    pub denied_for: Option<Duration>,
    /// Hits that this instance has leased.
    pub leased: u64,
}

// === impl Admission ===

impl Admission {
    /// Explains the named limits for a subject; without names, up to 16 that it fills.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], [`Error::PolicyNotFound`], or the store's.
    pub async fn explain(&self, subject: &Subject<'_>, limits: Option<LimitIds<'_>>) -> Result<Explained, Error> {
        let catalog = self.policies.catalog();
        let call = match limits {
            None => self.fill_all(&catalog, subject),
            Some(limits) => self.resolve(&catalog, subject, limits, 1)?,
        };
        // One by one: the answer of one limit does not depend on another.
        let explained = call.limits.into_iter().map(|limit| self.explain_one(limit));
        let limits = futures::future::join_all(explained).await.into_iter().collect::<Result<_, _>>()?;
        let plan = catalog.plan(subject.tenant().as_str()).map_or_else(String::new, |(plan, _)| plan.to_owned());
        Ok(Explained { plan, limits, version: catalog.version() })
    }

    async fn explain_one(&self, limit: CallLimit) -> Result<Explanation, Error> {
        let call = Call { limits: vec![limit.clone()], idempotency: None };
        let outcome = self.limiter.peek(&call).await?;
        let state = outcome.limits.first().copied().ok_or(Error::Corrupt("an answer without its bucket"))?;
        let counted = limit.meter().is_some();
        let stored = if counted { self.limiter.store().stored(&limit.key).await? } else { None };
        let (denied_for, leased) = self.limiter.memory(&limit);
        Ok(Explanation { limit, state, stored, denied_for, leased })
    }

    /// Limits of all policies that a subject fills, at most 16.
    fn fill_all(&self, catalog: &Catalog, subject: &Subject<'_>) -> Call {
        let store = self.limiter.store();
        let filled = |compiled: &Arc<Compiled>| {
            let descriptor = subject.fill(&compiled.policy).ok().flatten()?;
            Some(CallLimit::new(store, catalog, compiled, descriptor, 1))
        };
        Call { limits: catalog.all().filter_map(filled).take(LimitIds::MOST).collect(), idempotency: None }
    }
}

// === impl Explanation ===

impl Explanation {
    /// Name of the bucket in the store; none if nothing is counted.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.limit.meter().map(|_| self.limit.key.as_str())
    }
}
