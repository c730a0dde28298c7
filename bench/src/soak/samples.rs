//! Latencies of each kind of call in each calm part, and whether they are as before.

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use super::outcome::Kind;

/// Latencies of the successful calls of all calm parts.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// Series by part and kind.
    parts: Mutex<BTreeMap<(usize, Kind), Series>>,
}

/// Microseconds that each call took, in the order of their ends.
type Series = Vec<u32>;

/// Figures of a part, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Figures {
    pub(super) count: usize,
    pub(super) p50: u32,
    /// Stands for p99 after a fault: of a hundred calls, two that are slow are no news where one is expected, and four
    /// are.
    #[serde(skip)]
    p97: u32,
    pub(super) p99: u32,
}

/// Percentile of a kind of call in calm parts after a fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) tail: bool,
    /// Each half has enough calls for a p50 of its own.
    steady: bool,
    /// Microseconds before the first fault, and in each half of the part, with the allowed maximum.
    pub(super) before: u32,
    pub(super) halves: [(u32, u32); 2],
}

/// Calls without which nothing is said of a p50, and of a p99.
const ENOUGH: [usize; 2] = [20, 100];
/// Allowed growth of a figure: the larger of the two.
const TIMES: f64 = 1.5;
const PLUS: f64 = 1_000.0;
/// P99 of a few hundred calls on two cores that run 25 programs is as much the scheduler's as the services': it may be
/// this much more.
const TAIL: f64 = 20_000.0;

// === impl Samples ===

impl Samples {
    pub(super) fn record(&self, part: usize, kind: Kind, latency: Duration) {
        let micros = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        self.parts.lock().entry((part, kind)).or_default().push(micros);
    }

    pub(super) fn figures(&self, part: usize, kind: Kind) -> Figures {
        Figures::new(&self.series(&(part..=part), kind))
    }

    /// Holds parts against part 0, each kind of which there are enough calls in both. The slowness of the machine
    /// itself, as the yardstick shows it, is allowed for. Kinds with too few calls in one part are judged over all
    /// parts together.
    pub(super) fn compare(&self, parts: impl RangeBounds<usize>) -> Vec<Finding> {
        let control = self.figures(0, Kind::Control);
        let noise = self.halves(&parts, Kind::Control);
        let mut findings = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Control) {
            let (before, halves) = (self.figures(0, kind), self.halves(&parts, kind));
            let count = before.count.min(halves[0].count + halves[1].count);
            for tail in [false, true] {
                let figure = |figures: Figures| if tail { figures.p99 } else { figures.p50 };
                let half = |half: usize| {
                    let slower = ratio(figure(noise[half]), figure(control));
                    let most = allowance(figure(before)) * slower + if tail { TAIL } else { 0.0 };
                    (if tail { halves[half].p97 } else { halves[half].p50 }, most as u32)
                };
                if count >= ENOUGH[usize::from(tail)] {
                    let (halves, steady) = ([half(0), half(1)], count >= ENOUGH[1]);
                    findings.push(Finding { kind, tail, steady, before: figure(before), halves });
                }
            }
        }
        findings
    }

    /// Forgets a part, which is played again.
    pub(super) fn forget(&self, part: usize) {
        self.parts.lock().retain(|(other, _), _| *other != part);
    }

    /// Calls after all faults together.
    pub(super) fn later(&self, kind: Kind) -> Figures {
        Figures::new(&self.series(&(1..), kind))
    }

    fn series(&self, parts: &impl RangeBounds<usize>, kind: Kind) -> Series {
        let all = self.parts.lock();
        let wanted = all.iter().filter(|((part, other), _)| *other == kind && parts.contains(part));
        wanted.flat_map(|(_, series)| series.iter().copied()).collect()
    }

    fn halves(&self, parts: &impl RangeBounds<usize>, kind: Kind) -> [Figures; 2] {
        let all = self.series(parts, kind);
        let (first, second) = all.split_at(all.len() / 2);
        [first, second].map(Figures::new)
    }
}

// === impl Finding ===

impl Finding {
    /// Tail is worse if it is so in both halves of the part: a moment makes one. It moves no p50, which is held in each
    /// half.
    pub(super) fn holds(&self) -> bool {
        let mut halves = self.halves.iter().map(|(is, most)| is <= most);
        if self.steady && !self.tail { halves.all(|holds| holds) } else { halves.any(|holds| holds) }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = |micros: u32| f64::from(micros) / 1e3;
        let ([(first, most_first), (second, most_second)], before) = (self.halves, millis(self.before));
        let [first, most_first, second, most_second] = [first, most_first, second, most_second].map(millis);
        write!(
            f,
            "{} of {}: {before:.2} ms before; then {first:.2} ms where {most_first:.2} may be, and {second:.2} ms where {most_second:.2} may be",
            if self.tail { "p99 (97 of 100 calls)" } else { "p50" },
            self.kind.name()
        )
    }
}

