//! Buckets of this instance alone while the store is unavailable (outage mode `local`): n instances admit at most n times the limit.

use std::time::Instant;

use super::bounded_map::BoundedMap;
use crate::domain::{Level, Meter, changed_policy};
use crate::store::{BucketKey, BucketState, Flag, Room};

/// Most buckets of an instance; calls on further ones are rejected.
const MOST: usize = 128 * 1024;

/// Buckets of this instance.
pub(super) struct LocalBuckets {
    buckets: BoundedMap<LocalBucket>,
}

#[derive(Clone, Copy, Debug)]
struct LocalBucket {
    meter: Meter,
    level: Level,
    at: Instant,
}

/// Charge of a bucket: whether it has room, and its level afterwards.
struct LocalCharge {
    room: Room,
    level: Level,
}

// === impl LocalBuckets ===

impl LocalBuckets {
    pub(super) fn new() -> LocalBuckets {
        LocalBuckets { buckets: BoundedMap::new(MOST) }
    }

    /// Decides as the script does, and charges if it `commits`; none if there is no room for another bucket.
    pub(super) fn decide(
        &self,
        key: &BucketKey,
        meter: Meter,
        cost: u64,
        flag: Flag,
        commits: bool,
    ) -> Option<BucketState> {
        let now = Instant::now();
        let keeps = |bucket: &LocalBucket| bucket.level_at(now) != Level::EMPTY;
        let new = || LocalBucket { meter, level: Level::EMPTY, at: now };
        self.buckets.enter(key, new, keeps, |bucket| {
            bucket.advance(now, meter);
            let LocalCharge { room, level } = LocalCharge::new(&meter, bucket.level, cost, flag);
            let in_debt = room != Room::None && !meter.fits(bucket.level, 0);
            if commits {
                bucket.level = level;
            }
            BucketState { room, in_debt, level: bucket.level, ..BucketState::default() }
        })
    }

    /// Gives a charge back.
    pub(super) fn give(&self, key: &BucketKey, meter: Meter, cost: u64) {
        self.buckets.with(key, |bucket| {
            if let Some(bucket) = bucket {
                bucket.advance(Instant::now(), meter);
                bucket.level = meter.difference(bucket.level, meter.level(cost));
            }
        });
    }
}

// === impl LocalCharge ===

impl LocalCharge {
    fn new(meter: &Meter, level: Level, cost: u64, flag: Flag) -> LocalCharge {
        if meter.fits(level, cost) {
            return LocalCharge { room: Room::Enough, level: meter.sum(level, meter.level(cost)) };
        }
        let forced = match flag {
            Flag::Enforce | Flag::Shadow => false,
            Flag::Overshoot => meter.fits(level, 0),
            Flag::Force => true,
        };
        let (room, level) = match meter.overcharged(level, cost) {
            _ if !forced => (Room::None, level),
            (level, true) => (Room::Overcharged, level),
            (level, false) => (Room::PartlyCharged, level),
        };
        LocalCharge { room, level }
    }
}

// === impl LocalBucket ===

impl LocalBucket {
    fn level_at(&self, now: Instant) -> Level {
        let elapsed = now.saturating_duration_since(self.at).as_micros();
        self.level.after(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// Leaks until `now`, and carries the level over to the policy's meter of today.
    fn advance(&mut self, now: Instant, meter: Meter) {
        let level = self.level_at(now);
        self.level = changed_policy::carry_over(level, &self.meter, &meter);
        // Whole microseconds have leaked; the rest leaks the next time.
        let leaked = now.saturating_duration_since(self.at).as_micros();
        self.at += std::time::Duration::from_micros(u64::try_from(leaked).unwrap_or(u64::MAX));
        self.meter = meter;
    }
}
