//! Wakes whoever waits for a change of a key.
//!
//! A script that changes a key also publishes the key's text on one of 64 channels of its feature; one connection listens
//! to all of them and wakes the listeners of exactly that key. A ring is a hint: it says that looking is worth while.
//! Rings are lost while the connection is down, so every bell rings when it is back, and a careful listener also looks
//! from time to time by itself.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use fred::bytes_utils::Str;
use fred::types::Message;
use parking_lot::Mutex;
use sha1::{Digest, Sha1};
use tokio::sync::{broadcast, watch};

use crate::wire::AbortOnDrop;
use crate::{Feature, Key, Valkey, subscriber};

/// Channels of a feature. Fixed, since publishers and listeners of different versions must agree.
const CHANNELS: u8 = 64;
/// Rings that a listener to all keys may be behind before it is told that it missed some.
const BACKLOG: usize = 4096;

/// The doorbells of one feature. Clones share one connection, which is made when the first bell is listened to and
/// closed with the last clone and bell.
#[derive(Clone)]
pub struct Doorbells {
    inner: Arc<Inner>,
}

/// A listener of one key. Dropping it ends the listening.
pub struct Bell {
    rings: watch::Receiver<()>,
    key: Str,
    channel: u8,
    inner: Arc<Inner>,
}

/// What a listener to all keys hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ring {
    /// This key was rung; its text.
    Key(Arc<str>),
    /// The connection was made again: any key may have been rung meanwhile.
    All,
}

struct Inner {
    registry: Arc<Registry>,
    valkey: Valkey,
    connection: OnceLock<AbortOnDrop<()>>,
}

/// Who listens to which key; one lock for each channel.
pub(crate) struct Registry {
    prefix: String,
    keys: [Mutex<HashMap<Str, watch::Sender<()>>>; CHANNELS as usize],
    all: broadcast::Sender<Ring>,
}

// === impl Doorbells ===

impl Doorbells {
    pub(crate) fn new(valkey: Valkey, feature: Feature) -> Doorbells {
        let registry = Arc::new(Registry {
            prefix: format!("{}:{}:bell:", valkey.app(), feature.name()),
            keys: std::array::from_fn(|_| Mutex::new(HashMap::new())),
            all: broadcast::Sender::new(BACKLOG),
        });
        Doorbells { inner: Arc::new(Inner { registry, valkey, connection: OnceLock::new() }) }
    }

    /// The channel for `key`, to pass to the script that changes it: `redis.call('PUBLISH', ARGV[n], KEYS[1])`.
    pub fn channel(&self, key: &Key) -> String {
        self.inner.registry.channel(channel_of(key.as_str()))
    }

    /// Listens to `key`. The bell rings once when the connection is first made, so what happened before is not missed.
    ///
    /// Costs no connection and no task of its own; tens of thousands are fine. Needs a tokio runtime.
    pub fn listen(&self, key: &Key) -> Bell {
        self.inner.connection.get_or_init(|| self.inner.connect());
        let channel = channel_of(key.as_str());
        let rings = self.inner.registry.add(channel, key.text());
        Bell { rings, key: key.text().clone(), channel, inner: self.inner.clone() }
    }

    /// Listens to all keys of the feature, whoever listens to them besides. A listener that lags finds so
    /// (`RecvError::Lagged`), and must take any key for rung. Needs a tokio runtime.
    pub fn listen_to_all(&self) -> broadcast::Receiver<Ring> {
        let rings = self.inner.registry.all.subscribe();
        self.inner.connection.get_or_init(|| self.inner.connect());
        rings
    }

    /// Listeners there are now.
    pub fn listeners(&self) -> usize {
        self.inner
            .registry
            .keys
            .iter()
            .map(|keys| keys.lock().values().map(watch::Sender::receiver_count).sum::<usize>())
            .sum()
    }
}

// === impl Bell ===

impl Bell {
    /// Waits until the key was rung since the last return, or the connection was made again.
    ///
    /// Several rings in between count as one. Cancel safe: a ring that comes while nobody waits is kept.
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

// === impl Registry ===

impl Registry {
    /// All channels of the feature.
    pub(crate) fn channels(&self) -> Vec<String> {
        (0..CHANNELS).map(|number| self.channel(number)).collect()
    }

    fn channel(&self, number: u8) -> String {
        format!("{}{number:02}", self.prefix)
    }

    fn add(&self, channel: u8, key: &Str) -> watch::Receiver<()> {
        let mut keys = self.keys[usize::from(channel)].lock();
        match keys.get(key) {
            Some(sender) => sender.subscribe(),
            None => keys.entry(key.clone()).or_insert_with(|| watch::Sender::new(())).subscribe(),
        }
    }

    fn remove(&self, channel: u8, key: &Str) {
        let mut keys = self.keys[usize::from(channel)].lock();
        // The bell that is being dropped still counts.
        if keys.get(key).is_some_and(|sender| sender.receiver_count() <= 1) {
            keys.remove(key);
        }
    }

    pub(crate) fn ring(&self, message: &Message) {
        let Some(number) = message.channel.strip_prefix(self.prefix.as_str()) else { return };
        let Some(keys) = number.parse::<usize>().ok().and_then(|number| self.keys.get(number)) else { return };
        let Some(key) = key_text(&message.value) else { return };
        if let Some(sender) = keys.lock().get(&key) {
            sender.send_replace(());
        }
        if self.all.receiver_count() > 0 {
            // That the last one has just left is no error.
            let _ = self.all.send(Ring::Key(Arc::from(&*key)));
        }
    }

    /// After rings may have been lost.
    pub(crate) fn ring_all(&self) {
        let _ = self.all.send(Ring::All);
        for keys in &self.keys {
            for sender in keys.lock().values() {
                sender.send_replace(());
            }
        }
    }
}

fn channel_of(key: &str) -> u8 {
    Sha1::digest(key.as_bytes())[0] % CHANNELS
}

fn key_text(value: &fred::types::Value) -> Option<Str> {
    value.as_bytes().and_then(|bytes| Str::from_inner(Bytes::copy_from_slice(bytes)).ok())
}
