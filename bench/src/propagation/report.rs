//! Report of `propagation`.

use serde::Serialize;

use super::board::Counts;
use super::scenario::Scenario;
use super::sweep::Sweep;
use super::writer::Written;
use crate::machine::Machine;
use crate::numbers::{Percentiles, table};
use crate::report;

/// Result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    instances: usize,
    revocations_per_second: f64,
    /// Checks a second and instance in the background: of good tokens, of revoked ones.
    background: [u32; 2],
    runs: Vec<Run>,
}

/// Result of one scenario, with the rule or without it.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    scenario: &'static str,
    /// Rule on: a revocation replica must be fresh to answer.
    rule: bool,
    seconds: f64,
    /// Number of faults.
    strikes: u32,
    revocations: u64,
    replicated: u64,
    /// Attempts to revoke that failed and were repeated.
    retries: u64,
    /// Times from the acknowledgement to the first rejection: at the revoking instance, and at the others.
    own_us: Percentiles,
    others_us: Percentiles,
    /// Checks begun 100 ms or more after the acknowledgement that answered ACTIVE.
    late: u64,
    worst: Option<String>,
    /// Times of revocations that a failover may lose, by their acknowledgement.
    late_unsafe: u64,
    /// Refusals of tokens that nobody revoked.
    wrong: u64,
    local: u64,
    store: u64,
    policy: u64,
    unavailable: u64,
    failed: u64,
    never_rejected: u64,
    /// Revocations lost at the end: those that must hold, and those that may be lost.
    forgotten: usize,
    lost: usize,
    failure: Option<String>,
    #[serde(skip)]
    what: Scenario,
}

/// Share of checks that may go unanswered without a fault: one in this number, on a busy machine.
const PEACE: u64 = 1;

// === impl Run ===

impl Run {
    pub(super) fn new(
        what: Scenario,
        rule: bool,
        seconds: f64,
        strikes: u32,
        written: Written,
        counts: Counts,
        sweep: &Sweep,
    ) -> Run {
        Run {
            scenario: what.label(),
            rule,
            seconds,
            strikes,
            revocations: written.acknowledged,
            replicated: written.replicated,
            retries: written.retries,
            own_us: counts.own.percentiles(),
            others_us: counts.others.percentiles(),
            late: counts.late,
            worst: counts.worst,
            late_unsafe: counts.late_unsafe,
            wrong: counts.wrong,
            local: counts.local,
            store: counts.store,
            policy: counts.policy,
            unavailable: counts.unavailable,
            failed: counts.failed,
            never_rejected: counts.never,
            forgotten: sweep.forgotten.len(),
            lost: sweep.lost.len(),
            failure: counts.first_failure,
            what,
        }
    }

    /// Progress line.
    pub(super) fn line(&self) -> String {
        let rule = if self.rule { "" } else { ", rule off" };
        format!(
            "{}{rule}: {} revocations, p99 {:.1} ms, {} late, {:.1} s",
            self.scenario,
            self.revocations,
            self.others_us.p99 / 1e3,
            self.late,
            self.seconds
        )
    }

    fn failures(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut wrong = |holds: bool, text: String| {
            if !holds {
                lines.push(format!("{}: {text}", self.scenario));
            }
        };
        let first = self.failure.as_deref().unwrap_or("nothing was said");
        wrong(self.wrong == 0, format!("{} rejections of tokens that nobody revoked; {first}", self.wrong));
        if !self.rule {
            let shows = self.late > 0 || !self.what.shows_late_without_the_rule();
            wrong(shows, "without the rule no late answer was seen: the run would not see one".to_owned());
            return lines;
        }
        let worst = self.worst.as_deref().unwrap_or_default();
        wrong(self.late == 0, format!("{} checks answered ACTIVE too late; the worst: {worst}", self.late));
        wrong(self.forgotten == 0, format!("{} revocations are lost at the end", self.forgotten));
        wrong(
            self.never_rejected == 0,
            format!("{} times a revoked token was never rejected; {first}", self.never_rejected),
        );
        // A busy machine may keep an instance from the store for longer than a check waits.
        let (answered, not) = (self.local + self.store + self.policy, self.unavailable + self.failed);
        wrong(
            not * PEACE <= answered || !self.what.is_peaceful(),
            format!("{not} checks got no answer, {answered} did, though nothing was broken; {first}"),
        );
        let struck = self.strikes > 0 || matches!(self.what, Scenario::Calm | Scenario::FalsePositives);
        wrong(struck, "the run was over before anything went wrong: give it more revocations".to_owned());
        lines
    }
}

// === impl Report ===

impl Report {
    pub(super) fn new(machine: Machine, instances: usize, rate: f64, background: [u32; 2], runs: Vec<Run>) -> Report {
        Report { machine, instances, revocations_per_second: rate, background, runs }
    }

    fn table(&self, rule: bool) -> String {
        let head = [
            if rule { "the rule on" } else { "the rule off" },
            "strikes",
            "revoked",
            "p50 ms",
            "p99 ms",
            "max ms",
            "own p99 ms",
            "**late**",
            "wrong",
            "from memory",
            "store",
            "unavailable",
            "failed",
        ];
        let rows: Vec<_> = self
            .runs
            .iter()
            .filter(|run| run.rule == rule)
            .map(|run| {
                let millis = |us: f64| format!("{:.2}", us / 1e3);
                vec![
                    run.scenario.to_owned(),
                    run.strikes.to_string(),
                    run.revocations.to_string(),
                    millis(run.others_us.p50),
                    millis(run.others_us.p99),
                    millis(run.others_us.max),
                    millis(run.own_us.p99),
                    run.late.to_string(),
                    run.wrong.to_string(),
                    run.local.to_string(),
                    run.store.to_string(),
                    run.unavailable.to_string(),
                    run.failed.to_string(),
                ]
            })
            .collect();
        if rows.is_empty() { String::new() } else { table(&head, &rows) }
    }

    /// Losses of the cluster, as text.
    fn notes(&self) -> String {
        let cluster = self.runs.iter().filter(|run| run.rule && run.what == Scenario::Cluster);
        let lines = cluster.map(|run| {
            format!(
                "Cluster: {} of {} revocations were acknowledged as REPLICATED, the others as PRIMARY_ONLY; of these {} were \
                 lost for good, and {} checks answered ACTIVE.\n",
                run.replicated, run.revocations, run.lost, run.late_unsafe
            )
        });
        lines.collect()
    }
}

impl report::Report for Report {
    fn markdown(&self) -> String {
        let [good, revoked] = self.background;
        format!(
            "{}\n\n{} instances; {:.0} revocations a second on the first of them, each followed on all; in the background {good} \
             checks of good and {revoked} of revoked tokens a second on each. The times go from the acknowledgement to the \
             first rejection seen, at the instances that did not revoke. Late: checks begun 100 ms or more after the \
             acknowledgement that answered ACTIVE.\n\n{}\n{}\n{}",
            self.machine.line(),
            self.instances,
            self.revocations_per_second,
            self.table(true),
            self.table(false),
            self.notes(),
        )
    }

    fn failures(&self) -> Vec<String> {
        self.runs.iter().flat_map(Run::failures).collect()
    }
}
