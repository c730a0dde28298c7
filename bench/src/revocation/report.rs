//! Report of `revocation`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::fill::Filled;
use super::memory::InProcess;
use super::row::{BATCH, Row};
use crate::closed::{Lines, Row as _, Shape};
use crate::machine::Machine;
use crate::numbers::{mib, table};
use crate::report::{self, verdict};

/// Result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) machine: Machine,
    #[serde(flatten)]
    pub(super) shape: Shape,
    /// Time from process start to readiness, in seconds: with an empty store, and with all revocations.
    pub(super) boot_seconds: [f64; 2],
    /// Resident memory of an instance that is ready, in bytes: with an empty store, and with all revocations.
    pub(super) boot_rss: [u64; 2],
    /// Commands a second that one idle instance makes, by name.
    pub(super) idle_commands: BTreeMap<String, f64>,
    pub(super) in_process: InProcess,
    pub(super) filled: Filled,
    #[serde(flatten)]
    pub(super) lines: Lines,
}

const CHECK_THROUGHPUT: f64 = 0.85;
const CHECK_P99: f64 = 1.3;
const BATCHED_US: f64 = 1.0;
const IN_PROCESS: f64 = 2e6;

// === impl Report ===

impl Report {
    /// Microseconds of the service's time for each check of a batch.
    fn batched_us(&self) -> Option<f64> {
        Some(self.lines.line(Row::Batch.label())?.service_cpu_us / BATCH as f64)
    }

    fn targets(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some((throughput, p99)) = self.lines.ratios(Row::Check.label()) {
            let met = verdict(throughput.all >= CHECK_THROUGHPUT);
            lines
                .push(format!("Check: throughput {throughput} of the echo, at least {CHECK_THROUGHPUT} wanted: {met}"));
            let met = verdict(p99.all <= CHECK_P99);
            lines.push(format!("Check: p99 {p99} of the echo, at most {CHECK_P99} wanted: {met}"));
        }
        if let Some(us) = self.batched_us() {
            let met = verdict(us <= BATCHED_US);
            lines.push(format!(
                "BatchCheck of 100: {us:.2} µs of the service a check, at most {BATCHED_US} wanted: {met}"
            ));
        }
        let each = self.in_process.checks_per_second;
        let met = verdict(each >= IN_PROCESS);
        lines.push(format!(
            "In-process replica, one core: {:.2} M checks/s of distinct tokens, at least {:.0} M wanted: {met}",
            each / 1e6,
            IN_PROCESS / 1e6
        ));
        lines
    }

    fn bytes(&self) -> String {
        let (own, filled) = (&self.in_process, &self.filled);
        let row = |name: &str, bytes: u64, count: u64| {
            let each = bytes as f64 / count.max(1) as f64;
            vec![name.to_owned(), format!("{:.1}", mib(bytes)), format!("{each:.1}")]
        };
        let records = filled.valkey.saturating_sub(filled.feed + filled.filters + filled.audit);
        table(
            &["memory", "MiB", "bytes each"],
            &[
                row("replica, tokens (resident)", own.token_rss, own.tokens),
                row("replica, tokens (its filters)", own.filter_bytes, own.tokens),
                row("exact set of the same tokens, HashSet<[u8; 16]> (resident)", own.exact_rss, own.tokens),
                row("replica, cutoffs (resident)", own.cutoff_rss, own.cutoffs),
                row("replica, cutoffs (by its own count)", own.cutoff_bytes, own.cutoffs),
                row("Valkey, all", filled.valkey, filled.revocations),
                row("of it records", records, filled.revocations),
                row("of it feed", filled.feed, filled.revocations),
                row("of it filters", filled.filters, filled.revocations),
                row("of it audit", filled.audit, filled.revocations),
                row("instance that saw them come (resident)", filled.instance_rss, filled.revocations),
                row(
                    "instance that started with them (resident)",
                    self.boot_rss[1].saturating_sub(self.boot_rss[0]),
                    filled.revocations,
                ),
            ],
        )
    }

    fn figures(&self) -> String {
        let (own, filled) = (&self.in_process, &self.filled);
        let figure = |name: &str, value: String| vec![name.to_owned(), value];
        let million = |each: f64| format!("{:.2} M/s", each / 1e6);
        let idle = self.idle_commands.iter().map(|(name, each)| format!("{name} {each:.1}"));
        let [empty, full] = self.boot_seconds;
        let revoke = self.lines.line(Row::Revoke.label()).map_or(0.0, |line| line.valkey_cpu_us);
        table(
            &["figure", "value"],
            &[
                figure("in-process, one at a time", million(own.checks_per_second)),
                figure("in-process, a hundred at a time", million(own.batched_per_second)),
                figure("in-process, 256 tokens again and again", million(own.cached_per_second)),
                figure("good tokens that need the store", format!("{:.3} %", own.suspect_share * 100.0)),
                figure("start until ready, empty store", format!("{empty:.2} s")),
                figure("start until ready, all revocations", format!("{full:.2} s")),
                figure(
                    "revocations a second, in batches of 1,000",
                    format!("{:.0}", filled.revocations as f64 / filled.seconds),
                ),
                figure("Valkey's scripts, a revocation in a batch", format!("{:.1} µs", filled.script_us)),
                figure("Valkey's CPU, a RevokeToken", format!("{revoke:.1} µs")),
                figure(
                    "commands a second of an idle instance",
                    format!("{:.1}", self.idle_commands.values().sum::<f64>()),
                ),
                figure("of which", idle.collect::<Vec<_>>().join(", ")),
            ],
        )
    }
}

impl report::Report for Report {
    fn markdown(&self) -> String {
        let targets: Vec<_> = self.targets().into_iter().map(|line| format!("- {line}")).collect();
        format!(
            "{}\n\n{}; {} tokens revoked in the store, {} tokens and \
             {} cutoffs in the process; others used {:.0} % of the machine.\n\n{}\n{}\n\n{}\n{}",
            self.machine.line(),
            self.shape,
            self.filled.revocations,
            self.in_process.tokens,
            self.in_process.cutoffs,
            self.lines.others_cpu * 100.0,
            self.lines.table(),
            targets.join("\n"),
            self.bytes(),
            self.figures(),
        )
    }

    fn failures(&self) -> Vec<String> {
        self.lines.failures()
    }
}
