//! Revoked tokens of a replica: Bloom filters, confirmations, undone tokens.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use foldhash::quality::{FixedState, RandomState};

use crate::filter::{Bucket, Buckets, Filters, Growing};
use crate::handover::{Handover, Reader, Writer};
use crate::rules::Rules;
use crate::state::State;
use crate::target::TokenHash;
use crate::time::{Millis, Version};

/// Revoked tokens of a replica: filters, and the store's confirmations of tokens that the filters hold.
#[derive(Debug)]
pub(crate) struct Tokens {
    buckets: Buckets,
    rate: f64,
    forced: u64,
    partitions: Box<[Partition]>,
    /// Number of filters.
    count: usize,
    confirmed: Confirmed,
    /// Undone tokens: an older confirmation must not be kept, and no loss revokes them.
    undone: HashMap<TokenHash, Undone, RandomState>,
}

/// Tokens of one partition of the store.
#[derive(Debug)]
struct Partition {
    /// Random hasher that makes a value of a token's hash, so that nobody can make up a jti that is a false positive.
    seed: u64,
    hasher: FixedState,
    /// Filters by `exp`, for one probe.
    by_expiry: BTreeMap<Bucket, Held>,
    /// Filters of unknown `exp`: all are probed, so that no clock matters. Two as a rule.
    by_record: BTreeMap<Bucket, Held>,
}

/// Tokens of one bucket.
#[derive(Debug)]
pub(crate) struct Held {
    filter: Growing,
    /// Set once the store lost some of them, so that it can't tell which of the suspects are revoked.
    lost: bool,
}

#[derive(Clone, Debug)]
struct Undone {
    version: Version,
    /// Version of the last revocation of the token since; 0 if there was none.
    revoked: Version,
    expires: Millis,
}

/// Tokens that the store confirmed to be revoked, in two halves: when the young one is full, the old one is forgotten.
#[derive(Debug, Default)]
struct Confirmed {
    young: HashMap<TokenHash, Confirmation, RandomState>,
    old: HashMap<TokenHash, Confirmation, RandomState>,
}

/// Revocation that the store holds, ordered by version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Confirmation {
    version: Version,
    /// End of the revocation, which the token may outlive.
    expires: Millis,
}

// === impl Tokens ===

impl Tokens {
    pub(crate) fn new(rules: &Rules, filters: &Filters, partitions: u32) -> Self {
        Self {
            buckets: Buckets::new(rules, filters),
            rate: filters.rate(),
            forced: filters.forced(),
            partitions: (0..partitions.max(1)).map(|_| Partition::new(RandomState::default().hash_one(0))).collect(),
            count: 0,
            confirmed: Confirmed::default(),
            undone: HashMap::default(),
        }
    }

    /// Returns whether no token can be suspect.
    pub(crate) fn is_empty(&self) -> bool {
        self.forced == 0 && self.count == 0
    }

    /// Returns whether the token may be revoked.
    pub(crate) fn holds(&self, hash: TokenHash, expires: Millis) -> bool {
        let partition = &self.partitions[self.index(hash)];
        partition.value(hash) < self.forced || self.contains(hash, expires)
    }

    /// Returns whether a filter has the token, or one that looks like it.
    pub(crate) fn contains(&self, hash: TokenHash, expires: Millis) -> bool {
        let partition = &self.partitions[self.index(hash)];
        let value = partition.value(hash);
        partition.probed(self.buckets.expiry(expires)).any(|held| held.filter.contains(value))
    }

    /// Returns whether the token's revocation may be one that the store lost, and was not undone.
    pub(crate) fn may_be_lost(&self, hash: TokenHash, expires: Millis) -> bool {
        let partition = &self.partitions[self.index(hash)];
        let value = partition.value(hash);
        let undone = self.undone.get(&hash).is_some_and(Undone::holds);
        !undone && partition.probed(self.buckets.expiry(expires)).any(|held| held.lost && held.filter.contains(value))
    }

    /// Notes that the store lost revocations of a partition, any of those that are held now.
    pub(crate) fn lose(&mut self, partition: u32) {
        if let Some(partition) = self.partitions.get_mut(partition as usize) {
            partition.filters_mut().for_each(|held| held.lost = true);
        }
    }

