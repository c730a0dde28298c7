//! End of maintenance before its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;
use crate::store::definitions::Lease;

/// Reason that maintenance ended before its time. Another instance, or a later turn, resumes it.
#[derive(Debug, thiserror::Error)]
pub enum Interrupt {
    /// Lease that another instance has taken.
    #[error("another instance maintains the collection")]
    Lost,
    /// Shutdown of this instance.
    #[error("the service is shutting down")]
    Stopped,
    /// Error of a call.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Right to go on: the lease of a collection, and the shutdown's flag.
pub struct Turn {
    lease: Lease,
    stop: Stop,
}

/// Flag of the shutdown. Clones share it.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

// === impl Stop ===

impl Stop {
    /// Raises the flag.
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Reports whether the flag is raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Turn ===

impl Turn {
    /// Turn under `lease`.
    #[must_use]
    pub fn new(lease: Lease, stop: Stop) -> Turn {
        Turn { lease, stop }
    }

    /// Renews the lease in time.
    ///
    /// # Errors
    ///
    /// End of the turn.
    pub async fn check(&mut self) -> Result<(), Interrupt> {
        let held = self.lease.keep().await;
        self.judge(held)
    }

    /// Stores fields of the checkpoint of `generation`, and renews the lease.
    ///
    /// # Errors
    ///
    /// End of the turn.
    pub async fn save(&mut self, generation: u32, fields: &[(&str, u64)]) -> Result<(), Interrupt> {
        let held = self.lease.save(generation, fields).await;
        self.judge(held)
    }

    /// Ends the lease, so that another instance need not wait for it; the checkpoint too if the collection is `gone`.
    pub async fn end(self, gone: bool) {
        if let Err(error) = self.lease.release(gone).await {
            tracing::debug!(%error, "a lease of maintenance was left to expire");
        }
    }

    fn judge(&self, held: Result<bool, Error>) -> Result<(), Interrupt> {
        match held? {
            false => Err(Interrupt::Lost),
            true if self.stop.is_raised() => Err(Interrupt::Stopped),
            true => Ok(()),
        }
    }
}
