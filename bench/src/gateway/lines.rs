//! Figures of each kind of request.

use std::time::Duration;

use serde::Serialize;

use super::kind::Kind;
use super::turn::Turn;
use crate::closed::Row as _;
use crate::numbers::{Latencies, Percentiles};

/// Turns of a kind.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    #[serde(skip)]
    pub(super) kind: Kind,
    pub(super) row: &'static str,
    pub(super) has_body: Option<bool>,
    pub(super) shipped: Side,
    pub(super) plain: Side,
    pub(super) cost: Cost,
    rounds: Vec<Round>,
}

/// Turns of one configuration.
#[derive(Debug, Serialize)]
pub(super) struct Side {
    pub(super) requests_per_second: f64,
    pub(super) latency_us: Percentiles,
    /// CPU a request.
    pub(super) envoy_cpu_us: f64,
    pub(super) guard_cpu_us: f64,
    /// Questions to the guard.
    pub(super) asked: u64,
    pub(super) failed: u64,
    pub(super) failure: Option<String>,
    #[serde(skip)]
    sums: Sums,
}

#[derive(Debug)]
struct Sums {
    latencies: Latencies,
    elapsed: Duration,
    cpu: [Duration; 2],
}

/// CPU a request in one round, of both processes of a gateway, in microseconds: two gateways of each configuration.
#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    shipped_cpu_us: [f64; 2],
    plain_cpu_us: [f64; 2],
}

/// Price of the guard.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Cost {
    /// Microseconds of CPU a request, over all rounds, and the lowest and highest of single ones.
    pub(super) micros: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// Difference of two gateways of the same configuration in a round: the root of the mean square.
    pub(super) spread: f64,
}

// === impl Line ===

impl Line {
    pub(super) fn new(kind: Kind) -> Line {
        let (shipped, plain) = (Side::new(), Side::new());
        Line {
            kind,
            row: kind.label(),
            has_body: kind.has_body(),
            shipped,
            plain,
            cost: Cost::default(),
            rounds: Vec::new(),
        }
    }

    /// Adds a round: the turns of two gateways of the shipped configuration, then of two without the guard.
    pub(super) fn add(&mut self, turns: [Turn; 4]) {
        let cpu = turns.each_ref().map(Turn::cpu_us);
        self.rounds.push(Round { shipped_cpu_us: [cpu[0], cpu[1]], plain_cpu_us: [cpu[2], cpu[3]] });
        let [one, two, three, four] = turns;
        self.shipped.add(one);
        self.shipped.add(two);
        self.plain.add(three);
        self.plain.add(four);
        self.cost = self.cost();
    }

    fn cost(&self) -> Cost {
        let micros = self.shipped.cpu_us() - self.plain.cpu_us();
        let rounds = || self.rounds.iter().map(Round::difference);
        let squares: Vec<f64> = self.rounds.iter().flat_map(Round::squares).collect();
        Cost {
            micros,
            low: rounds().fold(f64::INFINITY, f64::min),
            high: rounds().fold(f64::NEG_INFINITY, f64::max),
            spread: (squares.iter().sum::<f64>() / squares.len().max(1) as f64).sqrt(),
        }
    }
}

// === impl Side ===

impl Side {
    fn new() -> Side {
        let latencies = Latencies::new();
        Side {
            requests_per_second: 0.0,
            latency_us: latencies.percentiles(),
            envoy_cpu_us: 0.0,
            guard_cpu_us: 0.0,
            asked: 0,
            failed: 0,
            failure: None,
            sums: Sums { latencies, elapsed: Duration::ZERO, cpu: [Duration::ZERO; 2] },
        }
    }

    fn add(&mut self, turn: Turn) {
        let sums = &mut self.sums;
        sums.latencies.add(&turn.work.latencies);
        sums.elapsed += turn.elapsed;
        for (sum, cpu) in sums.cpu.iter_mut().zip(turn.cpu) {
            *sum += cpu;
        }
        self.asked += turn.asked;
        self.failed += turn.work.failed;
        self.failure = self.failure.take().or(turn.work.failure);
        self.latency_us = sums.latencies.percentiles();
        self.requests_per_second = self.latency_us.count as f64 / sums.elapsed.as_secs_f64();
        let requests = (self.latency_us.count + self.failed).max(1) as f64;
        [self.envoy_cpu_us, self.guard_cpu_us] = sums.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / requests);
    }

    fn cpu_us(&self) -> f64 {
        self.envoy_cpu_us + self.guard_cpu_us
    }
}

// === impl Round ===

impl Round {
    fn difference(&self) -> f64 {
        (self.shipped_cpu_us.iter().sum::<f64>() - self.plain_cpu_us.iter().sum::<f64>()) / 2.0
    }

    fn squares(&self) -> [f64; 2] {
        [self.shipped_cpu_us, self.plain_cpu_us].map(|[one, other]| (one - other).powi(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::closed::Work;

    /// 100 requests with so much CPU each.
    fn turn(envoy: u64, guard: u64) -> Turn {
        let mut work = Work::new();
        for _ in 0..100 {
            work.latencies.record(Duration::from_millis(1));
        }
        let cpu = [envoy, guard].map(|micros| Duration::from_micros(micros * 100));
        Turn { work, elapsed: Duration::from_secs(1), cpu, asked: 100 }
    }

    #[test]
    fn the_cost_is_that_of_both_processes() {
        let mut line = Line::new(Kind::Create);
        line.add([turn(300, 40), turn(320, 40), turn(200, 0), turn(200, 0)]);
        line.add([turn(310, 50), turn(310, 50), turn(210, 0), turn(190, 0)]);
        let cost = line.cost;
        assert!((cost.micros - 155.0).abs() < 0.01, "{cost:?}");
        assert!((cost.low - 150.0).abs() < 0.01 && (cost.high - 160.0).abs() < 0.01, "{cost:?}");
        // 20, 0, 0, 20.
        assert!((cost.spread - 200_f64.sqrt()).abs() < 0.01, "{cost:?}");
        assert_eq!((line.shipped.asked, line.shipped.latency_us.count), (400, 400));
        assert!((line.shipped.requests_per_second - 100.0).abs() < 0.01);
    }
}
