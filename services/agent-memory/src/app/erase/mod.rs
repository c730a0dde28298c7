//! Erasures: jobs that remove all that is known of a subject, go on after a crash, and leave a receipt.

mod job;

use std::sync::Arc;
use std::time::Duration;

use keyplane_contracts::names::TenantId;
use keyplane_server::random;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::now;
use super::subjects::Subjects;
use crate::domain::erasure::{Erasure, ErasureId, Pseudonym, Removed, Subject};
use crate::error::Error;
use crate::store::{Embeddings, Store};

/// Time after which another instance takes over a job whose instance is silent.
const LEASE: Duration = Duration::from_secs(30);
/// Interval between two looks for jobs of other instances.
const POLL: Duration = Duration::from_secs(5);
/// Jobs that are claimed at a time.
const JOBS: u32 = 4;

/// Erases subjects. Cheap to clone.
#[derive(Clone)]
pub struct Erase {
    store: Store,
    cache: Option<Embeddings>,
    subjects: Subjects,
    woken: Arc<Notify>,
    lease: Duration,
}

// === impl Erase ===

impl Erase {
    /// Erases in `store` and in the embedding cache, if there is one. [`Erase::run`] does the work.
    #[must_use]
    pub fn new(store: Store, cache: Option<Embeddings>) -> Erase {
        Erase { subjects: Subjects::new(store.clone()), store, cache, woken: Arc::default(), lease: LEASE }
    }

    /// Sets the time after which another instance takes over a job whose instance is silent; 30 s by default.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Erase {
        Erase { lease, ..self }
    }

    /// Starts an erasure, and returns at once.
    ///
    /// # Errors
    ///
    /// Error of the store. The job may run then; a repetition starts another one, which finds what is left.
    pub async fn start(&self, tenant: &TenantId, subject: Subject) -> Result<Erasure, Error> {
        let pseudonym = Pseudonym::new(tenant, &subject, random::bytes()?);
        let erasure = Erasure {
            id: ErasureId::new(random::bytes()?),
            kind: subject.kind().to_owned(),
            subject: Some(subject),
            pseudonym,
            started: now(),
            finished: None,
            removed: Removed::default(),
        };
        self.store.open_erasure(tenant, &erasure).await?;
        self.woken.notify_one();
        Ok(erasure)
    }

    /// Erasure, running or done.
    ///
    /// # Errors
    ///
    /// [`Error::ErasureNotFound`], or an error of the store.
    pub async fn get(&self, tenant: &TenantId, id: ErasureId) -> Result<Erasure, Error> {
        self.store.erasure(tenant, id).await?.ok_or(Error::ErasureNotFound { erasure: id })
    }

    /// Works on jobs of this instance and on those that others left, for ever. May be dropped at any point: a job goes on with the
    /// next claim.
    pub async fn run(self) {
        loop {
            match self.store.claim_erasures(JOBS, self.lease).await {
                Ok(jobs) if !jobs.is_empty() => {
                    for (tenant, id) in jobs {
                        self.work(&tenant, id).await;
                    }
                    continue;
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "erasures cannot be claimed"),
            }
            // Woken or not: the next look follows.
            let _ = timeout(POLL.min(self.lease), self.woken.notified()).await;
        }
    }

    async fn work(&self, tenant: &TenantId, id: ErasureId) {
        match self.job(tenant, id).await {
            Ok(()) => tracing::info!(erasure = %id, "erasure done"),
            Err(error) => {
                tracing::warn!(erasure = %id, %error, "erasure interrupted; it goes on within a minute");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