    /// Handover of a partition to replicas that do not know what the store lost of it; `None` if it lost nothing.
    pub(crate) fn hand_over(&self, partition: u32) -> Option<Handover> {
        let own = self.partitions.get(partition as usize)?;
        let lost: Vec<_> = own.by_bucket().filter(|(_, held)| held.lost).collect();
        let until = lost.iter().map(|(bucket, _)| self.buckets.until(**bucket)).max()?;
        let mut out = Writer::new();
        out.spans(&self.buckets);
        out.number(own.seed);
        out.number(lost.len() as u64);
        for (bucket, held) in lost {
            out.bucket(*bucket);
            held.filter.write(&mut out);
        }
        for (hash, undone) in self.undone.iter().filter(|(hash, _)| self.index(**hash) == partition as usize) {
            out.bytes(hash.as_bytes());
            out.number(undone.version.0);
            out.number(undone.revoked.0);
            out.number(undone.expires.0.cast_unsigned());
        }
        Some(Handover { bytes: out.finish(), until })
    }

    /// Takes over another replica's tokens of a partition, in place of this one's. Returns the filters that were held
    /// so far, to be dropped where nobody waits; `None`, and changes nothing, if the bytes are not of a replica of the
    /// same rules and settings.
    pub(crate) fn take_over(&mut self, partition: u32, bytes: &[u8]) -> Option<Vec<Held>> {
        let mut input = Reader::new(bytes);
        input.spans(&self.buckets)?;
        let mut own = Partition::new(input.number()?);
        for _ in 0..input.number()? {
            let bucket = input.bucket()?;
            let held = Held { filter: Growing::read(&mut input)?, lost: true };
            own.filters_of(bucket).insert(bucket, held);
        }
        let mut undone = Vec::new();
        while !input.is_empty() {
            let hash = TokenHash::from(input.array()?);
            let [version, revoked] = [Version(input.number()?), Version(input.number()?)];
            undone.push((hash, Undone { version, revoked, expires: Millis(input.number()?.cast_signed()) }));
        }
        let before = std::mem::replace(self.partitions.get_mut(partition as usize)?, own);
        for (hash, undone) in undone {
            let known = self.undone.entry(hash).or_insert_with(|| undone.clone());
            if known.version < undone.version {
                *known = Undone { revoked: known.revoked.max(undone.revoked), ..undone };
            }
        }
        self.count = self.filters().count();
        Some(before.by_expiry.into_values().chain(before.by_record.into_values()).collect())
    }

    /// Returns whether the store confirmed the token's revocation, it still holds `now`, and no entry of it came since.
    pub(crate) fn is_confirmed(&self, hash: TokenHash, now: Millis) -> bool {
        self.confirmed.get(hash).is_some_and(|known| known.expires > now)
    }

    /// Applies the state of a token.
    pub(crate) fn apply(&mut self, hash: TokenHash, state: &State, version: Version, floor: Millis) -> bool {
        if self.confirmed.get(hash).is_some_and(|known| known.version < version) {
            self.confirmed.remove(hash);
        }
        if state.expires <= floor {
            return false;
        }
        if state.undone {
            return self.undo(hash, state, version);
        }
        if let Some(undone) = self.undone.get_mut(&hash) {
            undone.revoked = undone.revoked.max(version);
            undone.expires = undone.expires.max(state.expires);
        }
        let partition = &mut self.partitions[hash.partition(self.partitions.len() as u32) as usize];
        let value = partition.value(hash);
        // A check asks one filter of the first kind and two of the second, as a rule.
        let (filters, bucket, rate) = match state.token_expires {
            Some(expires) => (&mut partition.by_expiry, self.buckets.expiry(expires), self.rate / 2.0),
            None => (&mut partition.by_record, self.buckets.generation_of_record(state.expires), self.rate / 4.0),
        };
        let held = filters.entry(bucket).or_insert_with(|| {
            self.count += 1;
            Held { filter: Growing::new(rate), lost: false }
        });
        held.filter.insert(value);
        // The filter can't tell whether it held this very token before, nor its version.
        true
    }

    fn undo(&mut self, hash: TokenHash, state: &State, version: Version) -> bool {
        let known = self.undone.get(&hash);
        if known.is_some_and(|known| known.version >= version) {
            return false;
        }
        let revoked = known.map_or(Version(0), |known| known.revoked);
        self.undone.insert(hash, Undone { version, revoked, expires: state.expires });
        true
    }

    /// Remembers that the store holds `version` of the token, which is revoked until `expires`.
    pub(crate) fn confirm(&mut self, hash: TokenHash, version: Version, expires: Millis) {
        if self.undone.get(&hash).is_none_or(|undone| undone.version < version) {
            self.confirmed.insert(hash, Confirmation { version, expires });
        }
    }

