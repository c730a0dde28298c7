//! Report of `ratelimit`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::duel::Duel;
use super::extra::{Flood, Memory};
use super::open::Outcome;
use super::peer;
use super::row::Row;
use super::target::{DENIED, Tally};
use crate::closed::{Lines, Row as _, Shape};
use crate::machine::Machine;
use crate::numbers::table;
use crate::report::{self, verdict};

/// Result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) machine: Machine,
    #[serde(flatten)]
    pub(super) shape: Shape,
    pub(super) users: u32,
    /// Answers of the calls, by row.
    pub(super) answers: BTreeMap<&'static str, Tally>,
    #[serde(flatten)]
    pub(super) lines: Lines,
    /// Beside envoyproxy/ratelimit; none if it is not there.
    pub(super) duels: Option<Duels>,
    /// Rows on a cluster.
    pub(super) cluster: Option<Lines>,
    #[serde(flatten)]
    pub(super) rest: Option<Rest>,
}

/// Beside envoyproxy/ratelimit.
#[derive(Debug, Serialize)]
pub(super) struct Duels {
    #[serde(flatten)]
    pub(super) shape: Shape,
    /// Runs all programs on all cores.
    pub(super) together: Duel,
    /// Service on a core of its own; none on a machine that has one alone.
    pub(super) apart: Option<Duel>,
}

/// Results besides the rows.
#[derive(Debug, Serialize)]
pub(super) struct Rest {
    pub(super) flood: Flood,
    pub(super) open: Open,
    pub(super) memory: Memory,
}

/// Open loop.
#[derive(Debug, Serialize)]
pub(super) struct Open {
    pub(super) callers: u32,
    pub(super) users: u32,
    /// Calls a second that were due.
    pub(super) rate: f64,
    /// Callers at times of their own.
    pub(super) spread: Outcome,
    /// Callers at the same moment.
    pub(super) herds: Outcome,
}

const ACQUIRE: f64 = 0.8;
const DENIED_CALL: f64 = 0.85;
const THREE_COST: f64 = 1.3;
const PEER: f64 = 3.0;
const PEER_P99: f64 = 1.0;
const ADMITTED: f64 = 0.99;

// === impl Report ===

impl Report {
    fn admitted(&self, row: Row) -> f64 {
        self.answers.get(row.label()).map_or(0.0, Tally::admitted_share)
    }

    fn targets(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some((throughput, _)) = self.lines.ratios(Row::Acquire.label()) {
            let admitted = self.admitted(Row::Acquire);
            let met = verdict(throughput.all >= ACQUIRE && admitted >= ADMITTED);
            lines.push(format!(
                "Acquire: throughput {throughput} of its echo + decide, at least {ACQUIRE} wanted, with {:.1} % admitted: {met}",
                admitted * 100.0
            ));
        }
        if let Some((throughput, _)) = self.lines.ratios(Row::Denied.label()) {
            let cached = self.answers.get(Row::Denied.label()).map_or(0.0, Tally::cached_share);
            let met = verdict(throughput.all >= DENIED_CALL);
            lines.push(format!(
                "Acquire, denied: throughput {throughput} of the echo, at least {DENIED_CALL} wanted, {:.1} % from memory: {met}",
                cached * 100.0
            ));
        }
        lines.extend(self.three());
        match &self.duels {
            Some(duels) => lines.extend(duels.targets()),
            None => lines.push(peer::MISSING.to_owned()),
        }
        if let Some(Rest { open, .. }) = &self.rest {
            let failed = open.spread.failed + open.herds.failed;
            lines.push(format!("Open loop: {failed} calls failed, none wanted: {}", verdict(failed == 0)));
        }
        lines
    }

    /// Price of three limits of one owner, against one.
    fn three(&self) -> Option<String> {
        let (throughput, _) = self.lines.ratios(Row::Three.label())?;
        let (three, one) = (self.lines.line(Row::Three.label())?, self.lines.line(Row::Acquire.label())?);
        let cpu = (three.service_cpu_us + three.valkey_cpu_us) / (one.service_cpu_us + one.valkey_cpu_us);
        let time = throughput.all.recip();
        let met = verdict(time <= THREE_COST && cpu <= THREE_COST);
        Some(format!(
            "Acquire, 3 limits: {time:.2} of the time of one, {cpu:.2} of the CPU of service and Valkey, at most {THREE_COST} \
             wanted: {met}"
        ))
    }
}

// === impl Duels ===

impl Duels {
    fn each(&self) -> impl Iterator<Item = (&'static str, &Duel)> {
        let apart = self.apart.as_ref().map(|duel| ("on a core of its own, the rest on the others", duel));
        std::iter::once(("all programs on all cores", &self.together)).chain(apart)
    }

