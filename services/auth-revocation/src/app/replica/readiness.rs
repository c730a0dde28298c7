//! Readiness: memory catches up first, then the other instances know of this one.

use tokio::sync::watch;

/// Progress of the start.
pub(super) struct Readiness {
    /// True once memory has caught up with the feed.
    caught_up: watch::Sender<bool>,
    /// True once the other instances know of this one, too.
    ready: watch::Sender<bool>,
}

// === impl Readiness ===

impl Readiness {
    pub(super) fn new() -> Readiness {
        Readiness { caught_up: watch::Sender::new(false), ready: watch::Sender::new(false) }
    }

    pub(super) fn set_caught_up(&self) {
        if !*self.caught_up.borrow() {
            self.caught_up.send_replace(true);
        }
    }

    /// Waits until memory has caught up for the first time.
    pub(super) async fn caught_up(&self) {
        // The sender lives in `self`.
        let _ = self.caught_up.subscribe().wait_for(|caught_up| *caught_up).await;
    }

    pub(super) fn set_ready(&self) {
        if !self.ready.send_replace(true) {
            tracing::info!("the replica has caught up with the feed");
        }
    }

    pub(super) fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }
}
