//! Shutdown of the process, as streams and connections see it.

use tokio_util::sync::CancellationToken;

/// Shutdown of the process, for streams. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drain(pub(super) CancellationToken);

// === impl Drain ===

impl Drain {
    /// Waits until the drain starts; returns at once when it has. Cancel safe.
    pub async fn started(&self) {
        self.0.cancelled().await;
    }

    /// Reports whether the drain has started.
    pub fn is_started(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Starts the drain. The kit does it; a service calls it only in tests of its own streams.
    pub fn start(&self) {
        self.0.cancel();
    }
}
