//! Keeps the catalog current with the file and the store.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

use crate::domain::{Catalog, CatalogError};
use crate::error::Error;
use crate::peers::policy_file::{Contents, Watch};
use crate::store::PolicyStore;
use crate::store::policies::Rows;

/// Interval between reads of the stored revision: every instance applies a change within a second, even if its ring is lost.
const POLL: Duration = Duration::from_millis(500);
/// Longest pause while the store is unavailable. The doorbell rings when it is back.
const PAUSE: Duration = Duration::from_secs(2);

/// Catalog, and the layers that it is made of.
pub(super) struct Current {
    pub(super) store: PolicyStore,
    pub(super) catalog: ArcSwap<Catalog>,
    pub(super) ready: watch::Sender<bool>,
    /// Locked from the read of the store until its answer is in force, so that no answer overtakes a later one.
    layers: Mutex<Arc<Layers>>,
}

/// Layers of a catalog.
#[derive(Clone, Default)]
pub(super) struct Layers {
    pub(super) file: Contents,
    /// Count of changes of the file.
    file_changes: u64,
    stored: Rows,
    /// True if the store was read at least once.
    loaded: bool,
}

// === impl Current ===

impl Current {
    /// Catalog of the file alone, until the stored policies are known.
    pub(super) async fn new(store: PolicyStore, file: Contents) -> Result<Current, CatalogError> {
        let layers = Arc::new(Layers { file, ..Layers::default() });
        let catalog = layers.clone().catalog(None).await?;
        let catalog = ArcSwap::from_pointee(catalog);
        Ok(Current { store, catalog, ready: watch::Sender::new(false), layers: Mutex::new(layers) })
    }

    /// Layers in force.
    pub(super) async fn layers(&self) -> Arc<Layers> {
        self.layers.lock().await.clone()
    }

    /// Follows the store; never returns.
    pub(super) async fn follow_store(&self) {
        let mut bell = self.store.bell();
        let (mut pause, mut last) = (POLL, String::new());
        loop {
            pause = match self.refresh().await {
                Ok(()) => POLL,
                Err(error) => {
                    log_failure(&error, &mut last);
                    (pause * 2).min(PAUSE)
                }
            };
            tokio::select! {
                () = bell.rung() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Follows the file; never returns.
    pub(super) async fn follow_file(&self, mut watch: Watch) {
        loop {
            let file = watch.changed().await;
            let mut layers = self.layers.lock().await;
            let file_changes = layers.file_changes + 1;
            self.install(&mut layers, |layers| Layers { file, file_changes, ..layers }).await;
        }
    }

    /// Reads the store if its revision has changed.
    pub(super) async fn refresh(&self) -> Result<(), Error> {
        let mut layers = self.layers.lock().await;
        if layers.loaded && layers.stored.revision == self.store.revision().await? {
            return Ok(());
        }
        self.load(&mut layers).await
    }

    /// Reads the store unless revision `number` or a later one is in force.
    pub(super) async fn refresh_to(&self, number: u64) -> Result<(), Error> {
        let mut layers = self.layers.lock().await;
        if layers.loaded && layers.stored.revision.number >= number {
            return Ok(());
        }
        self.load(&mut layers).await
    }

    async fn load(&self, layers: &mut Arc<Layers>) -> Result<(), Error> {
        let fields = self.store.all().await?;
        let rows = decode(fields).await?;
        let (before, now) = (layers.stored.revision, rows.revision);
        if layers.loaded && now.number <= before.number && now != before {
            let (before, now) = (before.number, now.number);
            tracing::warn!(before, now, "the store has lost changes of policies; its present contents are in force");
        }
        self.install(layers, |layers| layers.with(rows)).await;
        self.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
        Ok(())
    }

    /// Puts changed layers in force.
    async fn install(&self, layers: &mut Arc<Layers>, change: impl FnOnce(Layers) -> Layers) {
        let next = Arc::new(change(Layers::clone(layers)));
        match next.clone().catalog(Some(self.catalog.load_full())).await {
            Ok(catalog) => self.catalog.store(Arc::new(catalog)),
            Err(error) => tracing::error!(%error, "policies rejected; the previous ones stay in force"),
        }
        *layers = next;
    }
}

// === impl Layers ===

impl Layers {
    /// Replaces the stored rows. A damaged policy stays as it was.
    fn with(mut self, mut rows: Rows) -> Layers {
        for id in &rows.damaged {
            let before = self.stored.policies.get_key_value(id.as_str());
            rows.policies.extend(before.map(|(id, policy)| (id.clone(), policy.clone())));
        }
        self.stored = rows;
        self.loaded = true;
        self
    }

    /// Builds the catalog, on a blocking thread: many policies take some milliseconds.
    async fn catalog(self: Arc<Layers>, before: Option<Arc<Catalog>>) -> Result<Catalog, CatalogError> {
        let make = move || {
            let policies = [self.file.policies.clone(), self.stored.policies.values().cloned().collect()];
            let plans = [self.file.plans.clone(), self.stored.plans.clone()];
            let known = before.as_ref().map_or(0, |before| before.version() + 1);
            let version = known.max(self.stored.revision.number + self.file_changes);
            Catalog::new(policies, plans, version, before.as_deref())
        };
        match tokio::task::spawn_blocking(make).await {
            Ok(made) => made,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

async fn decode(fields: Vec<(Bytes, Bytes)>) -> Result<Rows, Error> {
    let decoded = tokio::task::spawn_blocking(move || Rows::decode(&fields)).await;
    decoded.unwrap_or(Err(Error::Corrupt("the policies can't be read")))
}

/// Logs a failed read, each reason once; the connection logs that the store is unavailable.
fn log_failure(error: &Error, last: &mut String) {
    let reason = error.to_string();
    if error.is_outage() {
        tracing::debug!(reason, "stored policies not read");
    } else if *last != reason {
        tracing::error!(reason, "stored policies not read; the previous ones stay in force");
        *last = reason;
    }
}
