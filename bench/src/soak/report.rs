//! Report of `soak`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::book::Book;
use super::flat::Level;
use super::ledger::{Account, Invariant};
use super::outcome::Kind;
use super::plan::{Ground, label_of};
use super::samples::Figures;
use crate::machine::Machine;
use crate::numbers::{mib, table};
use crate::report;

/// Result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    seed: u64,
    repeat: String,
    parts: Vec<Part>,
    /// Errors that ended a part before it was judged.
    stopped: Vec<String>,
    /// Panics of the generator.
    panics: u64,
    /// Requires a look at each invariant: not in a run of seconds.
    #[serde(skip)]
    whole: bool,
}

/// Result on one kind of store.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    ground: &'static str,
    #[serde(skip)]
    has_gateway: bool,
    seconds: f64,
    calls: u64,
    faults: Vec<String>,
    invariants: Vec<Line>,
    latencies: Vec<Latency>,
    /// Failures by reason, of the whole part.
    failures: BTreeMap<String, u64>,
    /// Times that the machine stood still; calm parts, and those in which it was too busy.
    stalls: u64,
    calm_parts: [u64; 2],
    /// Cores that the services, the store and the generator used before the first fault.
    cores: [f64; 3],
    revocations: usize,
    level: Level,
    /// Error that ended the part before its time.
    pub(super) stopped: Option<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    rule: &'static str,
    #[serde(flatten)]
    account: Account,
}

#[derive(Debug, Serialize)]
struct Latency {
    kind: &'static str,
    before_us: Figures,
    /// Calm parts after faults together.
    after_us: Figures,
}

// === impl Part ===

impl Part {
    pub(super) fn new(ground: Ground, book: &Book, revocations: usize, level: Level, cores: [f64; 3]) -> Part {
        let line = |one: Invariant| Line { name: one.name(), rule: one.rule(), account: book.ledger.account(one) };
        let latency = |kind: Kind| Latency {
            kind: kind.name(),
            before_us: book.samples.figures(0, kind),
            after_us: book.samples.later(kind),
        };
        Part {
            ground: match ground {
                Ground::Single => "one primary with a replica",
                Ground::Cluster => "a cluster of three primaries with a replica each",
            },
            has_gateway: ground == Ground::Single,
            seconds: book.clock.elapsed().as_secs_f64(),
            calls: book.calls(),
            faults: book.faults(),
            invariants: Invariant::ALL.into_iter().map(line).collect(),
            latencies: Kind::ALL.into_iter().map(latency).filter(|latency| latency.before_us.count > 0).collect(),
            failures: book.failures(),
            stalls: book.clock.stalls(),
            calm_parts: book.parts(),
            cores,
            revocations,
            level,
            stopped: None,
        }
    }

    fn markdown(&self) -> String {
        format!(
            "## On {}\n\n{:.0} s, {} calls, {} revocations. Faults: {}.\n\n{}\n{}\n{}\n{}\n",
            self.ground,
            self.seconds,
            self.calls,
            self.revocations,
            counted(&self.faults),
            self.invariants(),
            self.latencies(),
            self.level(),
            self.notes()
        )
    }

    fn invariants(&self) -> String {
        let row = |line: &Line| {
            let Account { checks, broken, excused, .. } = &line.account;
            let verdict = match (checks, broken) {
                (0, _) => "-",
                (_, 0) => "holds",
                _ => "**broken**",
            };
            let [checks, broken, excused] = [checks, broken, excused].map(u64::to_string);
            vec![line.name.to_owned(), checks, broken, excused, verdict.to_owned(), line.rule.to_owned()]
        };
        let rows: Vec<_> = self.invariants.iter().map(row).collect();
        table(&["invariant", "checks", "broken", "excused", "verdict", "rule"], &rows)
    }

