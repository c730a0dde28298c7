//! What part of the run it is, for calls to be judged by.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A part of the run. Each has a number of its own, so that a call which begins and ends in the same part was in it throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before anything is judged.
    Warmup,
    /// Nothing is wrong: 0 before the first fault, else the number of the fault before.
    Calm(usize),
    /// Something is.
    Fault(usize),
    /// The fault has ended, and the mesh has time to recover.
    Settle(usize),
}

/// The part of the run that it is now, and whether the store still has what it was given.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    phase: Mutex<Phase>,
    /// Odd while the store is losing data; grows by two with each loss.
    epoch: AtomicU64,
    /// Since when one instance alone is cut off from the store.
    alone: Mutex<Option<Instant>>,
    stalls: Mutex<VecDeque<(Instant, Instant)>>,
    stalled: AtomicU64,
}

/// A moment, as it counts for what begins then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) at: Instant,
    pub(super) phase: Phase,
    pub(super) epoch: u64,
}

/// How often the machine is looked at, and from when on a delay of that look counts.
const LOOK: Duration = Duration::from_millis(5);
const STALL: Duration = Duration::from_millis(25);
/// How long it may take until an instance that is cut off gets no calls.
const NOTICED: Duration = Duration::from_secs(1);
/// Stalls that are remembered: those of more than the longest call.
const REMEMBERED: usize = 1_000;

// === impl Phase ===

impl Phase {
    /// The number of the calm part, if it is one.
    pub(super) fn calm(self) -> Option<usize> {
        match self {
            Phase::Calm(number) => Some(number),
            Phase::Warmup | Phase::Fault(_) | Phase::Settle(_) => None,
        }
    }

    /// The number of the latest fault; 0 before the first.
    pub(super) fn number(self) -> usize {
        match self {
            Phase::Warmup => 0,
            Phase::Calm(number) | Phase::Fault(number) | Phase::Settle(number) => number,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Phase::Warmup => "start",
            Phase::Calm(_) => "calm",
            Phase::Fault(_) => "fault",
            Phase::Settle(_) => "recovery",
        }
    }
}

// === impl Clock ===

impl Clock {
    pub(super) fn new() -> Clock {
        Clock {
            start: Instant::now(),
            phase: Mutex::new(Phase::Warmup),
            epoch: AtomicU64::new(0),
            alone: Mutex::default(),
            stalls: Mutex::default(),
            stalled: AtomicU64::new(0),
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        *self.phase.lock() = phase;
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.lock()
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { at: Instant::now(), phase: self.phase(), epoch: self.epoch.load(Ordering::SeqCst) }
    }

    /// The store begins to lose data, or has lost it.
    pub(super) fn lose(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// One instance alone is cut off from the store, or no longer.
    pub(super) fn cut_off(&self, alone: bool) {
        *self.alone.lock() = alone.then(Instant::now);
    }

    /// Whether one instance alone is cut off, and has been since a second before `begin`.
    pub(super) fn alone_since(&self, begin: Instant) -> bool {
        self.alone.lock().is_some_and(|since| begin >= since + NOTICED)
    }

    /// Since the start of the run.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The number of the calm part that all of the time since `begin` was in.
    pub(super) fn calm_since(&self, begin: Mark) -> Option<usize> {
        begin.phase.calm().filter(|_| begin.phase == self.phase())
    }

    /// Whether the store has kept its data since `begin`.
    pub(super) fn kept_since(&self, begin: Mark) -> bool {
        begin.epoch.is_multiple_of(2) && begin.epoch == self.epoch.load(Ordering::SeqCst)
    }

    /// The longest time, that reaches into `begin` to now, for which the machine stood still: it let a thread wait that only wanted to
    /// sleep for 5 ms, or the yardstick's call. What was slow then need not be the services' fault.
    pub(super) fn stalled_since(&self, begin: Instant) -> Duration {
        let stalls = self.stalls.lock();
        let recent = stalls.iter().filter(|(_, end)| *end >= begin);
        recent.map(|(from, to)| *to - *from).max().unwrap_or_default()
    }

    /// Notes stalls until `over` says so.
    pub(super) fn watch_machine(&self, over: impl Fn() -> bool) {
        while !over() {
            let before = Instant::now();
            std::thread::park_timeout(LOOK);
            self.note_sleep(before, Instant::now());
        }
    }

    fn note_sleep(&self, before: Instant, after: Instant) {
        if after - before >= LOOK + STALL {
            self.note_stall(before, after);
        }
    }

    /// The machine stood still from one moment to the other.
    pub(super) fn note_stall(&self, from: Instant, to: Instant) {
        self.stalled.fetch_add(1, Ordering::Relaxed);
        let mut stalls = self.stalls.lock();
        if stalls.len() >= REMEMBERED {
            stalls.pop_front();
        }
        stalls.push_back((from, to));
    }

    /// How often the machine stalled.
    pub(super) fn stalls(&self) -> u64 {
        self.stalled.load(Ordering::Relaxed)
    }
}

// === impl Mark ===

impl Mark {
    #[cfg(test)]
    pub(super) fn calm() -> Mark {
        Mark { at: Instant::now(), phase: Phase::Calm(0), epoch: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_calm_if_all_of_it_was() {
        let clock = Clock::new();
        clock.enter(Phase::Calm(1));
        let begin = clock.mark();
        assert_eq!(clock.calm_since(begin), Some(1));
        clock.enter(Phase::Fault(2));
        assert_eq!(clock.calm_since(begin), None);
        clock.enter(Phase::Calm(2));
        assert_eq!(clock.calm_since(begin), None);
        assert_eq!(clock.calm_since(clock.mark()), Some(2));
    }

    #[test]
    fn a_loss_voids_what_spans_it_or_begins_in_it() {
        let clock = Clock::new();
        let before = clock.mark();
        assert!(clock.kept_since(before));
        clock.lose();
        let during = clock.mark();
        assert!(!clock.kept_since(before) && !clock.kept_since(during));
        clock.lose();
        assert!(!clock.kept_since(before) && !clock.kept_since(during));
        assert!(clock.kept_since(clock.mark()));
    }

    #[test]
    fn an_instance_is_alone_from_a_second_after_it_was_cut_off_until_it_is_not() {
        let (clock, now) = (Clock::new(), Instant::now());
        assert!(!clock.alone_since(now + NOTICED * 2));
        clock.cut_off(true);
        assert!(!clock.alone_since(now + NOTICED / 2) && clock.alone_since(now + NOTICED * 2));
        clock.cut_off(false);
        assert!(!clock.alone_since(now + NOTICED * 2));
    }

    #[test]
    fn a_stall_is_found_by_whoever_was_in_flight() {
        let clock = Clock::new();
        let (now, long) = (Instant::now(), Duration::from_millis(80));
        clock.note_sleep(now, now + LOOK);
        assert_eq!(clock.stalled_since(now), Duration::ZERO);
        clock.note_sleep(now, now + long);
        assert_eq!(clock.stalled_since(now), long);
        assert_eq!(clock.stalled_since(now + long * 2), Duration::ZERO);
    }
}
