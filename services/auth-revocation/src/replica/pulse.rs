//! Whether this process was stopped a moment ago, or had no CPU.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use super::shared::Shared;

/// Time for which a stop counts as a moment ago: until then connections were made anew, and memory caught up.
const RESUMED: Duration = Duration::from_secs(1);

/// The last beat of a task that beats all the time, and the last one that came late.
#[derive(Debug)]
pub(super) struct Pulse {
    beats: Mutex<(Instant, Option<Instant>)>,
    /// A pause that is longer was a stop.
    longest: Duration,
}

/// Beats until it is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut beats = interval(shared.settings.beat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        shared.pulse.beat(Instant::now());
    }
}

// === impl Pulse ===

impl Pulse {
    pub(super) fn new(now: Instant, longest: Duration) -> Pulse {
        Pulse { beats: Mutex::new((now, None)), longest }
    }

    fn beat(&self, now: Instant) {
        let mut beats = self.beats.lock();
        if now.saturating_duration_since(beats.0) > self.longest {
            beats.1 = Some(now);
        }
        beats.0 = now;
    }

    /// Whether the process goes on after a stop that ended less than [`RESUMED`] ago. The first to ask may come before the
    /// first beat.
    pub(super) fn was_stopped(&self, now: Instant) -> bool {
        let (last, resumed) = *self.beats.lock();
        now.saturating_duration_since(last) > self.longest
            || resumed.is_some_and(|resumed| now.saturating_duration_since(resumed) < RESUMED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_noticed_by_whoever_comes_first_and_remembered_for_a_second() {
        let ms = Duration::from_millis;
        let begin = Instant::now();
        let pulse = Pulse::new(begin, ms(100));
        pulse.beat(begin + ms(33));
        assert!(!pulse.was_stopped(begin + ms(66)), "all is well");
        assert!(pulse.was_stopped(begin + ms(5000)), "a check comes before the beat");
        pulse.beat(begin + ms(5000));
        for after in (0..=930).step_by(33) {
            pulse.beat(begin + ms(5000 + after));
        }
        assert!(pulse.was_stopped(begin + ms(5950)));
        pulse.beat(begin + ms(5990));
        pulse.beat(begin + ms(6020));
        assert!(!pulse.was_stopped(begin + ms(6020)));
    }
}
