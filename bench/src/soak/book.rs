//! Record of a part of a run, which all callers write to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::clock::{Clock, STALL};
use super::ledger::{Invariant, Ledger};
use super::outcome::Failure;
use super::plan::label_of;
use super::samples::Samples;

/// Clock, the accounts, the latencies.
pub(super) struct Book {
    pub(super) clock: Clock,
    pub(super) ledger: Ledger,
    pub(super) samples: Samples,
    /// Descriptions of the faults, by number; the first stands for the baseline.
    faults: Mutex<Vec<String>>,
    calls: AtomicU64,
    /// Findings on timed invariants that are not judged yet.
    pending: Mutex<Vec<Finding>>,
    /// Rounds of the yardstick since findings were judged last, and those that were held up.
    rounds: Mutex<[u64; 2]>,
    /// Calm parts, and those in which the machine was too busy.
    parts: [AtomicU64; 2],
    failures: Mutex<BTreeMap<String, u64>>,
}

/// Finding that is judged at the end of its part, when all stalls of the machine are known.
struct Finding {
    invariant: Invariant,
    fault: String,
    counter_example: Option<String>,
    call: Option<Span>,
}

/// Call that a finding is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: Instant,
    pub(super) to: Instant,
    /// Shortest stall that explains the finding; 0: any.
    pub(super) excess: Duration,
}

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
            rounds: Mutex::default(),
            parts: [AtomicU64::new(0), AtomicU64::new(0)],
            failures: Mutex::default(),
        }
    }

    /// Notes that an invariant was looked at; the counter-example, if it did not hold. Of a timed one it counts once the part has
    /// ended, if the machine was not too busy.
    pub(super) fn hold(&self, invariant: Invariant, counter_example: impl FnOnce() -> Option<String>) {
        self.find(invariant, None, counter_example());
    }

    /// Notes a look at a timed invariant for a call: a stall of the machine during the call excuses it.
    pub(super) fn hold_call(&self, invariant: Invariant, call: Span, counter_example: impl FnOnce() -> Option<String>) {
        self.find(invariant, Some(call), counter_example());
    }

    fn find(&self, invariant: Invariant, call: Option<Span>, counter_example: Option<String>) {
        let phase = self.clock.phase();
        let fault = self.faults.lock().get(phase.number()).cloned().unwrap_or_default();
        let at = self.clock.elapsed().as_secs_f64();
        let counter_example =
            counter_example.map(|text| format!("at {at:.1} s, {} after {fault}: {text}", phase.word()));
        let finding = Finding { invariant, fault, counter_example, call };
        match invariant.is_timed() {
            true => self.pending.lock().push(finding),
            false => self.note(finding),
        }
    }

    fn note(&self, finding: Finding) {
        self.ledger.note(finding.invariant, label_of(&finding.fault), finding.counter_example);
    }

    /// Round of the yardstick, from `from` until now. One that was held up says that the machine stood still.
    pub(super) fn round(&self, from: Instant) {
        let now = Instant::now();
        let held_up = now - from >= STALL;
        if held_up {
            self.clock.note_stall(from, now);
        }
        let mut rounds = self.rounds.lock();
        *rounds = [rounds[0] + 1, rounds[1] + u64::from(held_up)];
    }

    /// Reports whether the machine was too busy for times to count since the last judgement: more than two of a hundred rounds of
    /// the yardstick were held up.
    pub(super) fn is_busy(&self) -> bool {
        let [all, held_up] = *self.rounds.lock();
        held_up * 50 > all
    }

    /// Calm part has ended, on a machine that was too `busy` for what was found in it to count, or not.
    pub(super) fn close(&self, busy: bool) {
        self.parts[0].fetch_add(1, Ordering::Relaxed);
        self.parts[1].fetch_add(u64::from(busy), Ordering::Relaxed);
        self.judge(busy);
    }

    /// Judges what was found since the last time, on a machine that was too `busy` for it to count, or not.
    pub(super) fn judge(&self, busy: bool) {
        *self.rounds.lock() = [0, 0];
        let pending = std::mem::take(&mut *self.pending.lock());
        for finding in pending {
            let excuse = if busy { Some("the machine was busy".to_owned()) } else { self.stall_of(&finding) };
            match (excuse, &finding.counter_example) {
                (Some(excuse), Some(text)) => self.ledger.excuse(finding.invariant, format!("{text}; {excuse}")),
                (Some(_), None) if busy => {}
                (_, None) | (None, _) => self.note(finding),
            }
        }
    }

    /// Forgets what was found since findings were judged last: the run ends in the middle of a part.
    pub(super) fn discard(&self) {
        self.pending.lock().clear();
        *self.rounds.lock() = [0, 0];
    }

    /// Stall of the machine during the call that is long enough to explain the finding.
    fn stall_of(&self, finding: &Finding) -> Option<String> {
        let Span { from, to, excess } = finding.call?;
        let stalled = self.clock.stalled(from, to);
        (!stalled.is_zero() && stalled >= excess)
            .then(|| format!("the machine stood still for {stalled:.0?} meanwhile"))
    }

    /// Calm parts, and those in which the machine was too busy.
    pub(super) fn parts(&self) -> [u64; 2] {
        [0, 1].map(|which| self.parts[which].load(Ordering::Relaxed))
    }

    /// Notes the outcome of a model.
    pub(super) fn check(&self, invariant: Invariant, outcome: Result<(), String>) {
        self.hold(invariant, || outcome.err());
    }

    /// Fault begins; its number.
    pub(super) fn begin_fault(&self, label: String) -> usize {
        let mut faults = self.faults.lock();
        faults.push(label);
        faults.len() - 1
    }

    /// Fault has ended; its description takes the place of the label.
    pub(super) fn end_fault(&self, number: usize, description: &str) {
        if let Some(fault) = self.faults.lock().get_mut(number) {
            description.clone_into(fault);
        }
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

    /// Failures by reason.
    pub(super) fn failures(&self) -> BTreeMap<String, u64> {
        self.failures.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::clock::Phase;

    #[test]
    fn a_busy_machine_is_seen_and_a_busy_moment_is_none() {
        let (book, now) = (Book::new(), Instant::now());
        let slow = now.checked_sub(STALL * 2).unwrap();
        (0..98).for_each(|_| book.round(Instant::now()));
        (0..2).for_each(|_| book.round(slow));
        assert!(!book.is_busy() && !book.clock.stalled(now, now).is_zero());
        book.round(slow);
        assert!(book.is_busy());
        book.close(true);
        assert!(!book.is_busy());
    }

    #[test]
    fn busy_machine_excuses_timed_invariants_only() {
        let book = Book::new();
        for busy in [true, false] {
            book.check(Invariant::Calm, Err("late".to_owned()));
            book.check(Invariant::Bound, Err("over".to_owned()));
            book.close(busy);
        }
        let [calm, bound] = [Invariant::Calm, Invariant::Bound].map(|one| book.ledger.account(one));
        assert_eq!((calm.broken, calm.excused, bound.broken, bound.excused), (1, 1, 2, 0));
        assert!(calm.first_excused.unwrap().ends_with("late; the machine was busy"));
        assert_eq!(book.parts(), [2, 1]);
    }

    #[test]
    fn a_stall_that_is_noticed_after_the_call_excuses_it() {
        let (book, from) = (Book::new(), Instant::now());
        let (to, fail) = (from + STALL * 2, || Some("late".to_owned()));
        book.hold_call(Invariant::Calm, Span { from, to, excess: Duration::ZERO }, fail);
        book.hold_call(Invariant::Deadline, Span { from, to, excess: STALL * 4 }, fail);
        book.hold_call(
            Invariant::Calm,
            Span { from: to + STALL * 2, to: to + STALL * 3, excess: Duration::ZERO },
            fail,
        );
        book.hold_call(Invariant::Calm, Span { from, to, excess: Duration::ZERO }, || None);
        // The caller heard of the failure before the stalled thread woke.
        book.clock.note_stall(from + STALL, to + STALL);
        book.close(false);
        let [calm, deadline] = [Invariant::Calm, Invariant::Deadline].map(|one| book.ledger.account(one));
        assert_eq!((calm.checks, calm.broken, calm.excused, deadline.broken), (2, 1, 1, 1));
        assert!(calm.first_excused.unwrap().ends_with("late; the machine stood still for 100ms meanwhile"));
    }

    #[test]
    fn the_end_of_a_run_is_no_busy_part() {
        let book = Book::new();
        book.check(Invariant::Calm, Err("stopped".to_owned()));
        book.discard();
        book.judge(false);
        assert_eq!((book.ledger.broken(), book.ledger.account(Invariant::Calm).excused, book.parts()), (0, 0, [0, 0]));
    }

    #[test]
    fn a_fault_is_described_and_counted_by_its_label() {
        let book = Book::new();
        let number = book.begin_fault("delay".to_owned());
        book.clock.enter(Phase::Settle(number));
        book.end_fault(number, "delay: session 1, 0.1s");
        book.check(Invariant::Bound, Err("over".to_owned()));
        let account = book.ledger.account(Invariant::Bound);
        assert!(account.first.unwrap().contains("recovery after delay: session 1, 0.1s: over"));
        assert_eq!(account.by_fault["delay"], 1);
    }
}
