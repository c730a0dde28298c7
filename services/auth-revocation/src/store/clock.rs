use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use keyplane_revocation::Millis;

/// How long a reply may be on its way, in ms, WAIT included.
const LATE: i64 = 1000;

/// What the store's clock shows, as far as this instance knows: its own clock, put right by each reply.
///
/// Nothing is decided by it: scripts read the clock themselves, and refuse keys that follow from a wrong idea of it.
#[derive(Debug)]
pub(super) struct Clock {
    /// By how many ms the store's is ahead; `UNKNOWN` before the first reply.
    ahead: AtomicI64,
}

const UNKNOWN: i64 = i64::MIN;

// === impl Clock ===

impl Default for Clock {
    fn default() -> Clock {
        Clock { ahead: AtomicI64::new(UNKNOWN) }
    }
}

impl Clock {
    pub(super) fn now(&self) -> Millis {
        let ahead = self.ahead.load(Ordering::Relaxed);
        Millis(if ahead == UNKNOWN { own() } else { own().saturating_add(ahead) })
    }

    /// Takes in what the store's clock showed a moment ago. A reply that was long on its way makes it seem to be behind, so
    /// a little of that is not believed.
    pub(super) fn heard(&self, now: Millis) {
        let (seen, known) = (now.0.saturating_sub(own()), self.ahead.load(Ordering::Relaxed));
        if seen > known || seen < known.saturating_sub(LATE) {
            self.ahead.store(seen, Ordering::Relaxed);
        }
    }

    /// The same, where the idea so far has turned out to be wrong.
    pub(super) fn corrected(&self, now: Millis) {
        self.ahead.store(now.0.saturating_sub(own()), Ordering::Relaxed);
    }
}

fn own() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_reply_is_not_taken_for_a_clock_that_is_behind() {
        let clock = Clock::default();
        let shift = |ms: i64| Millis(own() + ms);
        let ahead = |clock: &Clock| clock.now().0 - own();
        clock.heard(shift(-5000));
        assert!((-5100..=-4900).contains(&ahead(&clock)), "the first reply is all that is known");
        clock.heard(shift(-5500));
        assert!(ahead(&clock) >= -5100, "half a second may be the way");
        clock.heard(shift(-9000));
        assert!((-9100..=-8900).contains(&ahead(&clock)), "four seconds are not");
        clock.corrected(shift(-9300));
        assert!(ahead(&clock) <= -9200, "whoever was wrong believes");
        clock.heard(shift(0));
        assert!((-100..=100).contains(&ahead(&clock)), "no reply comes too early");
    }
}
