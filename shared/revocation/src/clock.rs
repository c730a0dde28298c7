//! Store's clock, estimated between its replies.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::time::{Millis, whole};

/// Clock of the store, estimated from its replies and carried on by this process's monotonic clock.
///
/// This machine's wall clock has no part in it: a jump of it changes no answer. A reply bounds the estimate from both
/// sides, since the store's clock showed its time between the call and the reply. Replies narrow the bounds. A reply
/// that contradicts them, since a clock was set or drifted, replaces them.
#[derive(Debug)]
pub struct StoreClock {
    base: Instant,
    /// Store's time at `base`, in µs; [`UNKNOWN`] before the first reply.
    at_base: AtomicI64,
    /// Bounds of `at_base`.
    bounds: Mutex<Option<(i64, i64)>>,
    /// Last result of [`StoreClock::passed`].
    passed: Mutex<Option<(Instant, Millis)>>,
}

const UNKNOWN: i64 = i64::MIN;

// === impl Millis ===

impl Millis {
    /// Time of this machine's clock.
    pub fn wall() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(whole(since))
    }
}

// === impl StoreClock ===

impl StoreClock {
    /// Clock before the first reply. `base` is now, or earlier.
    pub fn new(base: Instant) -> Self {
        Self { base, at_base: AtomicI64::new(UNKNOWN), bounds: Mutex::new(None), passed: Mutex::new(None) }
    }

    /// Adds a reply: the store's clock showed `shown` between `sent` and `received`.
    pub fn observe(&self, sent: Instant, received: Instant, shown: Millis) {
        let micros = shown.0.saturating_mul(1000);
        let low = micros.saturating_sub(self.since_base(received));
        let high = micros.saturating_add(999).saturating_sub(self.since_base(sent));
        let mut bounds = self.bounds.lock();
        let narrowed = bounds.map(|(known_low, known_high)| (low.max(known_low), high.min(known_high)));
        let (low, high) = narrowed.filter(|(low, high)| low <= high).unwrap_or((low, high));
        *bounds = Some((low, high));
        self.at_base.store(low.midpoint(high), Ordering::Relaxed);
    }

    /// Returns whether there was a reply.
    pub fn is_known(&self) -> bool {
        self.at_base.load(Ordering::Relaxed) != UNKNOWN
    }

    /// Store's time at `instant`, in µs since 1970; `None` before the first reply.
    pub fn micros_at(&self, instant: Instant) -> Option<i64> {
        let at_base = self.at_base.load(Ordering::Relaxed);
        (at_base != UNKNOWN).then(|| at_base.saturating_add(self.since_base(instant)))
    }

    /// Store's time at `instant`; `None` before the first reply. No lock.
    pub fn at(&self, instant: Instant) -> Option<Millis> {
        self.micros_at(instant).map(Millis::from_micros)
    }

    /// Moment up to which expired entries can be forgotten at `now`, where this machine's clock shows `wall`: it has
    /// passed by both clocks. It advances at most an eighth faster than time, so that even two clocks that are ahead
    /// for a minute make nobody forget a revocation that holds. The eighth catches up after a machine was suspended.
    pub fn passed(&self, now: Instant, wall: Millis) -> Option<Millis> {
        let clocks = self.at(now)?.min(wall);
        let mut last = self.passed.lock();
        let passed = match *last {
            Some((then, moment)) => {
                let elapsed = now.saturating_duration_since(then);
                clocks.min(moment.plus(elapsed.saturating_add(elapsed / 8)))
            }
            None => clocks,
        };
        *last = Some((now, passed));
        Some(passed)
    }

    fn since_base(&self, instant: Instant) -> i64 {
        i64::try_from(instant.saturating_duration_since(self.base).as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const DAY: i64 = 25 * 3_600_000;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn replies_narrow_the_estimate_and_a_slow_one_does_not_widen_it() {
        let base = Instant::now();
        let clock = StoreClock::new(base);
        assert_eq!((clock.at(base), clock.passed(base, Millis(NOW))), (None, None), "nothing is known yet");
        // The store's time at `base` is NOW.
        clock.observe(base, base + ms(800), Millis(NOW + 10));
        let error = |clock: &StoreClock| clock.at(base).map_or(i64::MAX, |at| (at.0 - NOW).abs());
        assert!(error(&clock) <= 400, "a reply that was long on its way: {:?}", clock.at(base));
        clock.observe(base + ms(1000), base + ms(1002), Millis(NOW + 1001));
        assert!(error(&clock) <= 2, "a fast one: {:?}", clock.at(base));
        clock.observe(base + ms(2000), base + ms(2900), Millis(NOW + 2890));
        assert!(error(&clock) <= 2, "a slow one after it: {:?}", clock.at(base));
        assert_eq!(clock.at(base + ms(5000)).map(|at| (at.0 - NOW - 5000).abs() <= 2), Some(true), "time goes on");
    }

    #[test]
    fn a_store_clock_that_was_set_is_followed_at_once() {
        let base = Instant::now();
        let clock = StoreClock::new(base);
        clock.observe(base, base + ms(1), Millis(NOW));
        for shown in [NOW + DAY, NOW - DAY, NOW - 20, NOW + 20] {
            clock.observe(base, base + ms(1), Millis(shown));
            assert_eq!(clock.at(base).map(|at| (at.0 - shown).abs() <= 1), Some(true), "{shown}: {:?}", clock.at(base));
        }
    }

    #[test]
    fn one_clock_that_is_ahead_forgets_nothing() {
        let base = Instant::now();
        let clock = StoreClock::new(base);
        clock.observe(base, base, Millis(NOW));
        let minute = |count: u64| base + ms(count * 60_000);
        assert!(clock.passed(base, Millis(NOW + DAY)) <= Some(Millis(NOW + 1)), "this machine's");
        clock.observe(minute(1), minute(1), Millis(NOW + 60_000 + DAY));
        assert_eq!(clock.passed(minute(1), Millis(NOW + 60_000)), Some(Millis(NOW + 60_000)), "the store's");
        // Both at once: no more than the time that has run, and an eighth.
        let both = clock.passed(minute(2), Millis(NOW + 120_000 + DAY));
        assert_eq!(both, Some(Millis(NOW + 60_000 + 67_500)));
        clock.observe(minute(3), minute(3), Millis(NOW + 180_000));
        assert!(clock.passed(minute(3), Millis(NOW + 180_000)) <= Some(Millis(NOW + 180_000)));
        let back = clock.passed(minute(4), Millis(NOW - DAY));
        assert_eq!(back, Some(Millis(NOW - DAY)), "one that is behind only keeps more");
    }
}
