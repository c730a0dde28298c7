//! Registry of listeners, and the channels that ring them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use fred::bytes_utils::Str;
use fred::types::Message;
use parking_lot::Mutex;
use sha1::{Digest, Sha1};
use tokio::sync::{broadcast, watch};

use crate::{App, Feature};

/// Channels of a feature. Fixed, since publishers and listeners of different versions must agree.
const CHANNELS: u8 = 64;
/// Rings that a listener to all keys may lag behind before it loses some.
const BACKLOG: usize = 4096;

/// Ring heard by a listener to all keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ring {
    /// Text of the key that was rung.
    Key(Arc<str>),
    /// The connection was restored: any key may have been rung meanwhile.
    All,
}

/// Listeners of each key; one lock for each channel.
pub(super) struct Registry {
    /// Name of each channel without its number.
    prefix: String,
    keys: [Mutex<HashMap<Str, watch::Sender<()>>>; CHANNELS as usize],
    all: broadcast::Sender<Ring>,
}

// === impl Registry ===

impl Registry {
    pub(super) fn new(app: &App, feature: Feature) -> Registry {
        Registry {
            prefix: format!("{app}:{}:bell:", feature.name()),
            keys: std::array::from_fn(|_| Mutex::new(HashMap::new())),
            all: broadcast::Sender::new(BACKLOG),
        }
    }

    /// All channels of the feature.
    pub(super) fn channels(&self) -> Vec<String> {
        (0..CHANNELS).map(|number| self.channel(number)).collect()
    }

    pub(super) fn channel(&self, number: u8) -> String {
        format!("{}{number:02}", self.prefix)
    }

    pub(super) fn add(&self, channel: u8, key: &Str) -> watch::Receiver<()> {
        let mut keys = self.keys[usize::from(channel)].lock();
        match keys.get(key) {
            Some(sender) => sender.subscribe(),
            None => keys.entry(key.clone()).or_insert_with(|| watch::Sender::new(())).subscribe(),
        }
    }

    pub(super) fn add_to_all(&self) -> broadcast::Receiver<Ring> {
        self.all.subscribe()
    }

    pub(super) fn remove(&self, channel: u8, key: &Str) {
        let mut keys = self.keys[usize::from(channel)].lock();
        // The dropped bell still counts.
        if keys.get(key).is_some_and(|sender| sender.receiver_count() <= 1) {
            keys.remove(key);
        }
    }

    pub(super) fn ring(&self, message: &Message) {
        let Some(number) = message.channel.strip_prefix(self.prefix.as_str()) else { return };
        let Some(keys) = number.parse::<usize>().ok().and_then(|number| self.keys.get(number)) else { return };
        let Some(key) = key_text(&message.value) else { return };
        if let Some(sender) = keys.lock().get(&key) {
            sender.send_replace(());
        }
        if self.all.receiver_count() > 0 {
            // The last listener may have left meanwhile.
            let _ = self.all.send(Ring::Key(Arc::from(&*key)));
        }
    }

    /// Rings every bell, after rings may have been lost.
    pub(super) fn ring_all(&self) {
        let _ = self.all.send(Ring::All);
        for keys in &self.keys {
            for sender in keys.lock().values() {
                sender.send_replace(());
            }
        }
    }

    #[cfg(test)]
    pub(super) fn listeners(&self) -> usize {
        let count = |keys: &Mutex<HashMap<Str, watch::Sender<()>>>| -> usize {
            keys.lock().values().map(watch::Sender::receiver_count).sum()
        };
        self.keys.iter().map(count).sum()
    }
}

pub(super) fn channel_of(key: &str) -> u8 {
    Sha1::digest(key.as_bytes())[0] % CHANNELS
}

fn key_text(value: &fred::types::Value) -> Option<Str> {
    value.as_bytes().and_then(|bytes| Str::from_inner(Bytes::copy_from_slice(bytes)).ok())
}