    fn targets(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, duel) in self.each() {
            let Some((throughput, p99)) = duel.ratios() else { continue };
            let met = verdict(throughput.all >= PEER && p99.all <= PEER_P99 && duel.admitted >= ADMITTED);
            lines.push(format!(
                "ShouldRateLimit, {name}: throughput {throughput} and p99 {p99} of envoyproxy/ratelimit's, at least {PEER} and at \
                 most {PEER_P99} wanted, {:.1} % admitted: {met}",
                duel.admitted * 100.0
            ));
            if let Some((throughput, p99)) = duel.denied_ratios() {
                lines.push(format!("The same, denied: throughput {throughput} and p99 {p99}"));
            }
        }
        lines
    }

    fn tables(&self) -> String {
        let mut text = format!("\n\nBeside envoyproxy/ratelimit, {}:\n", self.shape);
        for (name, duel) in self.each() {
            let tried = duel.tried.iter().map(|tried| format!("{} {:.0}/s", tried.setting, tried.calls_per_second));
            let tried = tried.collect::<Vec<_>>().join(", ");
            let _ = write!(
                text,
                "\n{name}; its settings beforehand, the best of which is measured: {tried}.\n\n{}",
                duel.lines.table()
            );
        }
        text
    }
}

impl report::Report for Report {
    fn markdown(&self) -> String {
        let targets: Vec<_> = self.targets().into_iter().map(|line| format!("- {line}")).collect();
        let mut text = format!(
            "{}\n\n{}, {} users, {DENIED} denied ones; others \
             used {:.0} % of the machine.\n\n{}\n{}",
            self.machine.line(),
            self.shape,
            self.users,
            self.lines.others_cpu * 100.0,
            self.lines.table(),
            targets.join("\n"),
        );
        if let Some(duels) = &self.duels {
            text.push_str(&duels.tables());
        }
        if let Some(cluster) = &self.cluster {
            let table = cluster.table();
            let _ = write!(text, "\n\nOn a cluster of three primaries, whose time is taken together:\n\n{table}");
        }
        if let Some(rest) = &self.rest {
            let _ = write!(text, "\n{}\n{}", rest.open.table(), rest.figures());
        }
        text
    }

    fn failures(&self) -> Vec<String> {
        let mut failures = self.lines.failures();
        failures.extend(self.cluster.iter().flat_map(Lines::failures));
        failures.extend(self.duels.iter().flat_map(Duels::each).flat_map(|(_, duel)| duel.lines.failures()));
        let Some(Rest { open, flood, .. }) = &self.rest else { return failures };
        for (name, outcome) in [("open loop", &open.spread), ("all at once", &open.herds)] {
            if outcome.failed > 0 {
                let reason = outcome.failure.as_deref().unwrap_or("no answer");
                failures.push(format!("{name}: {} calls failed; the first: {reason}", outcome.failed));
            }
        }
        // Each user is admitted once at the end of the hour of the limit.
        if flood.others > DENIED as u64 {
            failures.push(format!("flood: {} of {} calls were admitted", flood.others, flood.calls));
        }
        failures
    }
}

// === impl Open ===

impl Open {
    fn table(&self) -> String {
        let head = [
            "open loop, since due",
            "calls/s",
            "admitted",
            "denied",
            "failed",
            "in flight",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
        ];
        let row = |name: String, outcome: &Outcome| {
            let millis = |us: f64| format!("{:.2}", us / 1e3);
            let latency = &outcome.latency_us;
            let counts = [outcome.admitted, outcome.denied, outcome.failed, outcome.most_in_flight];
            let mut cells = vec![name, format!("{:.0}", outcome.calls_per_second)];
            cells.extend(counts.map(|count| count.to_string()));
            cells.extend([latency.p50, latency.p99, latency.p999].map(millis));
            cells
        };
        let rows = [
            row(format!("{} callers", self.callers), &self.spread),
            row(format!("{} at the same moment", self.callers), &self.herds),
        ];
        table(&head, &rows)
    }
}

// === impl Rest ===

impl Rest {
    fn figures(&self) -> String {
        let (flood, memory) = (&self.flood, &self.memory);
        let figure = |name: String, value: String| vec![name, value];
        let each = flood.scripts as f64 * 100_000.0 / flood.calls as f64;
        let commands = flood.commands.iter().map(|(name, calls)| format!("{name} {calls}")).collect::<Vec<_>>();
        table(
            &["figure", "value"],
            &[
                figure("calls of the script for 100,000 denied calls".to_owned(), format!("{each:.0}")),
                figure(
                    format!("all commands in {} denied calls, those of the script too", flood.calls),
                    commands.join(", "),
                ),
                figure(
                    "denied calls a second".to_owned(),
                    format!("{:.0}, {} of them from memory", flood.calls as f64 / flood.seconds, flood.cached),
                ),
                figure("a bucket in Valkey: MEMORY USAGE".to_owned(), format!("{} B", memory.bucket)),
                figure("a bucket in Valkey: used_memory".to_owned(), format!("{:.0} B", memory.bucket_all)),
                figure("a remembered request in Valkey: MEMORY USAGE".to_owned(), format!("{} B", memory.record)),
                figure("a remembered request in Valkey: used_memory".to_owned(), format!("{:.0} B", memory.record_all)),
            ],
        )
    }
}
