//! Cache of full buckets: denies calls on a hot key without asking the store.
//!
//! Full buckets only leak until something else empties them, so their level is known until there is room. A refund, a give-back or
//! a reset rings the bucket's doorbell, which drops the entry. After [`LONGEST`] the store is asked in any case, so a lost ring
//! denies no call for longer than that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::bounded_map::BoundedMap;
use crate::domain::{Level, Meter};
use crate::store::{BucketKey, BucketState};

/// Longest time for which a bucket is taken for full without asking the store.
pub const LONGEST: Duration = Duration::from_secs(1);

/// Most buckets of an instance; about 200 bytes each.
const MOST: usize = 128 * 1024;

/// Full buckets.
pub(super) struct DenialCache {
    full: BoundedMap<Denial>,
    /// True if doorbells are heard; nothing is cached before.
    listening: AtomicBool,
}

/// Full bucket, as the store answered.
#[derive(Clone, Copy, Debug)]
struct Denial {
    meter: Meter,
    level: Level,
    ahead: u64,
    /// Times of question and answer: the bucket had this level at some moment between them.
    sent: Instant,
    answered: Instant,
}

/// Time of a question to the store, and the removals so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueryStart {
    at: Instant,
    generation: u64,
}

/// Level of a full bucket now, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) level: Level,
    pub(super) ahead: u64,
}

// === impl DenialCache ===

impl DenialCache {
    pub(super) fn new() -> DenialCache {
        DenialCache { full: BoundedMap::new(MOST), listening: AtomicBool::new(false) }
    }

    /// Notes the start of a question to the store.
    pub(super) fn start(&self, key: &BucketKey) -> QueryStart {
        QueryStart { at: Instant::now(), generation: self.full.generation(key) }
    }

    /// Caches a bucket without room.
    pub(super) fn remember(&self, key: &BucketKey, meter: Meter, bucket: &BucketState, start: QueryStart) {
        let answered = Instant::now();
        // A ring of this bucket, or of another one of its shard, overtook the answer.
        if !self.is_listening() || self.full.generation(key) != start.generation {
            return;
        }
        let denial = Denial { meter, level: bucket.level, ahead: bucket.ahead, sent: start.at, answered };
        let keeps = |denial: &Denial| answered.duration_since(denial.sent) < LONGEST;
        // A full map caches nothing: the store is asked.
        let _ = self.full.enter(key, || denial, keeps, |entry| *entry = denial);
    }

    /// Updates a cached bucket after a charge: a smaller cost that was admitted makes a larger one wait longer.
    pub(super) fn correct(&self, key: &BucketKey, meter: Meter, bucket: &BucketState, start: QueryStart) {
        let answered = Instant::now();
        self.full.with(key, |entry| {
            if let Some(entry) = entry.filter(|entry| entry.sent <= start.at) {
                *entry = Denial { meter, level: bucket.level, ahead: bucket.ahead, sent: start.at, answered };
            }
        });
    }

    /// Level of a bucket that surely has no room for `cost`.
    pub(super) fn find(&self, key: &BucketKey, meter: &Meter, cost: u64) -> Option<Full> {
        let denial = self.full.with(key, |denial| denial.copied())?;
        denial.at(Instant::now(), meter, cost)
    }

    /// Time for which a cost is denied without asking the store.
    pub(super) fn denied_for(&self, key: &BucketKey, meter: &Meter, cost: u64) -> Option<Duration> {
        let denial = self.full.with(key, |denial| denial.copied())?;
        let full = denial.at(Instant::now(), meter, cost)?;
        let wait = meter.wait(full.level, cost)? + Duration::from_micros(full.ahead);
        Some(wait.min(LONGEST.saturating_sub(denial.sent.elapsed())))
    }

    /// Drops a bucket that was emptied.
    pub(super) fn forget(&self, key: &str) {
        self.full.remove(key);
    }

    /// Drops all buckets: rings may have been lost, and are heard from now on.
    pub(super) fn forget_all(&self) {
        self.listening.store(true, Ordering::Release);
        self.full.clear();
    }

    /// Returns whether doorbells are heard.
    pub(super) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    pub(super) fn len(&self) -> usize {
        self.full.len()
    }
}

// === impl Denial ===

impl Denial {
    fn at(&self, now: Instant, meter: &Meter, cost: u64) -> Option<Full> {
        let most = micros(now.saturating_duration_since(self.sent));
        if self.meter != *meter || most >= micros(LONGEST) {
            return None;
        }
        // Lower bound, as if the store had answered at once: only a level that is surely full denies.
        let least = self.level.after(most.saturating_sub(self.ahead));
        if meter.fits(least, cost) {
            return None;
        }
        // Upper bound, for the wait: it must not be too short.
        let fewest = micros(now.saturating_duration_since(self.answered));
        let level = self.level.after(fewest.saturating_sub(self.ahead));
        Some(Full { level, ahead: self.ahead.saturating_sub(fewest) })
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(meter: Meter, ahead: u64) -> (Denial, Instant) {
        let start = Instant::now();
        let answered = start + Duration::from_millis(2);
        (Denial { meter, level: meter.capacity(), ahead, sent: start, answered }, start)
    }

    #[test]
    fn denial_holds_until_there_could_be_room_and_at_most_a_second() {
        let meter = Meter::new(10, 1_000_000, 10);
        let (denial, start) = denial(meter, 0);
        let at = |millis, cost| denial.at(start + Duration::from_millis(millis), &meter, cost);
        assert_eq!(at(50, 1).map(|full| full.level), Some(meter.capacity().after(48_000)), "as of the answer");
        assert!(at(99, 1).is_some() && at(100, 1).is_none());
        assert!(at(100, 5).is_some() && at(499, 5).is_some() && at(500, 5).is_none());
        assert!(at(999, 10).is_some() && at(1000, 10).is_none());
        let other = Meter::new(20, 1_000_000, 10);
        assert!(denial.at(start, &other, 1).is_none(), "the limit has changed");
    }

    #[test]
    fn clock_behind_the_bucket_lengthens_the_wait() {
        let meter = Meter::new(10, 1_000_000, 10);
        let (denial, start) = denial(meter, 300_000);
        let at = |millis| denial.at(start + Duration::from_millis(millis), &meter, 1);
        assert_eq!(at(102), Some(Full { level: meter.capacity(), ahead: 200_000 }));
        assert!(at(399).is_some() && at(400).is_none());
    }
}
