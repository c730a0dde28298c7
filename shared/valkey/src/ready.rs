//! Pings, and the wait for a store that answers.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::select_ok;
use tokio::time::Instant;

use crate::observe::Operation;
use crate::{Error, Valkey};

// === impl Valkey ===

impl Valkey {
    /// Waits for at most `within` until the server answers a ping, and until every node of a cluster has connections. The
    /// error is the reason of the last look.
    pub async fn wait_ready(&self, within: Duration) -> Result<(), Error> {
        let until = Instant::now() + within;
        let mut changed = self.pool.common.changed.subscribe();
        loop {
            let error = match self.ping().await {
                Ok(()) if self.reach().is_whole() => return Ok(()),
                Ok(()) => Error::not_connected("PING"),
                Err(error) => error,
            };
            // No event marks the end of a breaker's cool-down.
            let again = Instant::now() + Duration::from_millis(100);
            if again > until || self.pool.common.is_closed() {
                return Err(error);
            }
            // The sender lives in the pool, so the only error is the timeout.
            let _ = tokio::time::timeout_at(again, changed.changed()).await;
        }
    }

    /// Pings the server under the rules of any call. In a cluster it pings all nodes, and one of them has to answer.
    pub async fn ping(&self) -> Result<(), Error> {
        let ping = |node| self.ask_node(Operation::read("PING", "none"), node).boxed();
        let nodes = self.pool.nodes();
        if nodes.is_empty() {
            return Err(self.pool.no_node(None, "PING"));
        }
        select_ok(nodes.into_iter().map(ping)).await.map(drop)
    }
}
