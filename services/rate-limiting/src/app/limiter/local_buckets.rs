//! Buckets of this instance alone, for as long as the store is away: n instances admit at most n times the limit.

use std::time::Instant;

use super::bounded_map::Shards;
use crate::domain::{Level, Meter};
use crate::store::{BucketKey, Flag, Found, Room};

/// Buckets that an instance holds by itself, at most; where there is no room for one more, nobody is admitted by it.
const MOST: usize = 128 * 1024;

/// Buckets of this instance.
pub(super) struct Local {
    buckets: Shards<Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    meter: Meter,
    level: Level,
    at: Instant,
}

// === impl Local ===

impl Local {
    pub(super) fn new() -> Local {
        Local { buckets: Shards::new(MOST) }
    }

    /// Decides as the script does; none if there are as many buckets as there may be. Charges only if it `commits`.
    pub(super) fn decide(&self, key: &BucketKey, meter: Meter, cost: u64, flag: Flag, commits: bool) -> Option<Found> {
        let now = Instant::now();
        let keeps = |bucket: &Bucket| bucket.level_at(now) != Level::EMPTY;
        let new = || Bucket { meter, level: Level::EMPTY, at: now };
        self.buckets.enter(key, new, keeps, |bucket| {
            bucket.advance(now, meter);
            let (room, level) = charge(&meter, bucket.level, cost, flag);
            let in_debt = room != Room::None && !meter.fits(bucket.level, 0);
            if commits {
                bucket.level = level;
            }
            Found { room, in_debt, level: bucket.level, ..Found::default() }
        })
    }

    /// Takes a charge back.
    pub(super) fn give(&self, key: &BucketKey, meter: Meter, cost: u64) {
        self.buckets.with(key, |bucket| {
            if let Some(bucket) = bucket {
                bucket.advance(Instant::now(), meter);
                bucket.level = meter.difference(bucket.level, meter.level(cost));
            }
        });
    }
}

/// The level after a charge.
fn charge(meter: &Meter, level: Level, cost: u64, flag: Flag) -> (Room, Level) {
    if meter.fits(level, cost) {
        return (Room::Enough, meter.sum(level, meter.level(cost)));
    }
    let forced = match flag {
        Flag::Enforce | Flag::Shadow => false,
        Flag::Overshoot => meter.fits(level, 0),
        Flag::Force => true,
    };
    match meter.overcharged(level, cost) {
        _ if !forced => (Room::None, level),
        (level, true) => (Room::Overcharged, level),
        (level, false) => (Room::PartlyCharged, level),
    }
}

// === impl Bucket ===

impl Bucket {
    fn level_at(&self, now: Instant) -> Level {
        let elapsed = now.saturating_duration_since(self.at).as_micros();
        self.level.after(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// Brings it up to `now`, and under the limit as it is now: what was consumed stays consumed.
    fn advance(&mut self, now: Instant, meter: Meter) {
        let level = self.level_at(now);
        self.level = if self.meter == meter { level } else { meter.level(self.meter.charged(level)) };
        // Whole microseconds were taken away, and no more time than that has passed for it.
        let gone = now.saturating_duration_since(self.at).as_micros();
        self.at += std::time::Duration::from_micros(u64::try_from(gone).unwrap_or(u64::MAX));
        self.meter = meter;
    }
}
