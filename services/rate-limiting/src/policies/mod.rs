//! The policies in force: the operator's, from a file, and those that were made through the API, from the store.
//!
//! Each instance holds all of them in memory, as a [`Catalog`], and keeps them current by itself: a change is in force
//! here when the call that made it returns, and everywhere else within a second. What can't be read or is not valid never
//! takes anything out of force.
//!
//! One of the API hides one of the file that has its id, and so it is with tenants' plans.

mod audit;
mod codec;
mod file;
mod patch;
mod refresh;
mod stored;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keyplane_valkey::Valkey;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::domain::{Catalog, Origin};
use refresh::Current;
use stored::Stored;

pub use audit::{Action, Audit, AuditEntry, AuditPage, AuditToken, Cause};
pub use codec::etag;
pub use file::{Contents, FileError, Refused};
pub use patch::{Limits, Patch};

/// The policies. Clones share them; dropping the last one ends the following of file and store.
#[derive(Clone)]
pub struct Policies {
    current: Arc<Current>,
    audit: Audit,
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

// === impl Policies ===

impl Policies {
    /// The most policies that are made through the API.
    pub const MOST: usize = 1_000;

    /// Reads the file, and begins to follow it and the store. The policies of the file are in force when it returns, those
    /// of the store once it is [`ready`](Policies::ready); that is not waited for.
    ///
    /// # Errors
    ///
    /// A file that can't be used, or an age of audits that keys can't have: as [`keyplane_server::Error::Service`].
    pub async fn start(valkey: Valkey, settings: Settings) -> Result<Policies, keyplane_server::Error> {
        let audit = Audit::new(valkey.clone(), settings.audit_age).map_err(service)?;
        let (watch, contents) = match settings.file {
            Some(path) => {
                let (watch, contents) = file::Watch::start(path).await.map_err(service)?;
                (Some(watch), contents)
            }
            None => (None, Contents::default()),
        };
        let refused = watch.as_ref().map_or_else(|| watch::Sender::new(None).subscribe(), file::Watch::refused);
        let current = Arc::new(Current::new(Stored::new(valkey), contents).await.map_err(service)?);
        let mut tasks = JoinSet::new();
        let followed = current.clone();
        tasks.spawn(async move { followed.follow_store().await });
        if let Some(watch) = watch {
            let followed = current.clone();
            tasks.spawn(async move { followed.follow_file(watch).await });
        }
        Ok(Policies { current, audit, refused, _tasks: Arc::new(tasks) })
    }

    /// Asks the engine for what policies need, and holds their stored layout against this program's. Nothing is read or
    /// written before that went well once.
    ///
    /// # Errors
    ///
    /// What is missing, or which layout was found.
    pub async fn check(&self) -> Result<(), keyplane_valkey::Error> {
        self.current.stored.check().await
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
    pub fn audit(&self) -> &Audit {
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

fn service(error: impl std::error::Error + Send + Sync + 'static) -> keyplane_server::Error {
    keyplane_server::Error::Service(Box::new(error))
}
