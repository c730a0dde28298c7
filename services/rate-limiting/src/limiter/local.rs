//! Buckets of this instance alone, for as long as the store is away: n instances admit at most n times the limit.

use std::time::Instant;

use keyplane_valkey::Key;

use super::shards::Shards;
use crate::domain::{Level, Meter};

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

/// What a bucket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It was charged; its level then.
    Charged(Level),
    /// It is full; its level.
    Full(Level),
    /// There are as many as there may be.
    NoRoom,
}

// === impl Local ===

impl Local {
    pub(super) fn new() -> Local {
        Local { buckets: Shards::new(MOST) }
    }

    /// Charges a bucket, if it has room.
    pub(super) fn charge(&self, key: &Key, meter: Meter, cost: u64) -> Said {
        let now = Instant::now();
        let keeps = |bucket: &Bucket| bucket.level_at(now) != Level::EMPTY;
        let new = || Bucket { meter, level: Level::EMPTY, at: now };
        let said = self.buckets.enter(key, new, keeps, |bucket| {
            bucket.advance(now, meter);
            if !meter.fits(bucket.level, cost) {
                return Said::Full(bucket.level);
            }
            bucket.level = meter.sum(bucket.level, meter.level(cost));
            Said::Charged(bucket.level)
        });
        said.unwrap_or(Said::NoRoom)
    }

    /// Takes a charge back.
    pub(super) fn give(&self, key: &Key, meter: Meter, cost: u64) {
        self.buckets.with(key, |bucket| {
            if let Some(bucket) = bucket {
                bucket.advance(Instant::now(), meter);
                bucket.level = meter.difference(bucket.level, meter.level(cost));
            }
        });
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