    fn latencies(&self) -> String {
        let millis = |us: u32| format!("{:.2}", f64::from(us) / 1e3);
        let row = |latency: &Latency| {
            let (before, after) = (latency.before_us, latency.after_us);
            vec![
                latency.kind.to_owned(),
                before.count.to_string(),
                millis(before.p50),
                millis(before.p99),
                after.count.to_string(),
                millis(after.p50),
                millis(after.p99),
            ]
        };
        let rows: Vec<_> = self.latencies.iter().map(row).collect();
        table(&["call", "calm before", "p50 ms", "p99 ms", "calm after faults", "p50 ms", "p99 ms"], &rows)
    }

    fn level(&self) -> String {
        let Level { processes, connections, store_bytes } = &self.level;
        let mut rows: Vec<_> = processes
            .iter()
            .map(|process| {
                let [first, last] = process.rss.map(|bytes| format!("{:.1}", mib(bytes)));
                let [open, still_open] = process.descriptors.map(|count| count.to_string());
                vec![process.name.clone(), first, last, open, still_open]
            })
            .collect();
        rows.sort();
        let [open, still_open] = connections.map(|count| count.to_string());
        let [first, last] = store_bytes.map(|bytes| format!("{:.1}", mib(bytes)));
        rows.push(vec!["the store (data, connections)".to_owned(), first, last, open, still_open]);
        table(&["process", "MiB at first", "MiB at last", "descriptors", "at last"], &rows)
    }

    fn notes(&self) -> String {
        let failures: Vec<_> = self.failures.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let failures = if failures.is_empty() { "none".to_owned() } else { failures.join(", ") };
        let ([parts, busy], [services, store, generator]) = (self.calm_parts, self.cores);
        let stalls = self.stalls;
        let stopped =
            self.stopped.as_ref().map_or_else(String::new, |_| "\n**The part ended before its time.**\n".to_owned());
        format!(
            "Failures: {failures}.\n\nThe machine stood still {stalls} times, and was too busy in {busy} of {parts} calm parts; what was \
             found then of invariants of time is excused. Cores before the first fault: services {services:.2}, store {store:.2}, \
             generator {generator:.2}.\n{}{stopped}",
            self.excused()
        )
    }

    /// First finding of each invariant that is excused.
    fn excused(&self) -> String {
        let first = |line: &Line| {
            let Account { excused, first_excused, .. } = &line.account;
            first_excused.as_ref().map(|text| format!("- {}, excused {excused} times: {text}\n", line.name))
        };
        let lines: String = self.invariants.iter().filter_map(first).collect();
        if lines.is_empty() { lines } else { format!("\n{lines}") }
    }

    fn failures_of(&self, whole: bool) -> Vec<String> {
        // A part that was cut short need not have come to all of them.
        let whole = whole && self.stopped.is_none();
        let failure = |line: &Line| {
            let Account { checks, broken, first, by_fault, .. } = &line.account;
            if *broken > 0 {
                let faults: Vec<_> = by_fault.iter().map(|(fault, count)| format!("{count} after {fault}")).collect();
                let first = first.as_deref().unwrap_or_default();
                return Some(format!(
                    "{}: broken {broken} of {checks} times ({}): {first}",
                    line.name,
                    faults.join(", ")
                ));
            }
            // Nobody calls through the gateway, and no way fails alone, on a cluster.
            let expected = line.name != Invariant::Alone.name() || self.has_gateway;
            (whole && expected && *checks == 0).then(|| format!("{}: nothing was checked", line.name))
        };
        let [parts, busy] = self.calm_parts;
        let too_busy = (whole && busy * 2 > parts).then(|| {
            format!("the machine was too busy in {busy} of {parts} calm parts: run it where nothing else runs")
        });
        self.invariants
            .iter()
            .filter_map(failure)
            .chain(too_busy)
            .chain(self.stopped.as_ref().map(|error| format!("the part ended before its time: {error}")))
            .map(|text| format!("on {}: {text}", self.ground))
            .collect()
    }
}

