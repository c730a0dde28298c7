//! The policies in force: the operator's, from a file, and those that were made through the API, from the store.
//!
//! Each instance holds all of them in memory, as a [`Catalog`], and keeps them current by itself: a change is in force
//! here when the call that made it returns, and everywhere else within a second. What can't be read or is not valid never
//! takes anything out of force.
//!
//! One of the API hides one of the file that has its id, and so it is with tenants' plans.

mod changes;
mod refresh;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::domain::{Catalog, CatalogError, Origin};
use crate::peers::policy_file::{self, Contents, Refused};
pub use crate::store::audit::{Action, AuditEntry};
pub use crate::store::policies::etag;
use crate::store::{AuditStore, PolicyStore};
pub use keyplane_audit::Cause;
use refresh::Current;

/// The policies. Clones share them; dropping the last one ends the following of file and store.
#[derive(Clone)]
pub struct Policies {
    current: Arc<Current>,
    audit: AuditStore,
    refused: watch::Receiver<Option<String>>,
    _tasks: Arc<JoinSet<()>>,
}

/// Where the policies come from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's file, see [`Contents`]; none: only the API's.
    pub file: Option<PathBuf>,
    /// How long audits are kept.
    pub audit_age: Duration,
}

/// Policies file that keeps the service from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file can't be used.
    #[error(transparent)]
    File(#[from] Refused),
    /// Its policies can't be used together.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

// === impl Policies ===

impl Policies {
    /// Reads the file, and begins to follow it and the store. The policies of the file are in force when it returns, those
    /// of the store once it is [`ready`](Policies::ready); that is not waited for.
    ///
    /// # Errors
    ///
    /// A file that can't be used.
    pub async fn start(store: PolicyStore, audit: AuditStore, file: Option<PathBuf>) -> Result<Policies, StartError> {
        let (watch, contents) = match file {
            Some(path) => {
                let (watch, contents) = policy_file::Watch::start(path).await?;
                (Some(watch), contents)
            }
            None => (None, Contents::default()),
        };
        let refused = watch.as_ref().map_or_else(|| watch::Sender::new(None).subscribe(), policy_file::Watch::refused);
        let current = Arc::new(Current::new(store, contents).await?);
        let mut tasks = JoinSet::new();
        let followed = current.clone();
        tasks.spawn(async move { followed.follow_store().await });
        if let Some(watch) = watch {
            let followed = current.clone();
            tasks.spawn(async move { followed.follow_file(watch).await });
        }
        Ok(Policies { current, audit, refused, _tasks: Arc::new(tasks) })
    }

    /// The policies in force.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.current.catalog.load_full()
    }

    /// The same, for a moment: a little faster than [`Policies::catalog`]. Not to be held over an await.
    #[must_use]
    pub fn load(&self) -> arc_swap::Guard<Arc<Catalog>> {
        self.current.catalog.load()
    }

    /// Whether the stored policies are known: true once they were read for the first time, and from then on.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.current.ready.subscribe()
    }

    /// The catalog's version, which grows with each change that is in force.
    #[must_use]
    pub fn on_change(&self) -> watch::Receiver<u64> {
        self.current.changes.subscribe()
    }

    /// Why the file was refused when it last changed; none while it is in force, or if there is none.
    #[must_use]
    pub fn refused(&self) -> watch::Receiver<Option<String>> {
        self.refused.clone()
    }

    /// Which plan a tenant is on, and where that comes from. An empty plan of the API: on none, whatever the file says.
    #[must_use]
    pub fn plan(&self, tenant: &str) -> Option<(String, Origin)> {
        self.load().plan(tenant).map(|(plan, origin)| (plan.to_owned(), origin))
    }

    /// What was done for tenants.
    #[must_use]
    pub fn audit(&self) -> &AuditStore {
        &self.audit
    }
}

// === impl Settings ===

impl Default for Settings {
    /// No file; audits of 90 days.
    fn default() -> Settings {
        Settings { file: None, audit_age: Duration::from_hours(90 * 24) }
    }
}
