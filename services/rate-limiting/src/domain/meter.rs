//! Exact arithmetic of leaky buckets.
//!
//! Levels are the time that a bucket takes to leak away: a charge of `c` at `amount` per `period` adds
//! `c * period / amount`, and each microsecond takes one away. Times are whole microseconds and a fraction over `amount` (in lowest
//! terms), so no charge is ever rounded: 7 per second stay 7 per second after a million charges. The script adds and compares the
//! same numbers; products are made here, in 128 bits.

use std::cmp::Ordering;
use std::time::Duration;

/// Time for a bucket to leak away: `micros + part / n` microseconds, where `n` is the meter's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level {
    /// Whole microseconds.
    pub micros: u64,
    /// Numerator of the rest over the meter's `n`; less than `n`.
    pub part: u64,
}

/// Limit in numbers: its rate and its capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Meter {
    n: u64,
    p: u64,
    burst: u64,
    capacity: Level,
}

// === impl Level ===

impl Level {
    /// Empty bucket.
    pub const EMPTY: Level = Level { micros: 0, part: 0 };

    /// Level after `micros` microseconds.
    #[must_use]
    pub fn after(self, micros: u64) -> Level {
        match self.micros.checked_sub(micros) {
            Some(left) => Level { micros: left, part: self.part },
            None => Level::EMPTY,
        }
    }

    /// Time to leak away, rounded up to a whole microsecond.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_micros(self.micros.saturating_add(u64::from(self.part > 0)))
    }
}

// === impl Meter ===

impl Meter {
    /// Meter of `amount` hits per `period` (in microseconds), with a burst of `burst`. None may be zero.
    #[must_use]
    pub fn new(amount: u64, period: u64, burst: u64) -> Meter {
        let common = gcd(amount, period).max(1);
        let mut meter = Meter { n: (amount / common).max(1), p: period / common, burst, capacity: Level::EMPTY };
        meter.capacity = meter.level(burst);
        meter
    }

    /// Hits that leak away in [`Meter::p`] microseconds.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Microseconds in which [`Meter::n`] leak away.
    #[must_use]
    pub fn p(&self) -> u64 {
        self.p
    }

    /// Burst size in hits.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// Level of a full bucket.
    #[must_use]
    pub fn capacity(&self) -> Level {
        self.capacity
    }

    /// Level that a charge of `cost` adds.
    #[must_use]
    pub fn level(&self, cost: u64) -> Level {
        self.level_of_units(u128::from(cost) * u128::from(self.p))
    }

    /// Sum of two levels.
    #[must_use]
    pub fn sum(&self, first: Level, other: Level) -> Level {
        let part = first.part + other.part;
        let carry = u64::from(part >= self.n);
        let micros = first.micros.saturating_add(other.micros).saturating_add(carry);
        Level { micros, part: part - carry * self.n }
    }

    /// Difference of two levels; empty if `other` is higher.
    #[must_use]
    pub fn difference(&self, first: Level, other: Level) -> Level {
        if first <= other {
            return Level::EMPTY;
        }
        let borrow = u64::from(first.part < other.part);
        Level { micros: first.micros - other.micros - borrow, part: first.part + borrow * self.n - other.part }
    }

    /// Returns whether a charge of `cost` fits on top of `level`.
    #[must_use]
    pub fn fits(&self, level: Level, cost: u64) -> bool {
        self.sum(level, self.level(cost)).cmp(&self.capacity) != Ordering::Greater
    }

    /// Level after a charge of `cost` without room, and whether all of it was charged: a debt is at most twice the capacity.
    #[must_use]
    pub fn overcharged(&self, level: Level, cost: u64) -> (Level, bool) {
        let (sum, most) = (self.sum(level, self.level(cost)), self.sum(self.capacity, self.capacity));
        if sum <= most { (sum, true) } else { (level.max(most), false) }
    }

    /// Returns whether a charge of `cost` ever fits.
    #[must_use]
    pub fn admits(&self, cost: u64) -> bool {
        cost <= self.burst
    }

    /// Hits that fit on top of `level`.
    #[must_use]
    pub fn remaining(&self, level: Level) -> u64 {
        let room = self.difference(self.capacity, level);
        u64::try_from(self.units(room) / u128::from(self.p)).unwrap_or(u64::MAX)
    }

    /// Hits of `level`, rounded up.
    #[must_use]
    pub fn charged(&self, level: Level) -> u64 {
        u64::try_from(self.units(level).div_ceil(u128::from(self.p))).unwrap_or(u64::MAX)
    }

    /// Hits of `level`, rounded down.
    #[must_use]
    pub fn whole(&self, level: Level) -> u64 {
        u64::try_from(self.units(level) / u128::from(self.p)).unwrap_or(u64::MAX)
    }

