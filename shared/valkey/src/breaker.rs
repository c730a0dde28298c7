//! Circuit breaker: fails calls at once while the server does not answer.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::BreakerSettings;

/// Breaker of one node: closed, open (calls fail at once) or half-open (one call at a time probes).
///
/// A closed breaker costs a call two relaxed loads.
#[derive(Debug)]
pub(crate) struct Breaker {
    settings: BreakerSettings,
    start: Instant,
    failures: AtomicU32,
    /// Milliseconds after `start` at which the next probe may pass; 0 while closed.
    probe_at: AtomicU64,
}

// === impl Breaker ===

impl Breaker {
    pub(crate) fn new(settings: BreakerSettings) -> Breaker {
        // A second in the past: 0 means closed, so no moment may be 0.
        let start = Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(Instant::now);
        Breaker { settings, start, failures: AtomicU32::new(0), probe_at: AtomicU64::new(0) }
    }

    /// Admits a call, or returns the time until the next probe. An open breaker admits one probe per cool-down.
    pub(crate) fn admit(&self) -> Result<(), Duration> {
        let probe_at = self.probe_at.load(Ordering::Relaxed);
        if probe_at == 0 { Ok(()) } else { self.admit_open(probe_at, self.now()) }
    }

    fn admit_open(&self, probe_at: u64, now: u64) -> Result<(), Duration> {
        let next = now + self.cool_down();
        if now < probe_at {
            return Err(Duration::from_millis(probe_at - now));
        }
        // The cool-down starts anew, so a dropped probe does not block the next one.
        let won = self.probe_at.compare_exchange(probe_at, next, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if won { Ok(()) } else { Err(self.settings.cool_down) }
    }

    /// Records an answer; returns whether it closed the breaker.
    pub(crate) fn answered(&self) -> bool {
        if self.failures.load(Ordering::Relaxed) == 0 && self.probe_at.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.failures.store(0, Ordering::Relaxed);
        self.probe_at.swap(0, Ordering::AcqRel) != 0
    }

    /// Records a missing answer; returns whether it opened the breaker.
    pub(crate) fn failed(&self) -> bool {
        self.failed_at(self.now())
    }

    fn failed_at(&self, now: u64) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < self.settings.failures {
            return false;
        }
        let next = now + self.cool_down();
        self.probe_at.swap(next, Ordering::AcqRel) == 0
    }

    pub(crate) fn is_open(&self) -> bool {
        self.probe_at.load(Ordering::Relaxed) != 0
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn cool_down(&self) -> u64 {
        u64::try_from(self.settings.cool_down.as_millis()).unwrap_or(u64::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(BreakerSettings { failures: 3, cool_down: Duration::from_millis(500) })
    }

    fn admit_at(breaker: &Breaker, now: u64) -> bool {
        let probe_at = breaker.probe_at.load(Ordering::Relaxed);
        probe_at == 0 || breaker.admit_open(probe_at, now).is_ok()
    }

    #[test]
    fn breaker_opens_after_failures_in_a_row_and_closes_after_one_answer() {
        let breaker = breaker();
        assert!(!breaker.failed_at(1) && !breaker.failed_at(2));
        assert!(!breaker.answered(), "an answer in between starts the count anew");
        assert!(!breaker.failed_at(3) && !breaker.failed_at(4));
        assert!(admit_at(&breaker, 5));
        assert!(breaker.failed_at(10), "the third in a row");
        assert!(breaker.is_open());
        assert_eq!(breaker.admit_open(510, 110), Err(Duration::from_millis(400)));

        assert!(admit_at(&breaker, 510), "one probe");
        assert!(!admit_at(&breaker, 510), "and only one");
        assert!(!breaker.failed_at(600), "it was open already");
        assert!(!admit_at(&breaker, 1_099));

        assert!(admit_at(&breaker, 1_100));
        assert!(breaker.answered());
        assert!(admit_at(&breaker, 1_101) && admit_at(&breaker, 1_101));
        assert!(!breaker.is_open());
        assert!(!breaker.failed_at(1_200), "the count starts anew");
    }

    #[test]
    fn dropped_probe_does_not_block_the_next() {
        let breaker = breaker();
        for _ in 0..3 {
            breaker.failed_at(10);
        }
        assert!(admit_at(&breaker, 510), "this probe's future is dropped");
        assert!(!admit_at(&breaker, 1_009));
        assert!(admit_at(&breaker, 1_010));
    }
}