    /// Forgets tokens that are no longer needed. Returns the filters, to be dropped where nobody waits.
    pub(crate) fn prune(&mut self, now: Millis) -> Vec<Held> {
        self.undone.retain(|_, undone| undone.expires > now);
        let mut dropped = Vec::new();
        let buckets = self.buckets;
        for Partition { by_expiry, by_record, .. } in &mut self.partitions {
            for filters in [by_expiry, by_record] {
                let over = |bucket: &Bucket| buckets.until(*bucket) <= now;
                while let Some(first) = filters.first_entry().filter(|first| over(first.key())) {
                    dropped.push(first.remove());
                }
            }
        }
        self.count -= dropped.len();
        dropped
    }

    /// Number of tokens that are held.
    pub(crate) fn len(&self) -> usize {
        self.filters().map(|held| held.filter.len()).sum()
    }

    /// Number of tokens that are held for a partition, and were not undone.
    pub(crate) fn revoked(&self, partition: u32) -> usize {
        let held = self.partitions.get(partition as usize).into_iter().flat_map(Partition::filters);
        let undone = self
            .undone
            .iter()
            .filter(|(hash, undone)| undone.revoked < undone.version && self.index(**hash) == partition as usize);
        held.map(|held| held.filter.len()).sum::<usize>().saturating_sub(undone.count())
    }

    /// Number of tokens in filters of which the store lost some.
    pub(crate) fn lost(&self) -> usize {
        self.filters().filter(|held| held.lost).map(|held| held.filter.len()).sum()
    }

    /// Memory of the filters, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.filters().map(|held| held.filter.bytes()).sum()
    }

    fn filters(&self) -> impl Iterator<Item = &Held> {
        self.partitions.iter().flat_map(Partition::filters)
    }

    fn index(&self, hash: TokenHash) -> usize {
        // There are 64 partitions at most.
        hash.partition(self.partitions.len() as u32) as usize
    }
}

// === impl Undone ===

impl Undone {
    /// Returns whether the token was not revoked again.
    fn holds(&self) -> bool {
        self.revoked < self.version
    }
}

// === impl Partition ===

impl Partition {
    fn new(seed: u64) -> Self {
        Self { seed, hasher: FixedState::with_seed(seed), by_expiry: BTreeMap::new(), by_record: BTreeMap::new() }
    }

    fn value(&self, hash: TokenHash) -> u64 {
        self.hasher.hash_one(u128::from_ne_bytes(*hash.as_bytes()))
    }

    /// Filters that may hold a token that expires within `bucket`.
    fn probed(&self, bucket: Bucket) -> impl Iterator<Item = &Held> {
        self.by_expiry.get(&bucket).into_iter().chain(self.by_record.values())
    }

    fn filters(&self) -> impl Iterator<Item = &Held> {
        self.by_expiry.values().chain(self.by_record.values())
    }

    fn by_bucket(&self) -> impl Iterator<Item = (&Bucket, &Held)> {
        self.by_expiry.iter().chain(&self.by_record)
    }

    /// Filters of this kind of buckets.
    fn filters_of(&mut self, bucket: Bucket) -> &mut BTreeMap<Bucket, Held> {
        match bucket {
            Bucket::Expiry(_) => &mut self.by_expiry,
            Bucket::Generation(_) => &mut self.by_record,
        }
    }

    fn filters_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.by_expiry.values_mut().chain(self.by_record.values_mut())
    }
}

// === impl Confirmed ===

impl Confirmed {
    /// Tokens of each half: some 2 MiB.
    const MOST: usize = 32_768;

    fn get(&self, hash: TokenHash) -> Option<Confirmation> {
        self.young.get(&hash).or_else(|| self.old.get(&hash)).copied()
    }

    fn insert(&mut self, hash: TokenHash, confirmation: Confirmation) {
        let last = self.get(hash).map_or(confirmation, |known| known.max(confirmation));
        if self.young.len() >= Self::MOST {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, last);
    }

    fn remove(&mut self, hash: TokenHash) {
        self.young.remove(&hash);
        self.old.remove(&hash);
    }
}

#[cfg(test)]
mod tests {
    use super::{Confirmation, Confirmed};
    use crate::{Millis, TokenHash, Version};

    #[test]
    fn confirmations_are_bounded() {
        let hash = |number: u128| TokenHash::from(number.to_be_bytes());
        let mut confirmed = Confirmed::default();
        let confirmation = Confirmation { version: Version(1), expires: Millis(1) };
        (0..200_000).for_each(|number| confirmed.insert(hash(number), confirmation));
        assert!(confirmed.young.len() + confirmed.old.len() <= 2 * Confirmed::MOST);
        assert!(
            (199_999 - 32_768..200_000).all(|number| confirmed.get(hash(number)).is_some()),
            "the last are remembered"
        );
        confirmed.remove(hash(199_999));
        assert_eq!((confirmed.get(hash(199_999)), confirmed.get(hash(0))), (None, None));
    }
}