// === impl Figures ===

impl Figures {
    fn new(micros: &[u32]) -> Figures {
        let mut sorted = micros.to_vec();
        sorted.sort_unstable();
        let at = |share: f64| {
            let place = (sorted.len() as f64 * share).ceil() as usize;
            sorted.get(place.saturating_sub(1)).copied().unwrap_or(0)
        };
        Figures { count: sorted.len(), p50: at(0.5), p97: at(0.97), p99: at(0.99) }
    }
}

fn allowance(base: u32) -> f64 {
    (f64::from(base) * TIMES).max(f64::from(base) + PLUS)
}

/// At least 1.
fn ratio(now: u32, before: u32) -> f64 {
    (f64::from(now) / f64::from(before.max(1))).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Part 0 takes `before`, part 1 `first` and then `second`, in milliseconds; the machine's own calls take 1, and
    /// then `machine`. Returns whether p50 and p99 hold.
    fn compare(before: u64, first: u64, second: u64, machine: u64) -> Vec<bool> {
        let samples = Samples::default();
        let record = |part, kind, millis, count| {
            (0..count).for_each(|_| samples.record(part, kind, Duration::from_millis(millis)));
        };
        record(0, Kind::Control, 1, 200);
        record(1, Kind::Control, machine, 200);
        record(0, Kind::Get, before, 200);
        record(1, Kind::Get, first, 100);
        record(1, Kind::Get, second, 100);
        samples.compare(1..=1).iter().map(Finding::holds).collect()
    }

    #[test]
    fn lasting_slowness_is_found() {
        assert_eq!(compare(2, 450, 450, 1), [false, false]);
        assert_eq!(compare(10, 16, 16, 1), [false, true]);
        assert_eq!(compare(2, 3, 3, 1), [true, true]);
        assert_eq!(compare(10, 15, 15, 1), [true, true]);
    }

    #[test]
    fn a_moment_and_the_machine_are_allowed_for() {
        assert_eq!(compare(2, 450, 2, 1), [false, true], "seconds are more than a moment");
        assert_eq!(compare(2, 6, 6, 2), [true, true]);
        assert_eq!(compare(2, 7, 7, 2), [false, true]);
    }

    #[test]
    fn of_a_hundred_calls_three_may_be_slow() {
        let slow = |count: u64| {
            let samples = Samples::default();
            (0..200).for_each(|_| samples.record(0, Kind::Get, Duration::from_millis(2)));
            (0..200).for_each(|call| {
                let millis = if call % 100 < count { 400 } else { 2 };
                samples.record(1, Kind::Get, Duration::from_millis(millis));
            });
            samples.compare(1..=1).iter().map(Finding::holds).collect::<Vec<_>>()
        };
        assert_eq!((slow(3), slow(4)), (vec![true, true], vec![true, false]));
    }

    #[test]
    fn few_calls_are_not_judged() {
        let samples = Samples::default();
        for part in [0, 1] {
            samples.record(part, Kind::Get, Duration::from_secs(part as u64));
        }
        assert!(samples.compare(1..).is_empty());
    }

    #[test]
    fn of_a_rare_kind_all_parts_together_tell() {
        let samples = Samples::default();
        (0..30).for_each(|_| samples.record(0, Kind::Undo, Duration::from_millis(2)));
        for part in 1..=5 {
            (0..10).for_each(|_| samples.record(part, Kind::Undo, Duration::from_millis(450)));
            assert!(samples.compare(part..=part).is_empty());
        }
        let findings = samples.compare(1..);
        assert!(findings.len() == 1 && !findings[0].tail && !findings[0].holds(), "{findings:?}");
    }

    #[test]
    fn a_part_that_is_played_again_begins_anew() {
        let samples = Samples::default();
        samples.record(0, Kind::Get, Duration::from_secs(1));
        samples.forget(0);
        assert_eq!(samples.figures(0, Kind::Get).count, 0);
    }

    #[test]
    fn figures_are_percentiles() {
        let figures = Figures::new(&(1..=200).collect::<Vec<_>>());
        assert_eq!(figures, Figures { count: 200, p50: 100, p97: 194, p99: 198 });
        assert_eq!(Figures::new(&[]), Figures::default());
    }
}
