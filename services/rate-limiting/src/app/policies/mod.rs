//! Policies in force: those of the operator's file, and those that the API made, from the store.
//!
//! Instances hold all policies in memory, as a [`Catalog`], and keep them current by themselves. A change is in force on this
//! instance when its call returns, and on every other within a second. Unreadable or invalid policies never take valid ones out of
//! force.
//!
//! Policies and plans of the API override those of the file with the same id or tenant.

mod changes;
mod refresh;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::domain::{Catalog, CatalogError, Compiled, Origin, PolicyId};
use crate::error::Error;
use crate::peers::policy_file::{self, Contents, Rejected};
pub use crate::store::audit::{Action, AuditEntry};
pub use crate::store::policies::etag;
use crate::store::{AuditStore, PolicyStore};
pub use keyplane_audit::Cause;
use refresh::Current;

/// Policies in force. Clones share them; dropping the last clone stops watching file and store.
#[derive(Clone)]
pub struct Policies {
    current: Arc<Current>,
    audit: AuditStore,
    rejected: watch::Receiver<Option<String>>,
    _tasks: Arc<JoinSet<()>>,
}

/// Sources of the policies.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Operator's file, see [`Contents`]; none for policies of the API alone.
    pub file: Option<PathBuf>,
    /// Retention of audits.
    pub audit_age: Duration,
}

/// Policies file that keeps the service from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// File can't be used.
    #[error(transparent)]
    File(#[from] Rejected),
    /// Policies that can't be used together.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

// === impl Policies ===

impl Policies {
    /// Reads the file, and starts to watch it and the store. The policies of the file are in force when this returns, those of the
    /// store once [`ready`](Policies::ready) is true.
    ///
    /// # Errors
    ///
    /// File that can't be used.
    pub async fn start(store: PolicyStore, audit: AuditStore, file: Option<PathBuf>) -> Result<Policies, StartError> {
        let (watch, contents) = match file {
            Some(path) => {
                let (watch, contents) = policy_file::Watch::start(path).await?;
                (Some(watch), contents)
            }
            None => (None, Contents::default()),
        };
        let rejected =
            watch.as_ref().map_or_else(|| watch::Sender::new(None).subscribe(), policy_file::Watch::rejected);
        let current = Arc::new(Current::new(store, contents).await?);
        let mut tasks = JoinSet::new();
        let watching = current.clone();
        tasks.spawn(async move { watching.follow_store().await });
        if let Some(watch) = watch {
            let watching = current.clone();
            tasks.spawn(async move { watching.follow_file(watch).await });
        }
        Ok(Policies { current, audit, rejected, _tasks: Arc::new(tasks) })
    }

    /// Catalog of the policies in force.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.current.catalog.load_full()
    }

    /// Catalog for a moment: a little faster than [`Policies::catalog`]. Never hold it across an await.
    #[must_use]
    pub fn load(&self) -> arc_swap::Guard<Arc<Catalog>> {
        self.current.catalog.load()
    }

    /// Returns whether the stored policies are known: true once they were read for the first time.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.current.ready.subscribe()
    }

    /// Reason for which the file was rejected when it last changed; none while it is in force, or without a file.
    #[must_use]
    pub fn rejected(&self) -> watch::Receiver<Option<String>> {
        self.rejected.clone()
    }

    /// Policy in force under an id.
    ///
    /// # Errors
    ///
    /// [`Error::PolicyNotFound`].
    pub fn get(&self, id: &PolicyId) -> Result<Arc<Compiled>, Error> {
        let policy = self.load().get(id.as_str()).cloned();
        policy.ok_or_else(|| Error::PolicyNotFound { id: id.to_string() })
    }

    /// Plan of a tenant, and its origin. An empty plan of the API means none, whatever the file says.
    #[must_use]
    pub fn plan(&self, tenant: &str) -> Option<(String, Origin)> {
        self.load().plan(tenant).map(|(plan, origin)| (plan.to_owned(), origin))
    }

    /// Audits of all tenants.
    #[must_use]
    pub fn audit(&self) -> &AuditStore {
        &self.audit
    }
}
