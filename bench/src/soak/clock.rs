//! Part of the run that calls are judged by, and the stalls of the machine.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Part of the run. Each has a number of its own, so that a call which begins and ends in the same part was in it throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before anything is judged.
    Warmup,
    /// Calm: 0 before the first fault, else the number of the fault before.
    Calm(usize),
    /// Something is.
    Fault(usize),
    /// Fault has ended, and the mesh has time to recover.
    Settle(usize),
}

/// Current part of the run, losses of the store, stalls of the machine.
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

/// Moment, as it counts for what begins then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) at: Instant,
    pub(super) phase: Phase,
    pub(super) epoch: u64,
    /// Reports whether a single instance is cut off, and has been for a second.
    pub(super) alone: bool,
}

/// Time between two looks at the machine.
const LOOK: Duration = Duration::from_millis(5);
/// Shortest delay that is a stall of the machine: half of the shortest wait of a service (100 ms for the store), so that a shorter one
/// makes no call fail.
pub(super) const STALL: Duration = Duration::from_millis(50);
/// Time until an instance that is cut off gets no calls.
const NOTICED: Duration = Duration::from_secs(1);
/// Stalls that are remembered: those of the longest fault and its calm part.
const REMEMBERED: usize = 4_000;

// === impl Phase ===

impl Phase {
    /// Number of the calm part, if it is one.
    pub(super) fn calm(self) -> Option<usize> {
        match self {
            Phase::Calm(number) => Some(number),
            Phase::Warmup | Phase::Fault(_) | Phase::Settle(_) => None,
        }
    }

    /// Number of the latest fault; 0 before the first.
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
        let at = Instant::now();
        Mark { at, phase: self.phase(), epoch: self.epoch.load(Ordering::SeqCst), alone: self.is_alone(at) }
    }

    /// Store begins to lose data, or has lost it.
    pub(super) fn lose(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that a single instance is cut off from the store, or no longer.
    pub(super) fn cut_off(&self, alone: bool) {
        *self.alone.lock() = alone.then(Instant::now);
    }

    fn is_alone(&self, at: Instant) -> bool {
        self.alone.lock().is_some_and(|since| at >= since + NOTICED)
    }

    /// Since the start of the run.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Number of the calm part that all of the time since `begin` was in.
    pub(super) fn calm_since(&self, begin: Mark) -> Option<usize> {
        begin.phase.calm().filter(|_| begin.phase == self.phase())
    }

    /// Reports whether the store has kept its data since `begin`.
    pub(super) fn kept_since(&self, begin: Mark) -> bool {
        begin.epoch.is_multiple_of(2) && begin.epoch == self.epoch.load(Ordering::SeqCst)
    }

    /// Longest stall of the machine that overlaps a call: it delayed a thread that slept for 5 ms, or the yardstick's round, and so perhaps
    /// the services. A stall is known once it has ended, so ask a while after the call.
    pub(super) fn stalled(&self, from: Instant, to: Instant) -> Duration {
        let stalls = self.stalls.lock();
        let within = stalls.iter().filter(|(begin, end)| *end >= from && *begin <= to);
        within.map(|(begin, end)| *end - *begin).max().unwrap_or_default()
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
        if after - before >= STALL {
            self.note_stall(before, after);
        }
    }

    /// Machine stood still from one moment to the other.
    pub(super) fn note_stall(&self, from: Instant, to: Instant) {
        let mut stalls = self.stalls.lock();
        // Each core and the yardstick may report the same stall.
        let known = stalls.back().is_some_and(|(_, end)| *end >= from);
        self.stalled.fetch_add(u64::from(!known), Ordering::Relaxed);
        if stalls.len() >= REMEMBERED {
            stalls.pop_front();
        }
        stalls.push_back((from, to));
    }

    /// Number of stalls.
    pub(super) fn stalls(&self) -> u64 {
        self.stalled.load(Ordering::Relaxed)
    }
}

// === impl Mark ===

impl Mark {
    #[cfg(test)]
    pub(super) fn calm() -> Mark {
        Mark { at: Instant::now(), phase: Phase::Calm(0), epoch: 0, alone: false }
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
        assert!(!clock.is_alone(now + NOTICED * 2));
        clock.cut_off(true);
        assert!(!clock.is_alone(now + NOTICED / 2) && clock.is_alone(now + NOTICED * 2));
        clock.cut_off(false);
        assert!(!clock.is_alone(now + NOTICED * 2));
    }

    #[test]
    fn a_stall_is_found_by_calls_that_it_overlaps() {
        let clock = Clock::new();
        let (now, long) = (Instant::now(), Duration::from_millis(80));
        clock.note_sleep(now, now + LOOK);
        let (early, later) = (now.checked_sub(long * 2).unwrap(), now + long * 2);
        assert_eq!(clock.stalled(now, now + LOOK), Duration::ZERO);
        clock.note_sleep(now, now + long);
        assert_eq!(clock.stalled(early, now + LOOK), long);
        assert_eq!(clock.stalled(early, early + LOOK), Duration::ZERO);
        assert_eq!(clock.stalled(later, later + LOOK), Duration::ZERO);
        clock.note_stall(now + long / 2, now + long);
        assert_eq!(clock.stalls(), 1);
    }
}
