//! The leaky bucket as a meter, exactly.
//!
//! A bucket's level is kept as the time that it takes to leak away: a charge of `c` at `amount` per `period` adds
//! `c * period / amount`, and a microsecond takes one away. Times are whole microseconds and a fraction over `amount` (in
//! lowest terms), so that nothing is ever rounded: 7 a second stay 7 a second after a million of them. The script does the
//! same with sums and comparisons alone; the products are made here, in 128 bits.

use std::cmp::Ordering;
use std::time::Duration;

/// How long a level takes to leak away: `micros + part / n` microseconds, where `n` is the meter's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level {
    /// Whole microseconds.
    pub micros: u64,
    /// The rest, as a numerator over the meter's `n`; below it.
    pub part: u64,
}

/// A limit in numbers: what leaks away, and how much there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Meter {
    n: u64,
    p: u64,
    burst: u64,
    capacity: Level,
}

// === impl Level ===

impl Level {
    /// Nothing.
    pub const EMPTY: Level = Level { micros: 0, part: 0 };

    /// What is left of it after `micros`.
    #[must_use]
    pub fn after(self, micros: u64) -> Level {
        match self.micros.checked_sub(micros) {
            Some(left) => Level { micros: left, part: self.part },
            None => Level::EMPTY,
        }
    }

    /// The time that it takes, up to a whole microsecond: never short.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_micros(self.micros.saturating_add(u64::from(self.part > 0)))
    }
}

// === impl Meter ===

impl Meter {
    /// `amount` for each `period` (in microseconds), up to `burst` at once. None may be zero.
    #[must_use]
    pub fn new(amount: u64, period: u64, burst: u64) -> Meter {
        let common = gcd(amount, period).max(1);
        let mut meter = Meter { n: (amount / common).max(1), p: period / common, burst, capacity: Level::EMPTY };
        meter.capacity = meter.level(burst);
        meter
    }

    /// What leaks away in [`Meter::p`] microseconds.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Microseconds in which [`Meter::n`] leak away.
    #[must_use]
    pub fn p(&self) -> u64 {
        self.p
    }

    /// How much there is room for at once.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// The same as a level.
    #[must_use]
    pub fn capacity(&self) -> Level {
        self.capacity
    }

    /// What a charge of `cost` adds.
    #[must_use]
    pub fn level(&self, cost: u64) -> Level {
        self.of_units(u128::from(cost) * u128::from(self.p))
    }

    /// Two levels together.
    #[must_use]
    pub fn sum(&self, one: Level, other: Level) -> Level {
        let part = one.part + other.part;
        let carry = u64::from(part >= self.n);
        let micros = one.micros.saturating_add(other.micros).saturating_add(carry);
        Level { micros, part: part - carry * self.n }
    }

    /// `one` without `other`; nothing where that is more.
    #[must_use]
    pub fn difference(&self, one: Level, other: Level) -> Level {
        if one <= other {
            return Level::EMPTY;
        }
        let borrow = u64::from(one.part < other.part);
        Level { micros: one.micros - other.micros - borrow, part: one.part + borrow * self.n - other.part }
    }

    /// Whether a charge of `cost` has room on top of `level`.
    #[must_use]
    pub fn fits(&self, level: Level, cost: u64) -> bool {
        self.sum(level, self.level(cost)).cmp(&self.capacity) != Ordering::Greater
    }

    /// `level` after a charge of `cost` that needs no room, and whether all of it was charged: a debt ends at twice the capacity.
    #[must_use]
    pub fn overcharged(&self, level: Level, cost: u64) -> (Level, bool) {
        let (sum, most) = (self.sum(level, self.level(cost)), self.sum(self.capacity, self.capacity));
        if sum <= most { (sum, true) } else { (level.max(most), false) }
    }

    /// Whether a charge of `cost` ever has room.
    #[must_use]
    pub fn admits(&self, cost: u64) -> bool {
        cost <= self.burst
    }

    /// What could be charged on top of `level` at once.
    #[must_use]
    pub fn remaining(&self, level: Level) -> u64 {
        let room = self.difference(self.capacity, level);
        u64::try_from(self.units(room) / u128::from(self.p)).unwrap_or(u64::MAX)
    }

    /// How much `level` is, rounded up.
    #[must_use]
    pub fn charged(&self, level: Level) -> u64 {
        u64::try_from(self.units(level).div_ceil(u128::from(self.p))).unwrap_or(u64::MAX)
    }

    /// Hits that `level` is, rounded down.
    #[must_use]
    pub fn whole(&self, level: Level) -> u64 {
        u64::try_from(self.units(level) / u128::from(self.p)).unwrap_or(u64::MAX)
    }

    /// How long it takes until a charge of `cost` has room on top of `level`; none if it has, or never does.
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

    fn of_units(&self, units: u128) -> Level {
        let n = u128::from(self.n);
        let micros = u64::try_from(units / n).unwrap_or(u64::MAX);
        // Below n, which has 64 bits.
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
    fn a_fraction_is_kept_exactly() {
        let meter = Meter::new(7, SECOND, 7);
        let mut level = Level::EMPTY;
        (0..1_000_000).for_each(|_| level = meter.sum(level, meter.level(1)));
        assert_eq!(level, meter.level(1_000_000));
        assert_eq!(level, Level { micros: 142_857_142_857, part: 1 });
    }

    #[test]
    fn what_waits_long_enough_has_room_and_not_a_microsecond_earlier() {
        let meter = Meter::new(3, SECOND, 1);
        let full = meter.level(1);
        let wait = meter.wait(full, 1).expect("it is full");
        assert_eq!(wait, Duration::from_micros(333_334));
        assert!(meter.fits(full.after(333_334), 1) && !meter.fits(full.after(333_333), 1));
        assert_eq!(meter.wait(full, 2), None, "never");
        assert_eq!(meter.wait(Level::EMPTY, 1), None, "now");
    }

    #[test]
    fn a_debt_ends_at_twice_the_capacity() {
        let meter = Meter::new(3, SECOND, 5);
        assert_eq!(meter.overcharged(meter.level(4), 4), (meter.level(8), true));
        assert_eq!(meter.overcharged(meter.level(8), 2), (meter.level(10), true));
        assert_eq!(meter.overcharged(meter.level(8), 3), (meter.level(10), false));
        assert_eq!(meter.overcharged(meter.level(12), 1), (meter.level(12), false), "the limit was lowered");
    }

    #[test]
    fn rates_over_one_a_microsecond_and_under_one_a_month_are_as_exact() {
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
        fn sums_and_differences_undo_each_other(amount in 1..5_000_000_u64, period in SECOND..1_000_000_000_000, a in 0..1_000_000_u64, b in 0..1_000_000_u64) {
            let meter = Meter::new(amount, period, 1_000_000);
            let (one, other) = (meter.level(a), meter.level(b));
            prop_assert_eq!(meter.sum(one, other), meter.level(a + b));
            prop_assert_eq!(meter.difference(meter.sum(one, other), other), one);
            prop_assert_eq!(meter.charged(one), a);
            prop_assert_eq!(meter.remaining(one), 1_000_000 - a);
        }

        #[test]
        fn a_wait_is_never_short_and_never_more_than_needed(amount in 1..5_000_u64, period in SECOND..100_000_000, burst in 1..1_000_u64, filled in 0..1_000_u64, cost in 1..1_000_u64) {
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
