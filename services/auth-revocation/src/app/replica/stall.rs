//! Stalls of this process: it was stopped (SIGSTOP, a paused machine), or had no CPU.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Time for which a stall counts as recent: by then connections were made anew, and memory has caught up.
const RESUMED: Duration = Duration::from_secs(1);

/// Detector of stalls: a task of its own beats all the time, and a late beat shows a stall.
#[derive(Debug)]
pub(in crate::app) struct StallDetector {
    /// Last beat, and the last one that came late.
    beats: Mutex<(Instant, Option<Instant>)>,
    /// Longest pause between two beats that is no stall.
    longest: Duration,
}

// === impl StallDetector ===

impl StallDetector {
    pub(super) fn new(now: Instant, longest: Duration) -> StallDetector {
        StallDetector { beats: Mutex::new((now, None)), longest }
    }

    pub(super) fn beat(&self, now: Instant) {
        let mut beats = self.beats.lock();
        if now.saturating_duration_since(beats.0) > self.longest {
            beats.1 = Some(now);
        }
        beats.0 = now;
    }

    /// Returns whether the process resumed less than [`RESUMED`] ago. The first caller may come before the first beat.
    pub(in crate::app) fn resumed_recently(&self, now: Instant) -> bool {
        let (last, resumed) = *self.beats.lock();
        now.saturating_duration_since(last) > self.longest
            || resumed.is_some_and(|resumed| now.saturating_duration_since(resumed) < RESUMED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_noticed_by_the_first_caller_and_remembered_for_a_second() {
        let ms = Duration::from_millis;
        let begin = Instant::now();
        let stalls = StallDetector::new(begin, ms(100));
        stalls.beat(begin + ms(33));
        assert!(!stalls.resumed_recently(begin + ms(66)), "all is well");
        assert!(stalls.resumed_recently(begin + ms(5000)), "a check comes before the beat");
        stalls.beat(begin + ms(5000));
        for after in (0..=930).step_by(33) {
            stalls.beat(begin + ms(5000 + after));
        }
        assert!(stalls.resumed_recently(begin + ms(5950)));
        stalls.beat(begin + ms(5990));
        stalls.beat(begin + ms(6020));
        assert!(!stalls.resumed_recently(begin + ms(6020)));
    }
}
