//! Freshness of memory: the age of what it knows, and doubts about it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Moment of a partition whose head was never read.
const NEVER: u64 = 0;

/// Moments, one a partition: memory knows everything that was acknowledged before it.
///
/// A reader takes a [`Reading`] **before** it looks something up, and asks for the age afterwards, just before it
/// answers. The moments that it loaded are then older than what it saw, and a pause of the process in between shows in
/// the age.
pub(in crate::app) struct Moments {
    base: Instant,
    /// Nanoseconds since `base`.
    at: Box<[AtomicU64]>,
    /// Bit for each partition whose memory may lack acknowledged revocations.
    doubted: AtomicU64,
    /// Bit for each partition of which the store may lack acknowledged revocations.
    distrusted: AtomicU64,
    /// Rings when memory is young enough to answer, for checks that wait for it.
    freshened: Notify,
}

/// Oldest moment of all partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) struct Reading(u64);

// === impl Moments ===

impl Moments {
    /// Moments of up to 64 partitions.
    pub(super) fn new(partitions: u32) -> Moments {
        let at = (0..partitions).map(|_| AtomicU64::new(NEVER)).collect();
        Moments {
            base: Instant::now(),
            at,
            doubted: AtomicU64::new(0),
            distrusted: AtomicU64::new(0),
            freshened: Notify::new(),
        }
    }

    /// Notes that memory of `partition` now holds everything that was acknowledged before `moment`. Only the
    /// partition's own task calls it, after it has applied.
    pub(super) fn set(&self, partition: u32, moment: Instant) {
        let nanos = self.nanos(moment);
        if let Some(at) = self.at.get(partition as usize) {
            at.fetch_max(nanos, Ordering::Release);
        }
    }

    /// Doubts memory of `partition`, whatever its moment says; the store as well if `distrust`.
    pub(super) fn doubt(&self, partition: u32, distrust: bool) {
        if distrust {
            self.distrusted.fetch_or(bit(partition), Ordering::SeqCst);
        }
        self.doubted.fetch_or(bit(partition), Ordering::SeqCst);
    }

    /// Ends the doubts about `partition`.
    pub(super) fn believe(&self, partition: u32) {
        self.doubted.fetch_and(!bit(partition), Ordering::SeqCst);
        self.distrusted.fetch_and(!bit(partition), Ordering::SeqCst);
    }

    /// Returns whether `partition` is doubted.
    pub(super) fn doubts(&self, partition: u32) -> bool {
        self.doubted.load(Ordering::SeqCst) & bit(partition) != 0
    }

    /// Returns whether the store may lack acknowledged revocations.
    pub(in crate::app) fn distrusts_store(&self) -> bool {
        self.distrusted.load(Ordering::SeqCst) != 0
    }

    /// Reading to take before a look-up.
    pub(in crate::app) fn read(&self) -> Reading {
        Reading(self.at.iter().map(|at| at.load(Ordering::Acquire)).min().unwrap_or(NEVER))
    }

    /// Age, by now, of knowledge that was looked up after `reading`; `None` while memory never caught up, or is in
    /// doubt.
    pub(in crate::app) fn age(&self, reading: Reading) -> Option<Duration> {
        let age = self.age_despite_doubts(reading);
        // Loaded last: knowledge that was looked up before a doubt began was complete.
        if self.doubted.load(Ordering::SeqCst) == 0 { age } else { None }
    }

    /// Age of [`Moments::age`] without regard to doubts, for callers that settle for the last knowledge.
    pub(in crate::app) fn age_despite_doubts(&self, reading: Reading) -> Option<Duration> {
        age(reading, self.nanos(Instant::now()))
    }

    /// Time since the start.
    pub(in crate::app) fn running(&self) -> Duration {
        self.base.elapsed()
    }

    /// Wakes checks that wait for memory to be young enough.
    pub(super) fn notify_fresh(&self) {
        self.freshened.notify_waiters();
    }

    /// Resolves when memory is young enough to answer.
    pub(in crate::app) fn freshened(&self) -> Notified<'_> {
        self.freshened.notified()
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
        assert_eq!(moments.read(), Reading(NEVER), "a partition whose head was never read has no age");
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
    fn a_doubt_voids_the_age_of_readings_before_it() {
        let moments = Moments::new(64);
        for partition in 0..64 {
            moments.set(partition, Instant::now());
        }
        let reading = moments.read();
        assert!(moments.age(reading).is_some());
        moments.doubt(63, false);
        assert_eq!((moments.age(reading), moments.distrusts_store()), (None, false));
        assert!(moments.age_despite_doubts(reading).is_some() && moments.doubts(63) && !moments.doubts(62));
        moments.doubt(0, true);
        moments.believe(63);
        assert_eq!((moments.age(reading), moments.distrusts_store()), (None, true));
        moments.believe(0);
        assert!(moments.age(reading).is_some() && !moments.distrusts_store());
    }
}
