//! What `mesh` tells.

use std::time::Duration;

use serde::Serialize;

use super::{Options, Row, Shape, Slice};
use crate::machine::Machine;
use crate::numbers::{Latencies, Percentiles, mib, table};
use crate::report;

/// The result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    concurrency: u16,
    connections: u16,
    rounds: u16,
    slice_ms: u128,
    sessions: u32,
    /// Share of the machine that neither the generator nor what it measured used.
    pub(super) others_cpu: f64,
    /// Memory of the session service alone, ready, without a call, in bytes.
    idle_rss: u64,
    /// Memory of the services at the end, in bytes.
    pub(super) busy_rss: u64,
    rows: Vec<Line>,
}

/// All turns of a row.
#[derive(Debug, Serialize)]
struct Line {
    row: &'static str,
    calls_per_second: f64,
    latency_us: Percentiles,
    service_cpu_us: f64,
    valkey_cpu_us: f64,
    generator_cpu_us: f64,
    reply_bytes: u64,
    failed: u64,
    failure: Option<String>,
    limit: Option<&'static str>,
    rounds: Vec<Turn>,
    #[serde(skip)]
    sums: Sums,
}

/// One turn of a row.
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

/// A ratio of two rows, over all rounds together, and the lowest and highest of single rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ratio {
    all: f64,
    low: f64,
    high: f64,
}

/// Bytes of an idle service, at most.
const IDLE_RSS: u64 = 40 << 20;
const GET_THROUGHPUT: f64 = 0.8;
const PATCH_P99: f64 = 1.3;

// === impl Report ===

impl Report {
    pub(super) fn new(machine: Machine, options: &Options, shape: Shape, rows: &[Row], idle_rss: u64) -> Report {
        Report {
            machine,
            concurrency: shape.concurrency,
            connections: options.connections,
            rounds: shape.rounds,
            slice_ms: shape.slice.as_millis(),
            sessions: options.sessions,
            others_cpu: 0.0,
            idle_rss,
            busy_rss: 0,
            rows: rows.iter().copied().map(Line::new).collect(),
        }
    }

    /// Adds a turn of a row.
    pub(super) fn add(&mut self, row: Row, slice: &Slice) {
        if let Some(line) = self.rows.iter_mut().find(|line| line.row == row.label()) {
            line.add(slice);
        }
    }

    fn line(&self, label: &str) -> Option<&Line> {
        self.rows.iter().find(|line| line.row == label)
    }

    /// A row against its limit: throughput and p99.
    fn ratios(&self, line: &Line) -> Option<(Ratio, Ratio)> {
        let limit = self.line(line.limit?)?;
        let throughput =
            Ratio::of(line.calls_per_second, limit.calls_per_second, line, limit, |turn| turn.calls_per_second);
        let p99 = Ratio::of(line.latency_us.p99, limit.latency_us.p99, line, limit, |turn| turn.p99_us);
        Some((throughput, p99))
    }

    fn targets(&self) -> Vec<String> {
        let verdict = |met: bool| if met { "met" } else { "**missed**" };
        let mut lines = Vec::new();
        if let Some((throughput, _)) = self.line(Row::Get.label()).and_then(|line| self.ratios(line)) {
            let met = verdict(throughput.all >= GET_THROUGHPUT);
            lines.push(format!(
                "Get: throughput {throughput} of its echo + HGETALL, at least {GET_THROUGHPUT} wanted: {met}"
            ));
        }
        if let Some((_, p99)) = self.line(Row::Patch.label()).and_then(|line| self.ratios(line)) {
            let met = verdict(p99.all <= PATCH_P99);
            lines.push(format!("Update: p99 {p99} of its echo + patch script, at most {PATCH_P99} wanted: {met}"));
        }
        let met = verdict(self.idle_rss <= IDLE_RSS);
        let (idle, most) = (mib(self.idle_rss), mib(IDLE_RSS));
        lines.push(format!("Memory of an idle service: {idle:.1} MiB RSS, at most {most:.0} MiB wanted: {met}"));
        lines
    }
}

impl report::Report for Report {
    fn markdown(&self) -> String {
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
                let (throughput, p99) = match self.ratios(line) {
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
        let targets: Vec<_> = self.targets().into_iter().map(|line| format!("- {line}")).collect();
        format!(
            "{}\n\n{} calls in flight on {} connections, {} rounds of {} ms a row, {} sessions; others used {:.0} % of \
             the machine; the services' memory at the end {:.1} MiB.\n\n{}\n{}",
            self.machine.line(),
            self.concurrency,
            self.connections,
            self.rounds,
            self.slice_ms,
            self.sessions,
            self.others_cpu * 100.0,
            mib(self.busy_rss),
            table(&head, &rows),
            targets.join("\n"),
        )
    }

    fn failures(&self) -> Vec<String> {
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
    fn new(row: Row) -> Line {
        let latencies = Latencies::new();
        Line {
            row: row.label(),
            calls_per_second: 0.0,
            latency_us: latencies.percentiles(),
            service_cpu_us: 0.0,
            valkey_cpu_us: 0.0,
            generator_cpu_us: 0.0,
            reply_bytes: 0,
            failed: 0,
            failure: None,
            limit: row.limit().map(Row::label),
            rounds: Vec::new(),
            sums: Sums { latencies, elapsed: Duration::ZERO, cpu: [Duration::ZERO; 3] },
        }
    }

    fn add(&mut self, slice: &Slice) {
        let turn = slice.latencies.percentiles();
        let calls_per_second = turn.count as f64 / slice.elapsed.as_secs_f64();
        self.rounds.push(Turn { calls_per_second, p99_us: turn.p99 });

        let sums = &mut self.sums;
        sums.latencies.add(&slice.latencies);
        sums.elapsed += slice.elapsed;
        for (sum, cpu) in sums.cpu.iter_mut().zip([slice.service_cpu, slice.valkey_cpu, slice.generator_cpu]) {
            *sum += cpu;
        }
        self.latency_us = sums.latencies.percentiles();
        self.calls_per_second = self.latency_us.count as f64 / sums.elapsed.as_secs_f64();
        let calls = (self.latency_us.count + self.failed + slice.failed).max(1) as f64;
        [self.service_cpu_us, self.valkey_cpu_us, self.generator_cpu_us] =
            sums.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / calls);
        self.reply_bytes = slice.reply_bytes;
        self.failed += slice.failed;
        if self.failure.is_none() {
            self.failure.clone_from(&slice.failure);
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
