//! How old the knowledge in memory is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// No head was ever heard of.
const NEVER: u64 = 0;

/// For each partition the moment of which memory knows everything that was acknowledged before it.
///
/// A reader takes a [`Reading`] **before** it looks something up, and asks for the age afterwards, just before it answers:
/// the moments that it loaded are then older than what it saw, and a process that was paused in between finds out.
pub(super) struct Moments {
    base: Instant,
    /// Nanoseconds since `base`.
    at: Box<[AtomicU64]>,
    /// A bit for each partition whose memory may lack what was acknowledged.
    doubted: AtomicU64,
    /// A bit for each partition of which the store may lack what was acknowledged.
    distrusted: AtomicU64,
}

/// The oldest moment of all partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading(u64);

// === impl Moments ===

impl Moments {
    /// For up to 64 partitions.
    pub(super) fn new(partitions: u32) -> Moments {
        let at = (0..partitions).map(|_| AtomicU64::new(NEVER)).collect();
        Moments { base: Instant::now(), at, doubted: AtomicU64::new(0), distrusted: AtomicU64::new(0) }
    }

    /// Memory of `partition` now holds everything that was acknowledged before `moment`. Only the partition's own task
    /// calls it, after it has applied.
    pub(super) fn set(&self, partition: u32, moment: Instant) {
        let nanos = self.nanos(moment);
        if let Some(at) = self.at.get(partition as usize) {
            at.fetch_max(nanos, Ordering::Release);
        }
    }

    /// Memory of `partition` may lack something, whatever its moment says; so may the store if `distrust`.
    pub(super) fn doubt(&self, partition: u32, distrust: bool) {
        if distrust {
            self.distrusted.fetch_or(bit(partition), Ordering::SeqCst);
        }
        self.doubted.fetch_or(bit(partition), Ordering::SeqCst);
    }

    /// Neither of `partition` is doubted any more.
    pub(super) fn believe(&self, partition: u32) {
        self.doubted.fetch_and(!bit(partition), Ordering::SeqCst);
        self.distrusted.fetch_and(!bit(partition), Ordering::SeqCst);
    }

    /// Whether `partition` is doubted.
    pub(super) fn doubts(&self, partition: u32) -> bool {
        self.doubted.load(Ordering::SeqCst) & bit(partition) != 0
    }

    /// Whether the store may lack what was acknowledged.
    pub(super) fn distrusts_store(&self) -> bool {
        self.distrusted.load(Ordering::SeqCst) != 0
    }

    /// To be taken before looking anything up.
    pub(super) fn read(&self) -> Reading {
        Reading(self.at.iter().map(|at| at.load(Ordering::Acquire)).min().unwrap_or(NEVER))
    }

    /// How old knowledge is now that was looked up after `reading`; `None` if it can't be said, for it never was whole or
    /// is in doubt.
    pub(super) fn age(&self, reading: Reading) -> Option<Duration> {
        let age = self.age_of_whole(reading);
        // Looked at last: what was looked up before a doubt began was whole.
        if self.doubted.load(Ordering::SeqCst) == 0 { age } else { None }
    }

    /// The same without regard to doubts, for those who take what was known last.
    pub(super) fn age_of_whole(&self, reading: Reading) -> Option<Duration> {
        age(reading, self.nanos(Instant::now()))
    }

    /// How long this has been counting.
    pub(super) fn running(&self) -> Duration {
        self.base.elapsed()
    }

    /// Nanoseconds since the base, and one: 0 is [`NEVER`]. Enough for 584 years.
    fn nanos(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.base).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1)
    }
}

fn bit(partition: u32) -> u64 {
    1u64.checked_shl(partition).unwrap_or(0)
}

fn age(Reading(at): Reading, now: u64) -> Option<Duration> {
    (at != NEVER).then(|| Duration::from_nanos(now.saturating_sub(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_that_of_the_oldest_partition() {
        let moments = Moments::new(2);
        let begin = moments.base;
        moments.set(0, begin + Duration::from_secs(9));
        assert_eq!(moments.read(), Reading(NEVER), "a partition that was never heard of has no age");
        assert_eq!(moments.age(moments.read()), None);
        moments.set(1, begin + Duration::from_secs(5));
        assert_eq!(age(moments.read(), 6_000_000_001), Some(Duration::from_secs(1)));
        assert_eq!(age(moments.read(), 1), Some(Duration::ZERO), "a clock that lags gives no huge age");
    }

    #[test]
    fn a_moment_never_goes_back() {
        let moments = Moments::new(1);
        moments.set(0, moments.base + Duration::from_secs(5));
        moments.set(0, moments.base + Duration::from_secs(3));
        assert_eq!(age(moments.read(), 6_000_000_001), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_doubt_takes_the_age_away_also_from_a_reading_before_it() {
        let moments = Moments::new(64);
        for partition in 0..64 {
            moments.set(partition, Instant::now());
        }
        let reading = moments.read();
        assert!(moments.age(reading).is_some());
        moments.doubt(63, false);
        assert_eq!((moments.age(reading), moments.distrusts_store()), (None, false));
        assert!(moments.age_of_whole(reading).is_some() && moments.doubts(63) && !moments.doubts(62));
        moments.doubt(0, true);
        moments.believe(63);
        assert_eq!((moments.age(reading), moments.distrusts_store()), (None, true));
        moments.believe(0);
        assert!(moments.age(reading).is_some() && !moments.distrusts_store());
    }
}
