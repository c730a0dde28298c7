//! Bloom filters of revoked tokens, in buckets by the time at which the tokens expire.
//!
//! A token that is presented states its expiry, so a check probes one bucket, and a bucket is dropped as a whole once
//! all its tokens have expired. A token whose revoker did not know the expiry goes to the generation in which it was
//! revoked, which every check probes for as long as a token may live.

use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use fastbloom::BloomFilter;

use crate::handover::{Reader, Writer};
use crate::rules::Rules;
use crate::time::{Millis, whole};

/// Shape of the filters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filters {
    /// Share of checks of good tokens that are false positives: over 0, up to 0.5.
    ///
    /// From 0.1 on it is meant for tests, and forced: this share of checks is positive, however little the filter
    /// holds.
    pub false_positives: f64,
    /// Span of the tokens' `exp` in a bucket; at least a millisecond.
    pub bucket: Duration,
}

/// Bucket of tokens. Its text names the filter in the store: `e` or `a`, and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Tokens that expire in this interval.
    Expiry(i64),
    /// Tokens of unknown `exp` that were revoked in this interval.
    Generation(i64),
}

/// Assignment of tokens to buckets.
#[derive(Clone, Copy, Debug)]
pub struct Buckets {
    width: i64,
    generation: i64,
    leeway: Duration,
}

/// Bloom filter that grows: a list of filters, each with more room than the one before (four times as much at first,
/// then twice). Each has a lower rate of false positives, so that the sum of all rates stays below the configured one.
#[derive(Debug)]
pub(crate) struct Growing {
    levels: Vec<BloomFilter<Unused>>,
    /// Number of values that were inserted.
    len: usize,
    /// Room that is left in the last level.
    room: usize,
    rate: f64,
}

/// Hasher of values, which are hashed before they get here.
type Unused = BuildHasherDefault<DefaultHasher>;

// === impl Filters ===

impl Filters {
    /// Rate from which on it is forced.
    const FORCED: f64 = 0.1;
    const LOWEST: f64 = 1e-12;

    /// Rate within its bounds.
    pub(crate) fn rate(&self) -> f64 {
        let rate = self.false_positives.clamp(Self::LOWEST, 0.5);
        if rate.is_nan() { Self::LOWEST } else { rate }
    }

    /// Bound below which values are forced to be positive.
    pub(crate) fn forced(&self) -> u64 {
        // 2^64: the cast saturates, and a rate is 0.5 at most.
        if self.rate() < Self::FORCED { 0 } else { (self.rate() * 18_446_744_073_709_551_616.0) as u64 }
    }
}

// === impl Bucket ===

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expiry(index) => write!(f, "e{index}"),
            Self::Generation(index) => write!(f, "a{index}"),
        }
    }
}

// === impl Buckets ===

impl Buckets {
    /// Buckets of tokens that keep `rules`.
    pub fn new(rules: &Rules, filters: &Filters) -> Self {
        let (width, generation) = (whole(filters.bucket).max(1), whole(rules.memory()).max(1));
        Self { width, generation, leeway: rules.leeway }
    }

    /// Bucket of a token that is revoked `now`, and expires at `exp`, if that is known.
    pub fn bucket_of(&self, exp: Option<Millis>, now: Millis) -> Bucket {
        match exp {
            Some(exp) => self.expiry(exp),
            None => self.generation(now),
        }
    }

    /// Buckets that may hold a token that is presented `now`, and expires at `exp`: its own first, then the generations
    /// in which it can have been revoked. Three buckets as a rule, four around the end of a generation.
    ///
    /// The writer's clock may differ by the leeway.
    pub fn probes(&self, exp: Millis, now: Millis) -> impl Iterator<Item = Bucket> + use<> {
        let first = now.minus(self.leeway).0.saturating_sub(self.generation).div_euclid(self.generation);
        let last = now.plus(self.leeway).0.div_euclid(self.generation);
        std::iter::once(self.expiry(exp)).chain((first..=last).map(Bucket::Generation))
    }

