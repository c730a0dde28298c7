//! Refusals that still hold, so that whoever hammers at a full bucket costs the store nothing.
//!
//! A bucket that was full at some moment can only have leaked since, as long as nobody empties it otherwise: so until
//! then the answer is known. Whoever empties it (a refund, a give-back, a reset) rings its bell, which drops what is known; and after
//! [`LONGEST`] the store is asked in any case, so that a ring that was missed refuses nobody for longer than that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::bounded_map::Shards;
use crate::domain::{Level, Meter};
use crate::store::{BucketKey, Found};

/// The bound on how long a bucket is taken for full that was emptied, where the ring was missed.
pub const LONGEST: Duration = Duration::from_secs(1);

/// Buckets that an instance remembers, at most; some 200 bytes each.
const MOST: usize = 128 * 1024;

/// Refusals that still hold.
pub(super) struct Denials {
    known: Shards<Denial>,
    /// Whether bells are heard: what is emptied before that, nobody would tell.
    listening: AtomicBool,
}

/// A full bucket.
#[derive(Clone, Copy, Debug)]
struct Denial {
    meter: Meter,
    level: Level,
    ahead: u64,
    /// The level was this at some moment between these two.
    asked: Instant,
    answered: Instant,
}

/// When a question was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    at: Instant,
    generation: u64,
}

/// What is known of a full bucket now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) level: Level,
    pub(super) ahead: u64,
}

// === impl Denials ===

impl Denials {
    pub(super) fn new() -> Denials {
        Denials { known: Shards::new(MOST), listening: AtomicBool::new(false) }
    }

    /// To be called before the store is asked about a bucket.
    pub(super) fn ask(&self, key: &BucketKey) -> Asked {
        Asked { at: Instant::now(), generation: self.known.generation(key) }
    }

    /// Remembers that a bucket had no room.
    pub(super) fn remember(&self, key: &BucketKey, meter: Meter, found: &Found, asked: Asked) {
        let answered = Instant::now();
        // It was rung, or another one beside it, while the answer was on its way.
        if !self.is_listening() || self.known.generation(key) != asked.generation {
            return;
        }
        let denial = Denial { meter, level: found.level, ahead: found.ahead, asked: asked.at, answered };
        let keeps = |denial: &Denial| answered.duration_since(denial.asked) < LONGEST;
        // Where there is no room the store is asked, as ever.
        let _ = self.known.enter(key, || denial, keeps, |known| *known = denial);
    }

    /// Corrects what is known of a bucket by what was charged to it since: else a smaller cost that was admitted would make
    /// what a larger one is told to wait too short.
    pub(super) fn correct(&self, key: &BucketKey, meter: Meter, found: &Found, asked: Asked) {
        let answered = Instant::now();
        self.known.with(key, |known| {
            if let Some(known) = known.filter(|known| known.asked <= asked.at) {
                *known = Denial { meter, level: found.level, ahead: found.ahead, asked: asked.at, answered };
            }
        });
    }

    /// Whether a bucket surely has no room for `cost`.
    pub(super) fn find(&self, key: &BucketKey, meter: &Meter, cost: u64) -> Option<Full> {
        let denial = self.known.with(key, |denial| denial.copied())?;
        denial.at(Instant::now(), meter, cost)
    }

    /// Time for which this instance would refuse by itself what needs room for `cost`.
    pub(super) fn refused_for(&self, key: &BucketKey, meter: &Meter, cost: u64) -> Option<Duration> {
        let denial = self.known.with(key, |denial| denial.copied())?;
        let full = denial.at(Instant::now(), meter, cost)?;
        let wait = meter.wait(full.level, cost)? + Duration::from_micros(full.ahead);
        Some(wait.min(LONGEST.saturating_sub(denial.asked.elapsed())))
    }

    /// Forgets a bucket that was emptied.
    pub(super) fn forget(&self, key: &str) {
        self.known.remove(key);
    }

    /// Forgets all, since bells are heard from now on that were not before.
    pub(super) fn forget_all(&self) {
        self.listening.store(true, Ordering::Release);
        self.known.clear();
    }

    /// Whether what is emptied elsewhere is heard of.
    pub(super) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

// === impl Denial ===

impl Denial {
    fn at(&self, now: Instant, meter: &Meter, cost: u64) -> Option<Full> {
        let most = micros(now.saturating_duration_since(self.asked));
        if self.meter != *meter || most >= micros(LONGEST) {
            return None;
        }
        // At least this is there still: as if it had been answered when it was asked.
        let least = self.level.after(most.saturating_sub(self.ahead));
        if meter.fits(least, cost) {
            return None;
        }
        // And at most this: what a caller is told to wait must not be short.
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
        (Denial { meter, level: meter.capacity(), ahead, asked: start, answered }, start)
    }

    #[test]
    fn it_holds_until_there_could_be_room_and_no_longer_than_a_second() {
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
    fn a_clock_that_is_behind_is_waited_for() {
        let meter = Meter::new(10, 1_000_000, 10);
        let (denial, start) = denial(meter, 300_000);
        let at = |millis| denial.at(start + Duration::from_millis(millis), &meter, 1);
        assert_eq!(at(102), Some(Full { level: meter.capacity(), ahead: 200_000 }));
        assert!(at(399).is_some() && at(400).is_none());
    }
}
