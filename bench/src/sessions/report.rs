//! Report of `sessions`.

use serde::Serialize;

use super::Memory;
use super::pacer::{Plan, Updates};
use super::watchers::Seen;
use crate::machine::Machine;
use crate::numbers::{Percentiles, mib, table};
use crate::{load, report};

/// Result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    sessions: usize,
    updates_per_second: f64,
    updates_due: u64,
    updates_sent: u64,
    updates_acknowledged: u64,
    updates_failed: u64,
    updates_unanswered: u64,
    /// Sessions that lack an update which was acknowledged.
    sessions_behind: u64,
    events: u64,
    events_misplaced: u64,
    watches_restarted: u64,
    watches_ended: u64,
    failure: Option<String>,
    update_us: Percentiles,
    event_us: Percentiles,
    sample_bytes: usize,
    /// Valkey's memory for each session: when made, and after the updates with their events.
    valkey_bytes_per_session: [f64; 2],
    /// Bytes of a new session: hash, index, stream.
    valkey_bytes_by_key: [u64; 3],
    /// Service's memory for each watch: when opened, and after the updates.
    service_bytes_per_watch: [f64; 2],
    idle_rss: u64,
    busy_rss: u64,
    /// Cores that the service, Valkey and the generator used on average.
    cpu_cores: Vec<f64>,
    others_cpu: f64,
}

/// Counts of everything that must not happen.
pub(super) struct Rest {
    pub(super) others_cpu: f64,
    pub(super) cpu_cores: Vec<f64>,
    pub(super) lost: u64,
}

// === impl Report ===

impl Report {
    pub(super) fn new(
        machine: Machine,
        plan: &Plan,
        memory: Memory,
        updates: &Updates,
        seen: &Seen,
        rest: Rest,
    ) -> Report {
        let each = |[from, to]: [u64; 2]| (to as f64 - from as f64) / plan.sessions() as f64;
        let Memory { idle_rss, valkey, keys, service } = memory;
        Report {
            machine,
            sessions: plan.sessions(),
            updates_per_second: plan.rate(),
            updates_due: plan.total,
            updates_sent: updates.sent,
            updates_acknowledged: updates.acknowledged(),
            updates_failed: updates.failed(),
            updates_unanswered: updates.sent.saturating_sub(updates.answered()),
            sessions_behind: rest.lost,
            events: seen.events,
            events_misplaced: seen.misplaced,
            watches_restarted: seen.restarts,
            watches_ended: seen.ended,
            failure: updates.failure().or_else(|| seen.failure.clone()),
            update_us: updates.latencies().percentiles(),
            event_us: seen.latencies.percentiles(),
            sample_bytes: load::sample_bytes(),
            valkey_bytes_per_session: [each([valkey[0], valkey[1]]), each([valkey[0], valkey[2]])],
            valkey_bytes_by_key: keys,
            service_bytes_per_watch: [each([service[0], service[1]]), each([service[0], service[2]])],
            idle_rss,
            busy_rss: service[2],
            cpu_cores: rest.cpu_cores,
            others_cpu: rest.others_cpu,
        }
    }

    /// Lists the counts that must be zero.
    fn wrongs(&self) -> [(u64, &'static str); 8] {
        [
            (self.updates_failed, "updates failed"),
            (self.updates_due.saturating_sub(self.updates_sent), "updates were not sent"),
            (self.updates_unanswered, "updates got no answer"),
            (self.sessions_behind, "sessions lack an update that was acknowledged"),
            (self.updates_acknowledged.saturating_sub(self.events), "updates reached no watcher"),
            (self.events_misplaced, "events came twice or out of order"),
            (self.watches_restarted, "watches lost their place"),
            (self.watches_ended, "watches ended by themselves"),
        ]
    }
}

impl report::Report for Report {
    fn markdown(&self) -> String {
        let latency = |name: &str, latencies: &Percentiles| {
            let millis = |us: f64| format!("{:.2}", us / 1e3);
            let count = latencies.count.to_string();
            vec![
                name.to_owned(),
                count,
                millis(latencies.p50),
                millis(latencies.p99),
                millis(latencies.p999),
                millis(latencies.max),
            ]
        };
        let latencies = table(
            &["open loop, from the moment the update was due", "count", "p50 ms", "p99 ms", "p99.9 ms", "max ms"],
            &[latency("update answered", &self.update_us), latency("event at the watcher", &self.event_us)],
        );
        let bytes = |bytes: f64| format!("{:.1} KiB", bytes / 1024.0);
        let keys = self.valkey_bytes_by_key.map(|bytes| bytes.to_string()).join(" / ");
        let figure = |name: &str, value: String| vec![name.to_owned(), value];
        let cores = self.cpu_cores.iter().map(|cores| format!("{cores:.2}")).collect::<Vec<_>>().join(" / ");
        let figures = table(
            &["figure", "value"],
            &[
                figure("a session in Valkey, made", bytes(self.valkey_bytes_per_session[0])),
                figure("of which hash / index / stream, bytes", keys),
                figure("a session in Valkey, with the events of the run", bytes(self.valkey_bytes_per_session[1])),
                figure("a watch in the service, opened", bytes(self.service_bytes_per_watch[0])),
                figure("a watch in the service, after the run", bytes(self.service_bytes_per_watch[1])),
                figure("idle service, RSS", format!("{:.1} MiB", mib(self.idle_rss))),
                figure("service at the end, RSS", format!("{:.1} MiB", mib(self.busy_rss))),
                figure("cores used by service / Valkey / generator", cores),
            ],
        );
        let wrongs = self.wrongs().map(|(count, what)| format!("{count} {what}")).join(", ");
        format!(
            "{}\n\n{} sessions ({} bytes of content each), each watched; {:.0} updates a second, {} acknowledged, {} events; \
             others used {:.0} % of the machine.\n\n{latencies}\n{figures}\n{wrongs}.",
            self.machine.line(),
            self.sessions,
            self.sample_bytes,
            self.updates_per_second,
            self.updates_acknowledged,
            self.events,
            self.others_cpu * 100.0,
        )
    }

    fn failures(&self) -> Vec<String> {
        let wrongs = self.wrongs().into_iter().filter(|(count, _)| *count > 0);
        let mut lines: Vec<_> = wrongs.map(|(count, what)| format!("{count} {what}")).collect();
        if let (false, Some(failure)) = (lines.is_empty(), &self.failure) {
            lines.push(format!("the first failure: {failure}"));
        }
        lines
    }
}
