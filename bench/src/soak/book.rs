//! What all parts of a run write to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::call::Failure;
use super::clock::Clock;
use super::ledger::{Invariant, Ledger};
use super::samples::Samples;

/// The clock, the accounts, the latencies.
pub(super) struct Book {
    pub(super) clock: Clock,
    pub(super) ledger: Ledger,
    pub(super) samples: Samples,
    /// What the faults were, by number; the first is the baseline.
    faults: Mutex<Vec<String>>,
    calls: AtomicU64,
    /// What was found of timed invariants since the last calm part ended.
    pending: Mutex<Vec<(Invariant, String, Option<String>)>>,
    /// Counter-examples that are not held against the services, since the machine was busy.
    excused: AtomicU64,
    /// Rounds of the yardstick since the last calm part ended, and those that were held up.
    rounds: Mutex<[u64; 2]>,
    /// Calm parts, and those in which the machine was too busy.
    parts: [AtomicU64; 2],
    failures: Mutex<BTreeMap<String, u64>>,
}

/// A round of the yardstick takes a few milliseconds; one that takes so long was held up by something else.
const HELD_UP: Duration = Duration::from_millis(50);

// === impl Book ===

impl Book {
    pub(super) fn new() -> Book {
        Book {
            clock: Clock::new(),
            ledger: Ledger::default(),
            samples: Samples::default(),
            faults: Mutex::new(vec!["no fault yet".to_owned()]),
            calls: AtomicU64::new(0),
            pending: Mutex::default(),
            excused: AtomicU64::new(0),
            rounds: Mutex::default(),
            parts: [AtomicU64::new(0), AtomicU64::new(0)],
            failures: Mutex::default(),
        }
    }

    /// Notes that an invariant was looked at; the counter-example, if it did not hold. Of a timed one it counts at the end of the
    /// calm part, if the machine was not too busy.
    pub(super) fn hold(&self, invariant: Invariant, counter_example: impl FnOnce() -> Option<String>) {
        let phase = self.clock.phase();
        let fault = self.faults.lock().get(phase.number()).cloned().unwrap_or_default();
        let at = self.clock.elapsed().as_secs_f64();
        let text = counter_example().map(|text| format!("at {at:.1} s, {} after {fault}: {text}", phase.word()));
        match invariant.is_timed() {
            true => self.pending.lock().push((invariant, fault, text)),
            false => self.ledger.note(invariant, &fault, text),
        }
    }

    /// A round of the yardstick, from `from` until now. One that was held up says that the machine stood still.
    pub(super) fn round(&self, from: Instant) {
        let now = Instant::now();
        let held_up = now - from >= HELD_UP;
        if held_up {
            self.clock.note_stall(from, now);
        }
        let mut rounds = self.rounds.lock();
        *rounds = [rounds[0] + 1, rounds[1] + u64::from(held_up)];
    }

    /// Whether the machine was too busy since the last calm part for times to say anything: two of a hundred rounds of the yardstick
    /// were held up.
    pub(super) fn is_busy(&self) -> bool {
        let [all, held_up] = *self.rounds.lock();
        held_up * 50 > all
    }

    /// A calm part has ended, on a machine that was too `busy` for what was found since the last one to count, or not.
    pub(super) fn close(&self, busy: bool) {
        *self.rounds.lock() = [0, 0];
        self.parts[0].fetch_add(1, Ordering::Relaxed);
        self.parts[1].fetch_add(u64::from(busy), Ordering::Relaxed);
        let pending = std::mem::take(&mut *self.pending.lock());
        for (invariant, fault, text) in pending {
            match (busy, &text) {
                (true, Some(_)) => self.excuse(),
                (true, None) => {}
                (false, _) => self.ledger.note(invariant, &fault, text),
            }
        }
    }

    /// Calm parts, and those in which the machine was too busy.
    pub(super) fn parts(&self) -> [u64; 2] {
        [0, 1].map(|which| self.parts[which].load(Ordering::Relaxed))
    }

    /// The same for a model that says what is wrong.
    pub(super) fn check(&self, invariant: Invariant, outcome: Result<(), String>) {
        self.hold(invariant, || outcome.err());
    }

    /// A fault begins; its number.
    pub(super) fn begin_fault(&self, label: String) -> usize {
        let mut faults = self.faults.lock();
        faults.push(label);
        faults.len() - 1
    }

    pub(super) fn faults(&self) -> Vec<String> {
        self.faults.lock()[1..].to_vec()
    }

    pub(super) fn count(&self, failure: Option<&Failure>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(failure) = failure {
            *self.failures.lock().entry(failure.reason.clone()).or_default() += 1;
        }
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(super) fn excuse(&self) {
        self.excused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn excused(&self) -> u64 {
        self.excused.load(Ordering::Relaxed)
    }

    /// Failures by reason.
    pub(super) fn failures(&self) -> BTreeMap<String, u64> {
        self.failures.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_machine_is_seen_and_a_busy_moment_is_none() {
        let (book, now) = (Book::new(), Instant::now());
        let slow = now.checked_sub(HELD_UP * 2).unwrap();
        (0..98).for_each(|_| book.round(Instant::now()));
        (0..2).for_each(|_| book.round(slow));
        assert!(!book.is_busy() && !book.clock.stalled_since(now).is_zero());
        book.round(slow);
        assert!(book.is_busy());
        book.close(true);
        assert!(!book.is_busy());
    }

    #[test]
    fn what_a_busy_machine_breaks_is_excused_and_the_rest_is_not() {
        let book = Book::new();
        for busy in [true, false] {
            book.check(Invariant::Calm, Err("late".to_owned()));
            book.check(Invariant::Bound, Err("over".to_owned()));
            book.close(busy);
        }
        let broken = |invariant| book.ledger.account(invariant).broken;
        assert_eq!((broken(Invariant::Calm), broken(Invariant::Bound), book.excused()), (1, 2, 1));
        assert_eq!(book.parts(), [2, 1]);
    }
}