    /// Moment from which nobody needs the bucket: its last token has expired, leeway included.
    pub fn until(&self, bucket: Bucket) -> Millis {
        let end = match bucket {
            Bucket::Expiry(index) => index.saturating_add(1).saturating_mul(self.width),
            Bucket::Generation(index) => index.saturating_add(2).saturating_mul(self.generation),
        };
        Millis(end).plus(self.leeway)
    }

    /// Spans that two replicas must share for their buckets to be the same.
    pub(crate) fn spans(&self) -> [i64; 3] {
        [self.width, self.generation, whole(self.leeway)]
    }

    /// Bucket by `exp`.
    pub(crate) fn expiry(&self, exp: Millis) -> Bucket {
        Bucket::Expiry(exp.0.div_euclid(self.width))
    }

    /// Generation of a token whose record expires at `expires`: it was revoked a generation earlier.
    pub(crate) fn generation_of_record(&self, expires: Millis) -> Bucket {
        self.generation(Millis(expires.0.saturating_sub(self.generation)))
    }

    fn generation(&self, time: Millis) -> Bucket {
        Bucket::Generation(time.0.div_euclid(self.generation))
    }
}

// === impl Growing ===

impl Growing {
    /// Capacity of the first level.
    const FIRST: usize = 1024;
    /// Number of levels after the first with four times the room of the one before: small ones cost little, and each is
    /// a probe.
    const STEEP: usize = 2;
    /// Ratio of a level's rate to that of the one before. A lower value spends memory on the later levels, a higher one
    /// on the first.
    const TIGHTENING: f64 = 0.85;

    /// Filter that takes no memory yet. `rate` is the probability of a false positive, over 0 and below 1.
    pub(crate) fn new(rate: f64) -> Self {
        Self { levels: Vec::new(), len: 0, room: 0, rate }
    }

    /// Returns whether `value`, which is evenly distributed, was inserted, or looks like one that was.
    pub(crate) fn contains(&self, value: u64) -> bool {
        // The last level has most of the values.
        self.levels.iter().rev().any(|level| level.contains_hash(value))
    }

    /// Inserts `value`, which is evenly distributed. Returns `false`, and changes nothing, if it seems to be there.
    pub(crate) fn insert(&mut self, value: u64) -> bool {
        if self.contains(value) {
            return false;
        }
        if self.room == 0 {
            self.grow();
        }
        if let Some(last) = self.levels.last_mut() {
            last.insert_hash(value);
            self.room -= 1;
            self.len += 1;
        }
        true
    }

    /// Number of values that were inserted.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.levels.iter().map(|level| level.num_bits() / 8 + size_of::<BloomFilter<Unused>>()).sum()
    }

    /// Writes the filter.
    pub(crate) fn write(&self, out: &mut Writer) {
        for number in [self.rate.to_bits(), self.len as u64, self.room as u64, self.levels.len() as u64] {
            out.number(number);
        }
        for level in &self.levels {
            out.number(level.num_hashes().into());
            out.number(level.as_slice().len() as u64);
            level.as_slice().iter().for_each(|word| out.number(*word));
        }
    }

    /// Reads a filter that [`Growing::write`] wrote.
    pub(crate) fn read(input: &mut Reader<'_>) -> Option<Self> {
        let rate = Some(f64::from_bits(input.number()?)).filter(|rate| (Filters::LOWEST / 4.0..1.0).contains(rate))?;
        let [len, room] = [input.size()?, input.size()?];
        let mut filter = Self { levels: Vec::new(), len, room, rate };
        for _ in 0..input.number()? {
            let hashes = u32::try_from(input.number()?).ok().filter(|hashes| (1..=64).contains(hashes))?;
            let words = input.size()?;
            let (words, _) = input.bytes(words.checked_mul(8)?)?.as_chunks::<8>();
            let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
            if words.is_empty() {
                return None;
            }
            filter.levels.push(BloomFilter::from_vec(words).hasher(Unused::default()).hashes(hashes));
        }
        let bits: usize = filter.levels.iter().map(BloomFilter::num_bits).sum();
        (len <= bits && room <= bits).then_some(filter)
    }

    fn grow(&mut self) {
        // 2^42 values fill more memory than there is.
        let index = self.levels.len().min(30);
        self.room = Self::FIRST << (index + index.min(Self::STEEP));
        let rate = self.rate * (1.0 - Self::TIGHTENING) * Self::TIGHTENING.powi(index as i32);
        // Half as many hashes as would be best for memory, which costs a fifth more of it. Then one bit in four is set,
        // in place of one in two, and the first look mostly shows that a value is missing: good tokens count most.
        let hashes = (-rate.log2() / 2.0).round().max(1.0);
        let bits = -hashes * self.room as f64 / (1.0 - rate.powf(1.0 / hashes)).ln();
        let filter = BloomFilter::with_num_bits(bits.ceil() as usize).hasher(Unused::default());
        self.levels.push(filter.hashes(hashes as u32));
    }
}

