//! Results of closed loops, row by row.

use std::time::Duration;

use serde::Serialize;

use super::{Row, Slice};
use crate::numbers::{Latencies, Percentiles, table};

/// Rows of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Lines {
    /// Share of the machine that neither the generator nor what it measured used.
    pub(crate) others_cpu: f64,
    /// Memory of the services at the end, in bytes.
    pub(crate) memory: u64,
    /// Memory of Valkey at the end, in bytes.
    pub(crate) used_memory: u64,
    pub(crate) rows: Vec<Line>,
}

/// Turns of a row.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) row: &'static str,
    pub(crate) calls_per_second: f64,
    pub(crate) latency_us: Percentiles,
    pub(crate) service_cpu_us: f64,
    pub(crate) valkey_cpu_us: f64,
    generator_cpu_us: f64,
    reply_bytes: u64,
    failed: u64,
    failure: Option<String>,
    limit: Option<&'static str>,
    rounds: Vec<Turn>,
    #[serde(skip)]
    sums: Sums,
}

/// Turn of a row.
#[derive(Clone, Copy, Debug, Serialize)]
struct Turn {
    calls_per_second: f64,
    p99_us: f64,
}

#[derive(Debug)]
struct Sums {
    latencies: Latencies,
    elapsed: Duration,
    cpu: [Duration; 3],
}

/// Ratio of two rows, over all rounds together, and the lowest and highest of single rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) all: f64,
    low: f64,
    high: f64,
}

// === impl Lines ===

impl Lines {
    pub(super) fn new<R: Row>(rows: &[R]) -> Lines {
        let rows = rows.iter().map(|row| Line::new(row.label(), row.limit().map(Row::label))).collect();
        Lines { others_cpu: 0.0, memory: 0, used_memory: 0, rows }
    }

    /// Adds a turn of a row.
    pub(super) fn add(&mut self, label: &str, slice: &Slice) {
        if let Some(line) = self.rows.iter_mut().find(|line| line.row == label) {
            line.add(slice);
        }
    }

    pub(crate) fn line(&self, label: &str) -> Option<&Line> {
        self.rows.iter().find(|line| line.row == label)
    }

    /// Row against its limit: throughput and p99. `None` unless both were measured.
    pub(crate) fn ratios(&self, label: &str) -> Option<(Ratio, Ratio)> {
        let line = self.line(label)?;
        let limit = self.line(line.limit?)?;
        let throughput =
            Ratio::of(line.calls_per_second, limit.calls_per_second, line, limit, |turn| turn.calls_per_second);
        let p99 = Ratio::of(line.latency_us.p99, limit.latency_us.p99, line, limit, |turn| turn.p99_us);
        Some((throughput, p99))
    }

    /// Markdown table.
    pub(crate) fn table(&self) -> String {
        let head = [
            "row",
            "calls/s",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "limit",
            "× calls/s",
            "× p99",
            "service CPU µs",
            "Valkey CPU µs",
            "reply B",
            "failed",
        ];
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|line| {
                let (throughput, p99) = match self.ratios(line.row) {
                    Some((throughput, p99)) => (format!("{:.2}", throughput.all), format!("{:.2}", p99.all)),
                    None => Default::default(),
                };
                vec![
                    line.row.to_owned(),
                    format!("{:.0}", line.calls_per_second),
                    format!("{:.0}", line.latency_us.p50),
                    format!("{:.0}", line.latency_us.p99),
                    format!("{:.0}", line.latency_us.p999),
                    line.limit.unwrap_or_default().to_owned(),
                    throughput,
                    p99,
                    format!("{:.1}", line.service_cpu_us),
                    format!("{:.1}", line.valkey_cpu_us),
                    line.reply_bytes.to_string(),
                    line.failed.to_string(),
                ]
            })
            .collect();
        table(&head, &rows)
    }

    /// Rows with calls that failed.
    pub(crate) fn failures(&self) -> Vec<String> {
        let failed = self.rows.iter().filter(|line| line.failed > 0 || line.latency_us.count == 0);
        failed
            .map(|line| {
                let reason = line.failure.as_deref().unwrap_or("none was made");
                format!("{}: {} calls failed; the first: {reason}", line.row, line.failed)
            })
            .collect()
    }
}

// === impl Line ===

impl Line {
    fn new(row: &'static str, limit: Option<&'static str>) -> Line {
        let latencies = Latencies::new();
        Line {
            row,
            calls_per_second: 0.0,
            latency_us: latencies.percentiles(),
            service_cpu_us: 0.0,
            valkey_cpu_us: 0.0,
            generator_cpu_us: 0.0,
            reply_bytes: 0,
            failed: 0,
            failure: None,
            limit,
            rounds: Vec::new(),
            sums: Sums { latencies, elapsed: Duration::ZERO, cpu: [Duration::ZERO; 3] },
        }
    }

    fn add(&mut self, slice: &Slice) {
        let turn = slice.work.latencies.percentiles();
        let calls_per_second = turn.count as f64 / slice.elapsed.as_secs_f64();
        self.rounds.push(Turn { calls_per_second, p99_us: turn.p99 });

        let sums = &mut self.sums;
        sums.latencies.add(&slice.work.latencies);
        sums.elapsed += slice.elapsed;
        for (sum, cpu) in sums.cpu.iter_mut().zip([slice.service_cpu, slice.valkey_cpu, slice.generator_cpu]) {
            *sum += cpu;
        }
        self.latency_us = sums.latencies.percentiles();
        self.calls_per_second = self.latency_us.count as f64 / sums.elapsed.as_secs_f64();
        let calls = (self.latency_us.count + self.failed + slice.work.failed).max(1) as f64;
        [self.service_cpu_us, self.valkey_cpu_us, self.generator_cpu_us] =
            sums.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / calls);
        self.reply_bytes = slice.work.reply_bytes;
        self.failed += slice.work.failed;
        if self.failure.is_none() {
            self.failure.clone_from(&slice.work.failure);
        }
    }
}

// === impl Ratio ===

impl Ratio {
    fn of(one: f64, other: f64, line: &Line, limit: &Line, figure: impl Fn(&Turn) -> f64) -> Ratio {
        let rounds = line.rounds.iter().zip(&limit.rounds).map(|(one, other)| figure(one) / figure(other));
        let (low, high) = rounds.fold((f64::INFINITY, 0.0_f64), |(low, high), x| (low.min(x), high.max(x)));
        Ratio { all: one / other, low, high }
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} (single rounds {:.2} to {:.2})", self.all, self.low, self.high)
    }
}