/// `cut 2, delay 1`.
fn counted(faults: &[String]) -> String {
    let mut counts = BTreeMap::<&str, u32>::new();
    for fault in faults {
        *counts.entry(label_of(fault)).or_default() += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(fault, count)| format!("{fault} {count}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

// === impl Report ===

impl Report {
    pub(super) fn new(machine: Machine, seed: u64, repeat: String, parts: Vec<Part>, whole: bool) -> Report {
        Report { machine, seed, repeat, parts, stopped: Vec::new(), panics: 0, whole }
    }

    /// Adds what went wrong besides: errors that ended a part before it was judged, and panics of the generator.
    pub(super) fn add(&mut self, stopped: Vec<String>, panics: u64) {
        (self.stopped, self.panics) = (stopped, panics);
    }
}

impl report::Report for Report {
    fn markdown(&self) -> String {
        let parts: String = self.parts.iter().map(Part::markdown).collect();
        format!("{}\n\nSeed {}; to repeat: `{}`\n\n{parts}", self.machine.line(), self.seed, self.repeat)
    }

    fn failures(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.parts.iter().flat_map(|part| part.failures_of(self.whole)).collect();
        lines.extend_from_slice(&self.stopped);
        if self.panics > 0 {
            lines
                .push(format!("the generator panicked {} times, as said above: what it found is not all", self.panics));
        }
        if !lines.is_empty() {
            lines.push(format!("the seed was {}; to repeat: {}", self.seed, self.repeat));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report as _;

    fn report(book: &Book, whole: bool) -> Report {
        let level = Level { processes: Vec::new(), connections: [1, 1], store_bytes: [1, 1] };
        let part = Part::new(Ground::Single, book, 0, level, [0.1; 3]);
        Report::new(Machine::here("9".to_owned()), 7, "soak --seed 7".to_owned(), vec![part], whole)
    }

    #[test]
    fn a_broken_invariant_fails_the_run_and_tells_how_to_repeat_it() {
        let book = Book::new();
        Invariant::ALL.into_iter().for_each(|one| book.check(one, Ok(())));
        book.close(false);
        assert!(report(&book, true).failures().is_empty());
        book.check(Invariant::Bound, Err("too much".to_owned()));
        let failures = report(&book, true).failures();
        assert!(failures[0].contains("too much") && failures[1].contains("--seed 7"), "{failures:?}");
        assert!(report(&book, true).markdown().contains("**broken**"));
    }

    #[test]
    fn an_invariant_that_nothing_was_held_against_fails_a_whole_run() {
        assert_eq!(report(&Book::new(), true).failures().len(), Invariant::ALL.len() + 1);
        assert!(report(&Book::new(), false).failures().is_empty());
    }

    #[test]
    fn a_machine_that_is_too_busy_fails_a_whole_run() {
        let book = Book::new();
        Invariant::ALL.into_iter().for_each(|one| book.check(one, Ok(())));
        [false, true, true].into_iter().for_each(|busy| book.close(busy));
        let failures = report(&book, true).failures();
        assert!(failures.len() == 2 && failures[0].contains("too busy"), "{failures:?}");
        assert!(report(&book, false).failures().is_empty());
    }

    #[test]
    fn a_run_that_ends_early_or_panics_fails_and_tells_what_it_found() {
        let book = Book::new();
        book.check(Invariant::Bound, Err("too much".to_owned()));
        let mut early = report(&book, true);
        early.parts[0].stopped = Some("the store has ended".to_owned());
        early.add(vec!["on Cluster: no start".to_owned()], 1);
        let failures = early.failures();
        assert_eq!(failures.len(), 5, "{failures:?}");
        assert!(failures[0].contains("too much") && failures[1].contains("store has ended"), "{failures:?}");
        assert!(early.markdown().contains("ended before its time"));
    }

    #[test]
    fn excused_findings_are_reported() {
        let book = Book::new();
        book.check(Invariant::Calm, Err("late".to_owned()));
        book.close(true);
        let text = report(&book, false).markdown();
        assert!(
            text.contains("no errors in calm, excused 1 times") && text.contains("late; the machine was busy"),
            "{text}"
        );
    }

    #[test]
    fn faults_are_counted_by_kind() {
        let faults = ["delay: all, 1.0s", "delay: session 1, 0.1s", "CLIENT KILL"].map(str::to_owned);
        assert_eq!(counted(&faults), "CLIENT KILL 1, delay 2");
    }
}
