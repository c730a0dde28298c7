//! Report of `search`.

use serde::Serialize;

use super::facets::Errors;
use super::replay::{Bare, Replay};
use crate::machine::Machine;
use crate::numbers::{Percentiles, mib, table};
use crate::report::{self, verdict};

/// Result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) machine: Machine,
    pub(super) documents: u64,
    pub(super) import: Import,
    pub(super) bare: Bare,
    pub(super) lone: Vec<Lone>,
    pub(super) several: Vec<Several>,
    pub(super) open: Open,
    pub(super) facets: Errors,
    /// Resident memory of the service at the end, in bytes.
    pub(super) memory: u64,
    pub(super) postgres: Option<Vec<Peer>>,
}

/// Import of all documents over a stream, and the searches meanwhile.
#[derive(Debug, Serialize)]
pub(super) struct Import {
    pub(super) seconds: f64,
    pub(super) failed: u64,
    /// Bytes of the store that the documents take.
    pub(super) bytes: u64,
    pub(super) searches: Percentiles,
}

/// Queries of one class and tenant with one caller.
#[derive(Debug, Serialize)]
pub(super) struct Lone {
    pub(super) tenant: &'static str,
    pub(super) class: &'static str,
    pub(super) latency_us: Percentiles,
    /// Mean number of matching documents.
    pub(super) found: f64,
    /// Hashes that a query makes the engine load: median and maximum.
    pub(super) loaded: u64,
    pub(super) most_loaded: u64,
    pub(super) replay: Replay,
}

/// Closed loop.
#[derive(Debug, Serialize)]
pub(super) struct Several {
    pub(super) callers: usize,
    pub(super) calls_per_second: f64,
    pub(super) latency_us: Percentiles,
}

/// Highest rate that keeps the promise.
#[derive(Debug, Serialize)]
pub(super) struct Open {
    pub(super) rate: f64,
    pub(super) latency_us: Percentiles,
}

/// Queries on PostgreSQL.
#[derive(Debug, Serialize)]
pub(super) struct Peer {
    pub(super) tenant: &'static str,
    pub(super) class: &'static str,
    pub(super) latency_us: Percentiles,
}

/// Promise for the p99, in microseconds.
pub(super) const PROMISE: f64 = 10_000.0;
/// Share of the bare import's rate that an import reaches at least.
const IMPORT: f64 = 0.5;

// === impl Report ===

impl Report {
    fn import_ratio(&self) -> f64 {
        let bare = self.bare.documents as f64 / self.bare.seconds;
        self.documents as f64 / self.import.seconds / bare
    }

    fn table(&self) -> String {
        let millis = |micros: f64| format!("{:.1}", micros / 1e3);
        let rows: Vec<Vec<String>> =
            self.lone
                .iter()
                .map(|lone| {
                    let peers = self.postgres.as_ref().and_then(|peers| {
                        peers.iter().find(|peer| peer.tenant == lone.tenant && peer.class == lone.class)
                    });
                    let peer =
                        peers.map(|peer| format!("{} / {}", millis(peer.latency_us.p50), millis(peer.latency_us.p99)));
                    let (p50, p99) = lone.replay.added();
                    vec![
                        format!("{}, {}", lone.tenant, lone.class),
                        format!("{:.0}", lone.found),
                        millis(lone.latency_us.p50),
                        millis(lone.latency_us.p99),
                        format!("{} / {}", lone.loaded, lone.most_loaded),
                        format!("{} / {}", millis(p50), millis(p99)),
                        peer.unwrap_or_default(),
                    ]
                })
                .collect();
        let head = [
            "tenant, words",
            "found",
            "p50 ms",
            "p99 ms",
            "loaded p50 / max",
            "added ms p50 / p99",
            "PostgreSQL p50 / p99 ms",
        ];
        table(&head, &rows)
    }

    fn targets(&self) -> Vec<String> {
        let worst = self.lone.iter().map(|lone| lone.latency_us.p99).fold(0.0, f64::max);
        let ratio = self.import_ratio();
        let added = self.lone.iter().filter(|lone| !lone.replay.met()).count();
        let covered = self.facets.within as f64 / self.facets.counts.max(1) as f64;
        vec![
            format!(
                "One caller: the worst p99 is {:.1} ms, under 10 ms wanted: {}",
                worst / 1e3,
                verdict(worst < PROMISE)
            ),
            format!(
                "Service beside its bare commands: at most 1 ms or 15 % more in {} of {} rows: {}",
                self.lone.len() - added,
                self.lone.len(),
                verdict(added == 0)
            ),
            format!(
                "Import: {:.0} documents a second, {ratio:.2} of the bare hashes' rate, at least {IMPORT} wanted: {}; searches meanwhile: \
                 p50 {:.1} ms, p99 {:.1} ms",
                self.documents as f64 / self.import.seconds,
                verdict(ratio >= IMPORT),
                self.import.searches.p50 / 1e3,
                self.import.searches.p99 / 1e3
            ),
            format!(
                "Store: {:.0} bytes a document; the service: {:.0} MiB",
                self.import.bytes as f64 / self.documents as f64,
                mib(self.memory)
            ),
            format!(
                "Open loop: p99 stays under 10 ms up to {:.0} searches a second (there: p50 {:.1} ms, p99 {:.1} ms)",
                self.open.rate,
                self.open.latency_us.p50 / 1e3,
                self.open.latency_us.p99 / 1e3
            ),
            format!(
                "Sampled facets: {} of {}; {:.1} % of {} counts within their interval; median error of the large ones {:.1} %",
                self.facets.sampled,
                self.facets.all,
                covered * 100.0,
                self.facets.counts,
                self.facets.median_error * 100.0
            ),
        ]
    }
}

impl report::Report for Report {
    fn markdown(&self) -> String {
        let targets: Vec<_> = self.targets().into_iter().map(|line| format!("- {line}")).collect();
        let several = self.several.iter().map(|it| {
            let Percentiles { p50, p99, .. } = it.latency_us;
            format!(
                "- {} callers: {:.0} searches a second, p50 {:.1} ms, p99 {:.1} ms",
                it.callers,
                it.calls_per_second,
                p50 / 1e3,
                p99 / 1e3
            )
        });
        let several: Vec<_> = several.collect();
        let left_out = if self.postgres.is_none() {
            "\n- PostgreSQL is left out: --postgres FOLDER names its programs"
        } else {
            ""
        };
        format!(
            "{}\n\n{} documents, 4 tenants; text, 2 tags, range, sort, 3 facets, 20 hits with highlights.\n\n{}\n{}\n{}{left_out}",
            self.machine.line(),
            self.documents,
            self.table(),
            targets.join("\n"),
            several.join("\n"),
        )
    }

    fn failures(&self) -> Vec<String> {
        match self.import.failed {
            0 => Vec::new(),
            failed => vec![format!("{failed} documents of the import failed")],
        }
    }
}
