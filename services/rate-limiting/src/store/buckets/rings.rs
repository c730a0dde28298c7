//! Doorbells of buckets: which ones other instances have emptied.

use std::sync::Arc;

use keyplane_valkey::Ring;
use tokio::sync::broadcast::{self, error::RecvError};

/// Rings of all buckets of the service.
#[derive(Debug)]
pub struct Rings(pub(super) broadcast::Receiver<Ring>);

/// Bucket whose level fell otherwise than by leaking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emptied {
    /// Bucket with this key.
    Bucket(Arc<str>),
    /// Unknown buckets: rings may have been lost.
    Any,
}

// === impl Rings ===

impl Rings {
    /// Waits for the next ring; none once the connection has ended for good.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Emptied> {
        match self.0.recv().await {
            Ok(Ring::Key(key)) => Some(Emptied::Bucket(key)),
            Ok(Ring::All) | Err(RecvError::Lagged(_)) => Some(Emptied::Any),
            Err(RecvError::Closed) => None,
        }
    }
}