// === impl Writer, Reader ===

impl Writer {
    pub(crate) fn bucket(&mut self, bucket: Bucket) {
        let (kind, index) = match bucket {
            Bucket::Expiry(index) => (0, index),
            Bucket::Generation(index) => (1, index),
        };
        self.bytes(&[kind]);
        self.number(index.cast_unsigned());
    }

    /// Spans that the reader must share.
    pub(crate) fn spans(&mut self, buckets: &Buckets) {
        buckets.spans().into_iter().for_each(|span| self.number(span.cast_unsigned()));
    }
}

impl Reader<'_> {
    pub(crate) fn bucket(&mut self) -> Option<Bucket> {
        let [kind] = self.array()?;
        let index = self.number()?.cast_signed();
        match kind {
            0 => Some(Bucket::Expiry(index)),
            1 => Some(Bucket::Generation(index)),
            _ => None,
        }
    }

    /// Returns whether the writer's buckets are these.
    pub(crate) fn spans(&mut self, buckets: &Buckets) -> Option<()> {
        buckets.spans().into_iter().all(|span| self.number() == Some(span.cast_unsigned())).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Buckets, Filters, Growing};
    use crate::{Millis, Rules};
    use std::time::Duration;

    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    const LEEWAY: i64 = 60_000;

    fn buckets() -> Buckets {
        let rules = Rules {
            max_lifetime: Duration::from_millis((DAY - 2 * LEEWAY) as u64),
            leeway: Duration::from_millis(LEEWAY as u64),
            issuer_skew: Duration::ZERO,
        };
        Buckets::new(&rules, &Filters { false_positives: 1e-4, bucket: Duration::from_secs(3600) })
    }

    /// Evenly distributed values, equal in each run.
    fn values(from: u64, count: u64) -> impl Iterator<Item = u64> {
        use std::hash::BuildHasher;
        (from..from + count).map(|number| foldhash::quality::FixedState::default().hash_one(number))
    }

    fn names(probes: impl Iterator<Item = Bucket>) -> Vec<String> {
        probes.map(|bucket| bucket.to_string()).collect()
    }

    #[test]
    fn a_token_belongs_to_the_bucket_of_its_exp() {
        let now = Millis(10 * DAY + HOUR);
        assert_eq!(buckets().bucket_of(Some(Millis(5 * HOUR)), now), Bucket::Expiry(5));
        assert_eq!(buckets().bucket_of(Some(Millis(5 * HOUR - 1)), now), Bucket::Expiry(4));
        assert_eq!(buckets().bucket_of(Some(Millis(-1)), now), Bucket::Expiry(-1));
        assert_eq!(buckets().bucket_of(None, now), Bucket::Generation(10));
    }

    #[test]
    fn a_check_probes_the_bucket_of_exp_and_the_generations_that_may_hold_the_token() {
        assert_eq!(names(buckets().probes(Millis(5 * HOUR), Millis(10 * DAY + HOUR))), ["e5", "a9", "a10"]);
        // Around the end of a generation the writer's clock may have been in another one.
        assert_eq!(names(buckets().probes(Millis(0), Millis(10 * DAY))), ["e0", "a8", "a9", "a10"]);
        assert_eq!(names(buckets().probes(Millis(0), Millis(11 * DAY - LEEWAY))), ["e0", "a9", "a10", "a11"]);
        assert_eq!(names(buckets().probes(Millis(0), Millis(11 * DAY - LEEWAY - 1))), ["e0", "a9", "a10"]);
    }

    #[test]
    fn a_revoked_token_is_probed_for_as_long_as_it_can_be_presented() {
        let buckets = buckets();
        for revoked in (9 * DAY..11 * DAY).step_by(17 * 60_000) {
            for later in (0..DAY).step_by(31 * 60_000) {
                let (revoked, now) = (Millis(revoked), Millis(revoked + later));
                let bucket = buckets.bucket_of(None, revoked);
                assert!(
                    buckets.probes(Millis(0), now).any(|probe| probe == bucket),
                    "{revoked} is not probed at {now}"
                );
                assert!(buckets.until(bucket) > now, "{bucket} is dropped while a token in it is good");
            }
        }
    }

    #[test]
    fn a_bucket_is_needed_until_its_last_token_has_expired() {
        assert_eq!(buckets().until(Bucket::Expiry(5)), Millis(6 * HOUR + LEEWAY));
        assert_eq!(buckets().until(Bucket::Generation(5)), Millis(7 * DAY + LEEWAY));
        assert_eq!(buckets().until(Bucket::Expiry(i64::MAX)), Millis(i64::MAX));
    }

    #[test]
    fn no_inserted_value_is_missed_and_the_rate_holds_at_each_size() {
        for rate in [1e-2, 1e-3] {
            let mut filter = Growing::new(rate);
            let mut inserted = 0;
            for size in [10, 1_000, 20_000, 100_000] {
                values(inserted, size - inserted).for_each(|value| {
                    filter.insert(value);
                });
                inserted = size;
                assert!(values(0, inserted).all(|value| filter.contains(value)), "one of {inserted} is missed");
                let probed = 400_000;
                let positive = values(1 << 40, probed).filter(|value| filter.contains(*value)).count();
                let measured = positive as f64 / probed as f64;
                assert!(measured <= 2.0 * rate, "{measured} of {inserted} are false positives; configured are {rate}");
            }
            assert!(filter.bytes() < 100_000 * 6, "{} bytes for 100,000 values", filter.bytes());
        }
    }

    #[test]
    fn a_filter_grows_with_its_values_alone() {
        let (mut one, mut other) = (Growing::new(1e-4), Growing::new(1e-4));
        assert_eq!(one.bytes(), 0);
        let inserted = values(0, 5_000).filter(|value| one.insert(*value)).count();
        assert!(inserted > 4_990, "{inserted} of 5,000 were new");
        let bytes = one.bytes();
        assert!(values(0, 5_000).all(|value| !one.insert(value)), "what is there is not inserted again");
        values(0, 5_000).for_each(|value| {
            other.insert(value);
        });
        assert_eq!((one.bytes(), other.bytes()), (bytes, bytes));
        one = Growing::new(1e-4);
        one.insert(1);
        assert!(one.bytes() < 5_000, "{} bytes for one value", one.bytes());
    }

    #[test]
    fn rates_are_bounded() {
        let rate = |false_positives| Filters { false_positives, bucket: Duration::ZERO }.rate();
        assert_eq!((rate(0.0), rate(-1.0), rate(1.0), rate(0.01)), (1e-12, 1e-12, 0.5, 0.01));
        assert!((1e-12..=0.5).contains(&rate(f64::NAN)));
        let forced = |false_positives| Filters { false_positives, bucket: Duration::ZERO }.forced();
        assert_eq!((forced(0.01), forced(0.5)), (0, 1 << 63));
    }
}
