//! What is known, and since when it is known to be all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyplane_revocation::{Answer, Claims, Entry, Filters, Millis, Replica, Rules};

/// A replica and its age.
pub(super) struct Memory {
    replica: Replica,
    birth: Instant,
    /// Nanoseconds from `birth` to the moment as of which all is known, and one more; 0 if there is no such moment.
    known_at: AtomicU64,
}

// === impl Memory ===

impl Memory {
    pub(super) fn new(rules: Rules, filters: Filters) -> Memory {
        Memory { replica: Replica::new(rules, filters), birth: Instant::now(), known_at: AtomicU64::new(0) }
    }

    pub(super) fn rules(&self) -> &Rules {
        self.replica.rules()
    }

    /// Takes an entry in; whether that changed anything.
    pub(super) fn apply(&self, entry: &Entry) -> bool {
        self.replica.apply(entry)
    }

    /// Forgets what has expired.
    pub(super) fn prune(&self, now: Millis) {
        self.replica.prune(now);
    }

    /// All that was acknowledged before `moment` is applied. A moment before this memory was made says nothing: the next
    /// one comes at once.
    pub(super) fn date(&self, moment: Instant) {
        if let Some(since) = moment.checked_duration_since(self.birth) {
            let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX - 1);
            self.known_at.fetch_max(nanos.saturating_add(1), Ordering::Release);
        }
    }

    /// The moment before which all that was acknowledged is known.
    pub(super) fn known_at(&self) -> Option<Instant> {
        let nanos = self.known_at.load(Ordering::Acquire).checked_sub(1)?;
        self.birth.checked_add(Duration::from_nanos(nanos))
    }

    /// Judges a token by what is known, however old.
    pub(super) fn check(&self, claims: &Claims<'_>, now: Millis) -> Answer {
        self.replica.check(claims, now)
    }

    /// The same, unless it is older than `bound`. The age is that of what was looked at, so it is loaded first; and it
    /// is counted up to the very end, since the process may be paused in between.
    pub(super) fn answer(
        &self,
        claims: &Claims<'_>,
        now: Millis,
        bound: Duration,
        clock: impl Fn() -> Instant,
    ) -> Option<Answer> {
        let known_at = self.known_at()?;
        let answer = self.check(claims, now);
        (clock().saturating_duration_since(known_at) <= bound).then_some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_millis(100);
    const NOW: Millis = Millis(1_700_000_000_000);

    fn memory() -> Memory {
        let (max_lifetime, leeway) = (Duration::from_hours(24), Duration::from_secs(30));
        let rules = Rules { max_lifetime, leeway, issuer_skew: Duration::ZERO };
        Memory::new(rules, Filters { false_positives: 0.01, bucket: Duration::from_hours(1) })
    }

    fn claims() -> Claims<'static> {
        Claims { tenant: "acme", issuer: "i", jti: "j", expires: Some(Millis(NOW.0 + 60_000)), ..Claims::default() }
    }

    #[test]
    fn it_answers_up_to_the_bound_and_no_longer() {
        let memory = memory();
        let answer = |clock| memory.answer(&claims(), NOW, BOUND, || clock);
        assert_eq!(answer(memory.birth), None, "nothing is known yet");
        let known_at = memory.birth + Duration::from_secs(1);
        memory.date(known_at);
        assert_eq!(memory.known_at(), Some(known_at));
        assert_eq!(answer(known_at + BOUND), Some(Answer::Active));
        assert_eq!(answer(known_at + BOUND + Duration::from_nanos(1)), None);
        memory.date(known_at - BOUND);
        assert_eq!(memory.known_at(), Some(known_at), "it gets no older");
    }

    #[test]
    fn a_process_that_is_paused_during_a_check_does_not_answer() {
        let memory = memory();
        let fresh = Instant::now();
        memory.date(fresh);
        // Paused after the lookup: only a clock that is read at the end knows.
        assert_eq!(memory.answer(&claims(), NOW, BOUND, || fresh + Duration::from_millis(504)), None);
        assert_eq!(memory.answer(&claims(), NOW, BOUND, || fresh), Some(Answer::Active));
    }

    #[test]
    fn a_moment_before_its_birth_makes_nothing_known() {
        let memory = memory();
        let before = memory.birth.checked_sub(Duration::from_millis(5)).expect("this machine runs for longer");
        memory.date(before);
        assert_eq!(memory.known_at(), None);
    }
}
