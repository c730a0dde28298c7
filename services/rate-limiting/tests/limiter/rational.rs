//! Buckets in rational numbers: what the script is to come to.

use std::collections::BTreeMap;

use keyplane_rate_limiting::domain::{Level, Meter};

use crate::script::Found;

pub(crate) const SECOND: u64 = 1_000_000;
pub(crate) const DAY: u64 = 86_400 * SECOND;
/// Most microseconds that a bucket may be ahead of the clock.
pub(crate) const SKEW: u64 = 10 * SECOND;

/// `amount` in `period` microseconds, `burst` at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) amount: u64,
    pub(crate) period: u64,
    pub(crate) burst: u64,
}

/// Bucket in numbers that nothing is ever divided of: a charge adds its cost times `period`, a microsecond takes
/// `amount`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) last: u64,
    pub(crate) level: u128,
}

pub(crate) struct Model {
    pub(crate) rates: Vec<Rate>,
    pub(crate) kept: BTreeMap<usize, Kept>,
}

// === impl Rate ===

impl Rate {
    pub(crate) fn meter(&self) -> Meter {
        Meter::new(self.amount, self.period, self.burst)
    }

    pub(crate) fn charge(&self, cost: u64) -> u128 {
        u128::from(cost) * u128::from(self.period)
    }

    /// True if the script reports exactly this level.
    pub(crate) fn is(&self, level: u128, state: &Found) -> bool {
        self.units(state.level) == level
    }

    /// Units of a level that the script says.
    pub(crate) fn units(&self, level: Level) -> u128 {
        let n = self.meter().n();
        let parts = u128::from(level.micros) * u128::from(n) + u128::from(level.part);
        // In lowest terms, n divides the amount.
        parts * u128::from(self.amount / n)
    }

    /// Returns whether `units` are the amount that a `level` under another rate is, rounded up: by two n-ths of a
    /// microsecond, and what doubles may err.
    pub(crate) fn is_same(&self, units: u128, other: &Rate, level: u128) -> bool {
        let (exact, converted) = (level * u128::from(self.period), units * u128::from(other.period));
        converted >= exact && converted - exact <= 2 * u128::from(other.period) + (exact >> 48)
    }

    /// True if levels under both meters have one unit.
    pub(crate) fn counts_like(&self, other: &Rate) -> bool {
        let [first, other] = [self, other].map(Rate::meter);
        (first.n(), first.p()) == (other.n(), other.p())
    }
}

// === impl Model ===

impl Model {
    /// Level now, and the lag of the clock behind it.
    fn look(&self, at: usize, now: u64) -> (u128, u64) {
        let Some(kept) = self.kept.get(&at) else { return (0, 0) };
        match kept.last.checked_sub(now) {
            None | Some(0) => {
                (kept.level.saturating_sub(u128::from(now - kept.last) * u128::from(self.rates[at].amount)), 0)
            }
            Some(ahead) if ahead <= SKEW => (kept.level, ahead),
            Some(_) => (kept.level, 0),
        }
    }

    fn keep(&mut self, at: usize, now: u64, (level, ahead): (u128, u64)) {
        self.kept.insert(at, Kept { last: now + ahead, level });
        self.kept.retain(|_, kept| kept.level > 0);
    }

    /// Charges all buckets of a group, or none.
    pub(crate) fn decide(&mut self, now: u64, op: u8, buckets: &[(usize, u64, u8)]) -> (char, Vec<(u8, u128, u64)>) {
        let mut rooms = Vec::new();
        for &(at, cost, flag) in buckets {
            let rate = self.rates[at];
            let (level, ahead) = self.look(at, now);
            let ahead = if op == b'd' { 0 } else { ahead };
            let full = rate.charge(rate.burst);
            let sum = level + rate.charge(cost);
            let (room, then) = match (op, flag) {
                (b'd', _) => (u8::from(self.kept.contains_key(&at)), 0),
                (b't', _) => (1, level.saturating_sub(rate.charge(cost))),
                _ if sum <= full => (1, sum),
                (_, b'o') if level > full => (0, level),
                (_, b'f' | b'o') => {
                    let debt = if level > full { 8 } else { 0 };
                    (debt + if sum <= 2 * full { 2 } else { 3 }, sum.min(2 * full).max(level))
                }
                _ => (0, level),
            };
            rooms.push((room, flag, level, then, ahead));
        }
        let denied = rooms.iter().any(|(room, flag, ..)| *room == 0 && *flag != b's') && matches!(op, b'c' | b'p');
        let states = rooms.iter().zip(buckets).map(|(&(room, _, level, then, ahead), &(at, ..))| {
            let changes = op != b'p' && !denied && (then != level || op == b'd');
            let after = if changes { then } else { level };
            // A time that was far ahead of the clock is not kept, whatever is decided.
            let wrong = self.kept.get(&at).is_some_and(|kept| kept.last > now + SKEW);
            if changes || wrong {
                self.keep(at, now, (after, ahead));
            }
            (room, after, ahead)
        });
        let states = states.collect();
        (if denied { 'R' } else { 'A' }, states)
    }
}
