use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use crate::filter::{Bucket, Buckets, Filters, Growing};
use crate::rules::Rules;
use crate::state::State;
use crate::target::TokenHash;
use crate::time::{Millis, Version};

/// The revoked tokens that a replica knows: filters, and what the store said of those that the filters hold.
#[derive(Debug)]
pub(crate) struct Tokens {
    buckets: Buckets,
    rate: f64,
    forced: u64,
    /// Makes a value of a hash in a way that nobody can foresee, so that nobody can make up a jti that is a false positive.
    seed: RandomState,
    /// By `exp`, for one probe.
    by_expiry: BTreeMap<Bucket, Growing>,
    /// Of unknown `exp`: all are probed, so that no clock matters. Two as a rule.
    by_record: BTreeMap<Bucket, Growing>,
    confirmed: Confirmed,
    /// Those that were undone: a confirmation that is older must not be remembered any more.
    undone: HashMap<TokenHash, Undone, RandomState>,
}

#[derive(Debug)]
struct Undone {
    version: Version,
    expires: Millis,
}

/// Tokens that the store said are revoked, in two halves: when the young one is full, the old one is forgotten.
#[derive(Debug, Default)]
struct Confirmed {
    young: HashMap<TokenHash, Version, RandomState>,
    old: HashMap<TokenHash, Version, RandomState>,
}

// === impl Tokens ===

impl Tokens {
    pub(crate) fn new(rules: &Rules, filters: &Filters) -> Self {
        Self {
            buckets: Buckets::new(rules, filters),
            rate: filters.rate(),
            forced: filters.forced(),
            seed: RandomState::default(),
            by_expiry: BTreeMap::new(),
            by_record: BTreeMap::new(),
            confirmed: Confirmed::default(),
            undone: HashMap::default(),
        }
    }

    /// Whether no token can be suspect.
    pub(crate) fn is_empty(&self) -> bool {
        self.forced == 0 && self.by_expiry.is_empty() && self.by_record.is_empty()
    }

    /// Whether the token may be revoked.
    pub(crate) fn holds(&self, hash: TokenHash, expires: Millis) -> bool {
        let value = self.value(hash);
        value < self.forced
            || self.by_expiry.get(&self.buckets.expiry(expires)).is_some_and(|filter| filter.contains(value))
            || self.by_record.values().any(|filter| filter.contains(value))
    }

    /// Whether the store said that the token is revoked, and nothing was heard of it since.
    pub(crate) fn is_confirmed(&self, hash: TokenHash) -> bool {
        self.confirmed.get(hash).is_some()
    }

    /// Takes in what is known of a token.
    pub(crate) fn apply(&mut self, hash: TokenHash, state: &State, version: Version, floor: Millis) -> bool {
        if self.confirmed.get(hash).is_some_and(|known| known < version) {
            self.confirmed.remove(hash);
        }
        if state.expires <= floor {
            return false;
        }
        if state.undone {
            let known = self.undone.get(&hash).is_none_or(|known| known.version < version);
            if known {
                self.undone.insert(hash, Undone { version, expires: state.expires });
            }
            return known;
        }
        let value = self.value(hash);
        // A check asks one filter of the first kind and two of the second, as a rule.
        let (filters, bucket, rate) = match state.token_expires {
            Some(expires) => (&mut self.by_expiry, self.buckets.expiry(expires), self.rate / 2.0),
            None => (&mut self.by_record, self.buckets.generation_of_record(state.expires), self.rate / 4.0),
        };
        filters.entry(bucket).or_insert_with(|| Growing::new(rate)).insert(value);
        // The filter can't tell whether it was this token that it held before, nor its version.
        true
    }

    /// Remembers that the store holds `version` of the token, which is revoked.
    pub(crate) fn confirm(&mut self, hash: TokenHash, version: Version) {
        if self.undone.get(&hash).is_none_or(|undone| undone.version < version) {
            self.confirmed.insert(hash, version);
        }
    }

    /// Forgets what is no longer needed. Returns the filters, to be dropped where nobody waits.
    pub(crate) fn prune(&mut self, now: Millis) -> Vec<Growing> {
        self.undone.retain(|_, undone| undone.expires > now);
        let mut dropped = Vec::new();
        let buckets = self.buckets;
        for filters in [&mut self.by_expiry, &mut self.by_record] {
            let over = |bucket: &Bucket| buckets.until(*bucket) <= now;
            while let Some(first) = filters.first_entry().filter(|first| over(first.key())) {
                dropped.push(first.remove());
            }
        }
        dropped
    }

    /// How many tokens are held.
    pub(crate) fn len(&self) -> usize {
        self.filters().map(Growing::len).sum()
    }

    /// How much memory the filters take.
    pub(crate) fn bytes(&self) -> usize {
        self.filters().map(Growing::bytes).sum()
    }

    fn filters(&self) -> impl Iterator<Item = &Growing> {
        self.by_expiry.values().chain(self.by_record.values())
    }

    fn value(&self, hash: TokenHash) -> u64 {
        self.seed.hash_one(u128::from_ne_bytes(*hash.as_bytes()))
    }
}

// === impl Confirmed ===

impl Confirmed {
    /// Of each half: some 2 MiB.
    const MOST: usize = 32_768;

    fn get(&self, hash: TokenHash) -> Option<Version> {
        self.young.get(&hash).or_else(|| self.old.get(&hash)).copied()
    }

    fn insert(&mut self, hash: TokenHash, version: Version) {
        let version = self.get(hash).map_or(version, |known| known.max(version));
        if self.young.len() >= Self::MOST {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, version);
    }

    fn remove(&mut self, hash: TokenHash) {
        self.young.remove(&hash);
        self.old.remove(&hash);
    }
}

#[cfg(test)]
mod tests {
    use super::Confirmed;
    use crate::{TokenHash, Version};

    #[test]
    fn what_was_confirmed_is_bounded() {
        let hash = |number: u128| TokenHash::from(number.to_be_bytes());
        let mut confirmed = Confirmed::default();
        (0..200_000).for_each(|number| confirmed.insert(hash(number), Version(1)));
        assert!(confirmed.young.len() + confirmed.old.len() <= 2 * Confirmed::MOST);
        assert!(
            (199_999 - 32_768..200_000).all(|number| confirmed.get(hash(number)).is_some()),
            "the last are remembered"
        );
        confirmed.remove(hash(199_999));
        assert_eq!((confirmed.get(hash(199_999)), confirmed.get(hash(0))), (None, None));
    }
}
