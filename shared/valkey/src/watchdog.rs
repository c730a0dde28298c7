//! Watchdog for a connection that answers late while a new one would be prompt.
//!
//! Lateness alone proves nothing: the whole store may be slow or far away. A connection that answers late twice is
//! compared with a new one, both probed at the same moment. The new one takes over only if it is much faster. Otherwise
//! the pause before the next comparison doubles.

use std::time::Duration;

use tokio::time::Instant;

/// Pause between two probes of a prompt connection.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);
/// Pause between two probes of a late connection.
const CLOSER: Duration = Duration::from_millis(200);
/// Longest time of a prompt answer.
const LATE: Duration = Duration::from_millis(20);
/// Factor by which a new connection has to be faster to take over.
const TIMES: u32 = 4;
/// Pause between comparisons: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Record of the answers of a connection and its predecessors.
pub(crate) struct Watchdog {
    /// Late answers in a row.
    late: u32,
    /// Earliest time of the next comparison; `None` before the first.
    not_before: Option<Instant>,
    pause: Duration,
}

// === impl Watchdog ===

impl Watchdog {
    pub(crate) fn new() -> Watchdog {
        Watchdog { late: 0, not_before: None, pause: PAUSES.0 }
    }

    /// Time until the next probe.
    pub(crate) fn pause(&self, now: Instant) -> Duration {
        if self.late > 0 && self.may_compare(now) { CLOSER } else { HEARTBEAT }
    }

    /// Records an answer; returns whether to compare the connection with a new one now.
    pub(crate) fn suspects(&mut self, took: Duration, now: Instant) -> bool {
        self.late = if took > LATE { self.late + 1 } else { 0 };
        if self.late == 0 && self.may_compare(now) {
            self.pause = PAUSES.0;
        }
        self.late >= 2 && self.may_compare(now)
    }

    /// Compares the answers of both; returns whether the new connection takes over. `None`: no answer in time.
    pub(crate) fn decides(&mut self, old: Option<Duration>, new: Option<Duration>, now: Instant) -> bool {
        self.late = 0;
        self.not_before = Some(now + self.pause);
        self.pause = (self.pause * 2).min(PAUSES.1);
        match (old, new) {
            (_, None) => false,
            (None, Some(new)) => new <= LATE,
            (Some(old), Some(new)) => old > LATE && old > new * TIMES,
        }
    }

    fn may_compare(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|moment| now >= moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn late_connection_is_suspected_and_comparisons_become_rare() {
        let (mut watchdog, mut now) = (Watchdog::new(), Instant::now());
        assert_eq!(watchdog.pause(now), HEARTBEAT);
        assert!(!watchdog.suspects(ms(500), now), "once may be chance");
        assert_eq!(watchdog.pause(now), CLOSER);
        assert!(!watchdog.suspects(ms(1), now) && !watchdog.suspects(ms(500), now), "not in a row");
        assert!(watchdog.suspects(ms(500), now));
        assert!(!watchdog.decides(Some(ms(500)), Some(ms(450)), now), "the whole store is slow");
        for pause in [5, 10, 20, 40, 80, 160, 300, 300] {
            assert_eq!(watchdog.pause(now), HEARTBEAT);
            let start = now;
            while !watchdog.suspects(ms(500), now) {
                now += watchdog.pause(now);
            }
            assert_eq!((now - start).as_secs(), pause);
            assert!(!watchdog.decides(Some(ms(500)), None, now), "the new one is no better");
        }
        now += PAUSES.1;
        assert!(!watchdog.suspects(ms(1), now));
        assert!(!watchdog.suspects(ms(500), now) && watchdog.suspects(ms(500), now));
        watchdog.decides(Some(ms(500)), Some(ms(1)), now);
        assert!(!watchdog.may_compare(now) && watchdog.may_compare(now + PAUSES.0), "a prompt answer makes it young");
    }

    #[test]
    fn only_a_much_faster_connection_takes_over() {
        for (old, new, better) in [
            (Some(ms(500)), Some(ms(1)), true),
            (Some(ms(100)), Some(ms(24)), true),
            (Some(ms(100)), Some(ms(26)), false),
            (Some(ms(19)), Some(ms(1)), false),
            (None, Some(ms(20)), true),
            (None, Some(ms(900)), false),
            (Some(ms(500)), None, false),
            (None, None, false),
        ] {
            assert_eq!(Watchdog::new().decides(old, new, Instant::now()), better, "{old:?} against {new:?}");
        }
    }
}
