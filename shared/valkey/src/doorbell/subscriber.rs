//! Connection that listens for all bells of a feature, and the task that keeps a good one.

use std::sync::Arc;
use std::time::Duration;

use fred::types::Message;
use fred::types::config::Server;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::registry::Registry;
use crate::Value;
use crate::backoff::Backoff;
use crate::client::Pool;
use crate::watchdog::{HEARTBEAT, Watchdog};
use crate::wire::Wire;

/// Most messages that wait to be read; an overflow rings all bells.
const BACKLOG: usize = 1024;

/// Listens to all channels of `registry` until the pool is closed. Opens a new connection after each loss. In a cluster any
/// healthy node will do: nodes pass messages on to one another.
pub(super) async fn run(pool: Arc<Pool>, registry: Arc<Registry>) {
    let (mut backoff, mut turn) = (Backoff::new(), 0);
    while !pool.common.is_closed() {
        let born = Instant::now();
        if let Some((wire, messages)) = subscribe(&pool, &registry, turn).await {
            registry.ring_all();
            tokio::select! {
                () = ring_messages(messages, &registry) => {}
                () = watch(&pool, &wire) => {}
            }
        }
        turn += 1;
        if born.elapsed() > HEARTBEAT {
            backoff.reset();
        } else {
            backoff.wait().await;
        }
    }
}

async fn subscribe(pool: &Pool, registry: &Registry, turn: usize) -> Option<(Wire, broadcast::Receiver<Message>)> {
    let within = pool.endpoint.connection.connection_timeout;
    let wire = Wire::subscriber(&pool.endpoint, server(pool, turn), BACKLOG, within).await.ok()?;
    let messages = wire.subscribe(registry.channels()).await.ok()?;
    // The server has subscribed once it answers a later call.
    probe(&wire, pool).await?;
    Some((wire, messages))
}

fn server(pool: &Pool, turn: usize) -> Server {
    let known = pool.cluster().and_then(|cluster| cluster.any()).map(|node| node.server.clone());
    known.unwrap_or_else(|| {
        let hosts = pool.endpoint.config.server.hosts();
        hosts[turn % hosts.len()].clone()
    })
}

async fn ring_messages(mut messages: broadcast::Receiver<Message>, registry: &Registry) {
    loop {
        match messages.recv().await {
            Ok(message) => registry.ring(&message),
            Err(broadcast::error::RecvError::Lagged(_)) => registry.ring_all(),
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Watches the connection; returns when it needs a replacement, or once the pool is closed.
async fn watch(pool: &Pool, wire: &Wire) {
    let (mut watchdog, mut misses) = (Watchdog::new(), 0);
    while !pool.common.is_closed() {
        tokio::select! {
            () = wire.broken() => return tracing::debug!("lost the doorbells' connection, making another"),
            () = tokio::time::sleep(watchdog.pause(Instant::now())) => {}
        }
        match probe(wire, pool).await {
            Some(took) => {
                misses = 0;
                if watchdog.suspects(took, Instant::now()) && compare(pool, wire, &mut watchdog).await {
                    pool.common.observer.late();
                    return tracing::warn!(?took, "the doorbells' connection answers late, making another");
                }
            }
            None => {
                misses += 1;
                if misses > 1 {
                    return tracing::warn!("the doorbells' connection does not answer, making another");
                }
            }
        }
    }
}

/// Reports whether a new connection answers much sooner.
async fn compare(pool: &Pool, wire: &Wire, watchdog: &mut Watchdog) -> bool {
    let fresh = async {
        let new = Wire::connect(&pool.endpoint, server(pool, 0), pool.endpoint.connection.connection_timeout).await;
        let (new, start) = (new.ok()?, Instant::now());
        new.call("PING", Vec::new(), pool.common.command_timeout).await.ok().map(|_| start.elapsed())
    };
    let (old, fresh) = tokio::join!(probe(wire, pool), fresh);
    watchdog.decides(old, fresh, Instant::now())
}

/// Time that the server takes to answer; `None` if it does not answer in time. A plain PONG also gives `None`: the server
/// knows of no subscription.
async fn probe(wire: &Wire, pool: &Pool) -> Option<Duration> {
    let start = Instant::now();
    match wire.call("PING", Vec::new(), pool.common.command_timeout).await {
        Ok(Value::Array(_)) => Some(start.elapsed()),
        Ok(_) | Err(_) => None,
    }
}
