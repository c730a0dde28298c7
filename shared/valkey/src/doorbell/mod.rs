//! Doorbells wake the tasks that wait for a change of a key.
//!
//! A script that changes a key also publishes the key's text on one of 64 channels of its feature. One connection listens
//! to all channels and wakes the listeners of exactly that key. A ring is a hint: look at the key. Rings are lost while
//! the connection is down, so every bell rings once it is restored, and a careful listener also looks from time to time.

mod registry;
mod subscriber;

use std::sync::{Arc, OnceLock};

use fred::bytes_utils::Str;
use tokio::sync::{broadcast, watch};

use crate::wire::AbortOnDrop;
use crate::{Feature, Key, Valkey};
use registry::{Registry, channel_of};

pub use registry::Ring;

/// Doorbells of one feature. Clones share one connection, which the first listener opens and the last clone or bell closes.
#[derive(Clone)]
pub struct Doorbells {
    inner: Arc<Inner>,
}

/// Listener of one key. Dropping it ends the listening.
pub struct Bell {
    rings: watch::Receiver<()>,
    key: Str,
    channel: u8,
    inner: Arc<Inner>,
}

struct Inner {
    registry: Arc<Registry>,
    valkey: Valkey,
    connection: OnceLock<AbortOnDrop<()>>,
}

// === impl Valkey ===

impl Valkey {
    /// Doorbells of a feature. Each call makes a set with a connection of its own: make one set and clone it.
    pub fn doorbells(&self, feature: Feature) -> Doorbells {
        let registry = Arc::new(Registry::new(self.app(), feature));
        Doorbells { inner: Arc::new(Inner { registry, valkey: self.clone(), connection: OnceLock::new() }) }
    }
}

// === impl Doorbells ===

impl Doorbells {
    /// Channel for `key`, an argument of the script that changes it: `redis.call('PUBLISH', ARGV[n], KEYS[1])`.
    pub fn channel(&self, key: &Key) -> String {
        self.inner.registry.channel(channel_of(key.as_str()))
    }

    /// Listens to `key`. The bell rings once when the connection is first made, so no earlier change is missed.
    ///
    /// Needs no connection and no task of its own, so tens of thousands are fine. Needs a tokio runtime.
    pub fn listen(&self, key: &Key) -> Bell {
        self.inner.connection.get_or_init(|| self.inner.connect());
        let channel = channel_of(key.as_str());
        let rings = self.inner.registry.add(channel, key.text());
        Bell { rings, key: key.text().clone(), channel, inner: self.inner.clone() }
    }

    /// Listens to all keys of the feature. A listener that lags gets `RecvError::Lagged`: any key may have been rung. Needs
    /// a tokio runtime.
    pub fn listen_to_all(&self) -> broadcast::Receiver<Ring> {
        let rings = self.inner.registry.add_to_all();
        self.inner.connection.get_or_init(|| self.inner.connect());
        rings
    }
}

// === impl Bell ===

impl Bell {
    /// Waits until the key was rung since the last return, or until the connection was restored.
    ///
    /// Several rings in between count as one. Cancel safe: a ring without a waiter is kept.
    pub async fn rung(&mut self) {
        if self.rings.changed().await.is_err() {
            // The sender lives in the registry until its last listener, this one, is dropped.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.inner.registry.remove(self.channel, &self.key);
    }
}

// === impl Inner ===

impl Inner {
    fn connect(&self) -> AbortOnDrop<()> {
        AbortOnDrop(tokio::spawn(subscriber::run(self.valkey.pool.clone(), self.registry.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{App, Settings};

    #[tokio::test]
    async fn dropped_bells_leave_no_listener() {
        let app = App::new("portal").expect("a valid name");
        let valkey = Valkey::connect(&Settings::new("valkey://127.0.0.1:1"), app).expect("good settings");
        let bells = valkey.doorbells(Feature::SESSION);
        let key = |subject| Key::tagged(valkey.app(), Feature::SESSION, "acme", subject, &[]);
        let listening = [bells.listen(&key("a")), bells.listen(&key("a")), bells.listen(&key("b"))];
        assert_eq!(bells.inner.registry.listeners(), 3);
        drop(listening);
        assert_eq!(bells.inner.registry.listeners(), 0);
    }
}
