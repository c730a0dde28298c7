//! Report of `mesh`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Options, Row};
use crate::closed::{Lines, Row as _, Shape};
use crate::machine::Machine;
use crate::numbers::mib;
use crate::report::{self, verdict};

/// Result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    #[serde(flatten)]
    shape: Shape,
    sessions: u32,
    /// Resident memory of each service alone, ready, without a call, in bytes.
    idle_rss: BTreeMap<&'static str, u64>,
    #[serde(flatten)]
    lines: Lines,
}

/// Bytes of an idle service, at most.
const IDLE_RSS: u64 = 40 << 20;
const GET_THROUGHPUT: f64 = 0.8;
const PATCH_P99: f64 = 1.3;

// === impl Report ===

impl Report {
    pub(super) fn new(
        machine: Machine,
        options: &Options,
        shape: Shape,
        idle_rss: BTreeMap<&'static str, u64>,
        lines: Lines,
    ) -> Report {
        Report { machine, shape, sessions: options.sessions, idle_rss, lines }
    }

    fn targets(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some((throughput, _)) = self.lines.ratios(Row::Get.label()) {
            let met = verdict(throughput.all >= GET_THROUGHPUT);
            lines.push(format!(
                "Get: throughput {throughput} of its echo + HGETALL, at least {GET_THROUGHPUT} wanted: {met}"
            ));
        }
        if let Some((_, p99)) = self.lines.ratios(Row::Patch.label()) {
            let met = verdict(p99.all <= PATCH_P99);
            lines.push(format!("Update: p99 {p99} of its echo + patch script, at most {PATCH_P99} wanted: {met}"));
        }
        let met = verdict(self.idle_rss.values().all(|bytes| *bytes <= IDLE_RSS));
        let (idle, most) = (self.idle_rss.iter(), mib(IDLE_RSS));
        let idle: Vec<_> = idle.map(|(service, bytes)| format!("{service} {:.1} MiB", mib(*bytes))).collect();
        lines.push(format!("RSS of an idle service: {}; at most {most:.0} MiB wanted: {met}", idle.join(", ")));
        lines
    }
}

impl report::Report for Report {
    fn markdown(&self) -> String {
        let targets: Vec<_> = self.targets().into_iter().map(|line| format!("- {line}")).collect();
        format!(
            "{}\n\n{}, {} sessions; others used {:.0} % of \
             the machine; the services' memory at the end {:.1} MiB.\n\n{}\n{}",
            self.machine.line(),
            self.shape,
            self.sessions,
            self.lines.others_cpu * 100.0,
            mib(self.lines.memory),
            self.lines.table(),
            targets.join("\n"),
        )
    }

    fn failures(&self) -> Vec<String> {
        self.lines.failures()
    }
}
