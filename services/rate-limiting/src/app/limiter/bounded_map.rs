//! Map of bounded size, sharded for many threads.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use crate::store::BucketKey;

type Map<V> = std::collections::HashMap<BucketKey, V, RandomState>;

/// Entries of buckets in this instance's memory.
pub(super) struct BoundedMap<V> {
    hasher: RandomState,
    shards: Vec<Shard<V>>,
    /// Most entries of a shard.
    most: usize,
}

struct Shard<V> {
    map: Mutex<Map<V>>,
    /// Count of removals.
    generation: AtomicU64,
}

const SHARDS: usize = 64;

// === impl BoundedMap ===

impl<V> BoundedMap<V> {
    /// Map of about `most` entries at most.
    pub(super) fn new(most: usize) -> BoundedMap<V> {
        let shard = || Shard { map: Mutex::new(Map::default()), generation: AtomicU64::new(0) };
        let shards = std::iter::repeat_with(shard).take(SHARDS).collect();
        BoundedMap { hasher: RandomState::default(), shards, most: most.div_ceil(SHARDS) }
    }

    /// Calls `look` with the entry of a key, under the lock of its shard; `look` must be quick.
    pub(super) fn with<T>(&self, key: &BucketKey, look: impl FnOnce(Option<&mut V>) -> T) -> T {
        look(self.shard(key.as_str()).map.lock().get_mut(key.as_str()))
    }

    /// Calls `look` with the entry of a key, made if there is none. None if the shard is full of entries that `keeps` keeps.
    pub(super) fn enter<T>(
        &self,
        key: &BucketKey,
        make: impl FnOnce() -> V,
        keeps: impl Fn(&V) -> bool,
        look: impl FnOnce(&mut V) -> T,
    ) -> Option<T> {
        let mut map = self.shard(key.as_str()).map.lock();
        if map.len() >= self.most && !map.contains_key(key.as_str()) {
            map.retain(|_, value| keeps(value));
            if map.len() >= self.most {
                return None;
            }
        }
        Some(look(map.entry(key.clone()).or_insert_with(make)))
    }

    pub(super) fn remove(&self, key: &str) {
        let shard = self.shard(key);
        shard.generation.fetch_add(1, Ordering::AcqRel);
        shard.map.lock().remove(key);
    }

    pub(super) fn clear(&self) {
        for shard in &self.shards {
            shard.generation.fetch_add(1, Ordering::AcqRel);
            shard.map.lock().clear();
        }
    }

    /// Removals so far from the shard of a key.
    pub(super) fn generation(&self, key: &BucketKey) -> u64 {
        self.shard(key.as_str()).generation.load(Ordering::Acquire)
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.map.lock().len()).sum()
    }

    fn shard(&self, key: &str) -> &Shard<V> {
        // Truncation is fine: any bits do.
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}
