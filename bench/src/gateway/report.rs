//! Report of `gateway`.

use serde::Serialize;

use super::Options;
use super::checker::Checked;
use super::lines::{Line, Side};
use crate::machine::Machine;
use crate::numbers::table;
use crate::report::{self, verdict};

/// Result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) machine: Machine,
    #[serde(flatten)]
    pub(super) options: Options,
    pub(super) others_cpu: f64,
    /// Check by itself.
    pub(super) checked: Vec<Checked>,
    #[serde(rename = "rows")]
    pub(super) lines: Vec<Line>,
}

/// Microseconds of CPU that the guard may cost a request with a body, in both processes.
const COST: f64 = 200.0;

// === impl Report ===

impl Report {
    fn targets(&self) -> Vec<String> {
        let line = |line: &Line| {
            let cost = &line.cost;
            let figures = format!(
                "{}: {:+.1} µs of CPU a request (single rounds {:+.1} to {:+.1}; two gateways of one configuration differ by {:.1})",
                line.row, cost.micros, cost.low, cost.high, cost.spread
            );
            match line.has_body {
                Some(true) => format!("{figures}, at most {COST} wanted: {}", verdict(cost.micros <= COST)),
                Some(false) => {
                    let met = verdict(cost.micros <= cost.spread && line.shipped.asked == 0);
                    format!(
                        "{figures}, no more than two of one wanted, and {} questions to the guard: {met}",
                        line.shipped.asked
                    )
                }
                None => figures,
            }
        };
        self.lines.iter().map(line).collect()
    }

    fn table(&self) -> String {
        let head =
            ["row", "requests/s", "p50 µs", "p99 µs", "p99.9 µs", "Envoy CPU µs", "guard CPU µs", "both", "failed"];
        let row = |name: String, side: &Side| {
            let one = |figure: f64| format!("{figure:.1}");
            let whole = |figure: f64| format!("{figure:.0}");
            let latency = &side.latency_us;
            vec![
                name,
                whole(side.requests_per_second),
                whole(latency.p50),
                whole(latency.p99),
                whole(latency.p999),
                one(side.envoy_cpu_us),
                one(side.guard_cpu_us),
                one(side.envoy_cpu_us + side.guard_cpu_us),
                side.failed.to_string(),
            ]
        };
        let rows = self.lines.iter().flat_map(|line| {
            [row(line.row.to_owned(), &line.shipped), row("... without the guard".to_owned(), &line.plain)]
        });
        table(&head, &rows.collect::<Vec<_>>())
    }

    fn checks(&self) -> String {
        let row = |checked: &Checked| {
            let each = checked.micros * 1e3 / checked.bytes as f64;
            vec![
                checked.body.to_owned(),
                checked.bytes.to_string(),
                format!("{:.1}", checked.micros),
                format!("{each:.1}"),
            ]
        };
        table(&["the check by itself", "bytes", "µs", "ns a byte"], &self.checked.iter().map(row).collect::<Vec<_>>())
    }

    /// Rejects figures of a run whose guard was not asked about a body, or was asked about anything else.
    fn misled(line: &Line) -> Option<String> {
        let requests = line.shipped.latency_us.count;
        let [asked, plain] = [line.shipped.asked, line.plain.asked];
        let right = plain == 0 && if line.has_body? { asked >= requests } else { asked == 0 };
        (!right).then(|| format!("{}: {requests} requests, {asked} and {plain} questions to the guard", line.row))
    }
}

impl report::Report for Report {
    fn markdown(&self) -> String {
        let Options { rate, concurrency, rounds, slice, .. } = self.options;
        let targets: Vec<_> = self.targets().into_iter().map(|line| format!("- {line}")).collect();
        format!(
            "{}\n\n{rate} requests a second, at full load {concurrency} in flight; {rounds} rounds of {} ms a row at each of four \
             gateways; others used {:.0} % of the machine.\n\n{}\n{}\n\n{}",
            self.machine.line(),
            slice.as_millis(),
            self.others_cpu * 100.0,
            self.table(),
            targets.join("\n"),
            self.checks(),
        )
    }

    fn failures(&self) -> Vec<String> {
        let sides = self.lines.iter().flat_map(|line| [(line, &line.shipped), (line, &line.plain)]);
        let failed = sides.filter(|(_, side)| side.failed > 0 || side.latency_us.count == 0);
        let failed = failed.map(|(line, side)| {
            let reason = side.failure.as_deref().unwrap_or("none was made");
            format!("{}: {} requests failed; the first: {reason}", line.row, side.failed)
        });
        failed.chain(self.lines.iter().filter_map(Report::misled)).collect()
    }
}