    /// Time until a charge of `cost` fits on top of `level`; none if it fits now, or never.
    #[must_use]
    pub fn wait(&self, level: Level, cost: u64) -> Option<Duration> {
        if !self.admits(cost) || self.fits(level, cost) {
            return None;
        }
        let over = self.difference(self.sum(level, self.level(cost)), self.capacity);
        Some(over.duration())
    }

    fn units(&self, level: Level) -> u128 {
        u128::from(level.micros) * u128::from(self.n) + u128::from(level.part)
    }

    fn level_of_units(&self, units: u128) -> Level {
        let n = u128::from(self.n);
        let micros = u64::try_from(units / n).unwrap_or(u64::MAX);
        // The remainder is below n, which has 64 bits.
        Level { micros, part: (units % n) as u64 }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn fractions_are_exact() {
        let meter = Meter::new(7, SECOND, 7);
        let mut level = Level::EMPTY;
        (0..1_000_000).for_each(|_| level = meter.sum(level, meter.level(1)));
        assert_eq!(level, meter.level(1_000_000));
        assert_eq!(level, Level { micros: 142_857_142_857, part: 1 });
    }

    #[test]
    fn wait_is_exact_to_the_microsecond() {
        let meter = Meter::new(3, SECOND, 1);
        let full = meter.level(1);
        let wait = meter.wait(full, 1).expect("it is full");
        assert_eq!(wait, Duration::from_micros(333_334));
        assert!(meter.fits(full.after(333_334), 1) && !meter.fits(full.after(333_333), 1));
        assert_eq!(meter.wait(full, 2), None, "never");
        assert_eq!(meter.wait(Level::EMPTY, 1), None, "now");
    }

    #[test]
    fn debt_is_at_most_twice_the_capacity() {
        let meter = Meter::new(3, SECOND, 5);
        assert_eq!(meter.overcharged(meter.level(4), 4), (meter.level(8), true));
        assert_eq!(meter.overcharged(meter.level(8), 2), (meter.level(10), true));
        assert_eq!(meter.overcharged(meter.level(8), 3), (meter.level(10), false));
        assert_eq!(meter.overcharged(meter.level(12), 1), (meter.level(12), false), "the limit was lowered");
    }

    #[test]
    fn very_high_and_very_low_rates_are_exact() {
        let fast = Meter::new(10_000_001, SECOND, 10_000_001);
        assert_eq!(fast.level(10_000_001), Level { micros: SECOND, part: 0 });
        assert_eq!(fast.level(1), Level { micros: 0, part: 1_000_000 });
        let month = 30 * 86_400 * SECOND;
        let slow = Meter::new(999_983, month, 999_983);
        assert_eq!(slow.capacity(), Level { micros: month, part: 0 });
        assert_eq!(slow.remaining(Level::EMPTY), 999_983);
        assert_eq!(slow.remaining(slow.level(1)), 999_982);
        let largest = Meter::new(1_000_000_000_000, SECOND, 1_000_000_000_000);
        assert_eq!((largest.capacity().micros, largest.remaining(Level::EMPTY)), (SECOND, 1_000_000_000_000));
    }

    proptest! {
        #[test]
        fn sums_and_differences_are_inverse(
            amount in 1..5_000_000_u64,
            period in SECOND..1_000_000_000_000,
            a in 0..1_000_000_u64,
            b in 0..1_000_000_u64,
        ) {
            let meter = Meter::new(amount, period, 1_000_000);
            let (first, other) = (meter.level(a), meter.level(b));
            prop_assert_eq!(meter.sum(first, other), meter.level(a + b));
            prop_assert_eq!(meter.difference(meter.sum(first, other), other), first);
            prop_assert_eq!(meter.charged(first), a);
            prop_assert_eq!(meter.remaining(first), 1_000_000 - a);
        }

        #[test]
        fn wait_is_never_too_short_nor_too_long(
            amount in 1..5_000_u64,
            period in SECOND..100_000_000,
            burst in 1..1_000_u64,
            filled in 0..1_000_u64,
            cost in 1..1_000_u64,
        ) {
            let meter = Meter::new(amount, period, burst);
            let level = meter.level(filled);
            match meter.wait(level, cost) {
                Some(wait) => {
                    let wait = u64::try_from(wait.as_micros()).unwrap();
                    prop_assert!(meter.fits(level.after(wait), cost));
                    prop_assert!(!meter.fits(level.after(wait - 1), cost));
                }
                None => prop_assert!(cost > burst || meter.fits(level, cost)),
            }
        }
    }
}
