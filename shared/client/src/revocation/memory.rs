//! Revocations in memory, and the moment up to which they are complete.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyplane_revocation::{Answer, Claims, Filters, Millis, Replica, Rules};

/// Replica with its age.
pub(super) struct Memory {
    pub(super) replica: Replica,
    birth: Instant,
    /// Nanoseconds from `birth` to the moment up to which memory is complete, plus one; 0 without one.
    known_at: AtomicU64,
}

// === impl Memory ===

impl Memory {
    pub(super) fn new(rules: Rules, filters: Filters) -> Memory {
        Memory { replica: Replica::new(rules, filters), birth: Instant::now(), known_at: AtomicU64::new(0) }
    }

    /// Notes that memory is complete up to `moment`. A moment before this memory was made is ignored: the next one comes at
    /// once.
    pub(super) fn date(&self, moment: Instant) {
        if let Some(since) = moment.checked_duration_since(self.birth) {
            let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX - 1);
            self.known_at.fetch_max(nanos.saturating_add(1), Ordering::Release);
        }
    }

    /// Moment up to which memory has all acknowledged revocations.
    pub(super) fn known_at(&self) -> Option<Instant> {
        let nanos = self.known_at.load(Ordering::Acquire).checked_sub(1)?;
        self.birth.checked_add(Duration::from_nanos(nanos))
    }

    /// Checks a token; `None` if memory is older than `bound`. The age is loaded before the look-up, and counted to its end:
    /// the process may be paused in between.
    pub(super) fn answer(
        &self,
        claims: &Claims<'_>,
        now: Millis,
        bound: Duration,
        clock: impl Fn() -> Instant,
    ) -> Option<Answer> {
        let known_at = self.known_at()?;
        let answer = self.replica.check(claims, now);
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
    fn memory_answers_up_to_the_bound() {
        let memory = memory();
        let answer = |clock| memory.answer(&claims(), NOW, BOUND, || clock);
        assert_eq!(answer(memory.birth), None, "memory is not complete yet");
        let known_at = memory.birth + Duration::from_secs(1);
        memory.date(known_at);
        assert_eq!(memory.known_at(), Some(known_at));
        assert_eq!(answer(known_at + BOUND), Some(Answer::Active));
        assert_eq!(answer(known_at + BOUND + Duration::from_nanos(1)), None);
        memory.date(known_at - BOUND);
        assert_eq!(memory.known_at(), Some(known_at), "the moment never goes back");
    }

    #[test]
    fn process_paused_during_a_check_does_not_answer() {
        let memory = memory();
        let fresh = Instant::now();
        memory.date(fresh);
        // Paused after the lookup: only a clock that is read at the end knows.
        assert_eq!(memory.answer(&claims(), NOW, BOUND, || fresh + Duration::from_millis(504)), None);
        assert_eq!(memory.answer(&claims(), NOW, BOUND, || fresh), Some(Answer::Active));
    }

    #[test]
    fn moment_before_birth_is_ignored() {
        let memory = memory();
        let before = memory.birth.checked_sub(Duration::from_millis(5)).expect("this machine runs for longer");
        memory.date(before);
        assert_eq!(memory.known_at(), None);
    }
}
