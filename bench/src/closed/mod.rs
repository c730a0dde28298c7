//! Closed loops: a number of workers, each with one call at a time.
//!
//! Rows take turns in short slices, forwards in one round and backwards in the next, so that whatever else the
//! machine does hits all rows alike.

mod lines;

use std::time::Duration;

use clap::Args;
use futures::future::join_all;
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use crate::machine::{self, Cores};
use crate::numbers::Latencies;
use crate::rig::Services;
use crate::{Error, rig};
pub(crate) use lines::{Lines, Ratio};

/// Calls of one bench.
pub(crate) trait Row: Copy + PartialEq + Send + 'static {
    /// Name in the report.
    fn label(self) -> &'static str;

    /// Row that this one is compared with.
    fn limit(self) -> Option<Self>;
}

/// Subject of a measurement.
pub(crate) trait Target {
    type Row: Row;

    /// Keeps `in_flight` calls in flight until then, and waits for the last ones.
    fn drive(
        &self,
        row: Self::Row,
        in_flight: usize,
        until: Instant,
    ) -> impl Future<Output = Result<Vec<Work>, Error>> + Send;

    /// Process that answers a row, where it is not the services.
    fn instead(&self, _row: Self::Row) -> Option<u32> {
        None
    }
}

/// Maker of calls one by one; each worker has its own.
pub(crate) trait Caller: Clone + Send + Sync + 'static {
    type Row: Row + Sync;

    /// Makes the call `number` of a worker, on the worker's connection; returns the size of the reply in bytes, or what
    /// went wrong.
    fn call(
        &mut self,
        row: Self::Row,
        worker: usize,
        number: usize,
    ) -> impl Future<Output = Result<u64, String>> + Send;
}

/// Number of calls in flight, and their time.
#[derive(Clone, Copy, Debug, Args, Serialize)]
pub(crate) struct Shape {
    /// Calls in flight.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
    /// Connections that they share.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) connections: u16,
    /// Turns of each row, after one that is not counted.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) rounds: u16,
    /// Length of a turn.
    #[arg(long, default_value = "1500ms", value_parser = crate::report::duration)]
    #[serde(rename = "slice_ms", serialize_with = "millis")]
    pub(crate) slice: Duration,
}

// === impl Shape ===

impl Shape {
    /// Shape from the options; the smallest possible one for a quick run.
    pub(crate) fn or_quick(self, quick: bool) -> Shape {
        match quick {
            true => Shape { concurrency: 4, rounds: 2, slice: Duration::from_millis(250), ..self },
            false => self,
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shape { concurrency, connections, rounds, slice } = self;
        let slice = slice.as_millis();
        write!(f, "{concurrency} calls in flight on {connections} connections, {rounds} rounds of {slice} ms a row")
    }
}

/// Duration in whole milliseconds.
pub(crate) fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(duration.as_millis())
}

/// Processes whose time is counted.
#[derive(Clone)]
struct Pids {
    service: u32,
    valkeys: Vec<u32>,
    generator: u32,
    /// Processes that answer some of the rows in place of the services.
    others: Vec<u32>,
}

/// Turn of a row.
struct Slice {
    work: Work,
    elapsed: Duration,
    service_cpu: Duration,
    valkey_cpu: Duration,
    generator_cpu: Duration,
}

/// Work of a turn.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) latencies: Latencies,
    pub(crate) failed: u64,
    /// Message of the first failed call.
    pub(crate) failure: Option<String>,
    pub(crate) reply_bytes: u64,
}

/// Calls of one worker in one slice, at most.
const MAX_CALLS: u64 = 5_000_000;

/// Gives each row its turns, and one before that is not counted. Takes about `rows * (rounds + 1) * slice`.
pub(crate) async fn run<T: Target>(
    shape: Shape,
    rows: &[T::Row],
    target: &T,
    services: &Services,
    valkeys: &[keyplane_engine::Valkey],
) -> Result<Lines, Error> {
    let mut others: Vec<u32> = rows.iter().filter_map(|row| target.instead(*row)).collect();
    others.sort_unstable();
    others.dedup();
    let of_valkey = |valkey: &keyplane_engine::Valkey| valkey.pid().ok_or_else(|| Error::from("Valkey ended"));
    let valkey_pids = valkeys.iter().map(of_valkey).collect::<Result<_, _>>()?;
    let pids = Pids { service: services.pid(), valkeys: valkey_pids, generator: std::process::id(), others };
    let mut lines = Lines::new(rows);
    for &row in rows {
        turn(row, target, shape.concurrency, shape.slice / 2, &pids).await?;
    }
    let (start, cpu) = (Cores::now()?, pids.cpu()?);
    for round in 0..shape.rounds {
        eprintln!("round {} of {}", round + 1, shape.rounds);
        let mut order = rows.to_vec();
        if round % 2 == 1 {
            order.reverse();
        }
        for row in order {
            lines.add(row.label(), &turn(row, target, shape.concurrency, shape.slice, &pids).await?);
        }
    }
    lines.others_cpu = Cores::now()?.used_by_others(start, pids.cpu()?.saturating_sub(cpu));
    lines.memory = machine::rss(services.pid())?;
    lines.used_memory = valkeys.iter().map(rig::used_memory).sum::<Result<_, _>>()?;
    Ok(lines)
}

/// Turn of a row.
async fn turn<T: Target>(
    row: T::Row,
    target: &T,
    in_flight: u16,
    length: Duration,
    pids: &Pids,
) -> Result<Slice, Error> {
    let service = target.instead(row).unwrap_or(pids.service);
    let before = [machine::cpu(service)?, pids.of_valkey()?, machine::cpu(pids.generator)?];
    let start = Instant::now();
    let mut sum = Work::new();
    for work in target.drive(row, in_flight.into(), start + length).await? {
        sum.add(work);
    }
    Ok(Slice {
        elapsed: start.elapsed(),
        work: sum,
        service_cpu: machine::cpu(service)?.saturating_sub(before[0]),
        valkey_cpu: pids.of_valkey()?.saturating_sub(before[1]),
        generator_cpu: machine::cpu(pids.generator)?.saturating_sub(before[2]),
    })
}

/// Drives workers, each with one call after the other.
impl<C: Caller> Target for C {
    type Row = C::Row;

    async fn drive(&self, row: C::Row, in_flight: usize, until: Instant) -> Result<Vec<Work>, Error> {
        let work = (0..in_flight).map(|worker| tokio::spawn(work(row, self.clone(), worker, in_flight, until)));
        Ok(join_all(work).await.into_iter().collect::<Result<_, _>>()?)
    }
}

async fn work<C: Caller>(row: C::Row, mut target: C, worker: usize, workers: usize, until: Instant) -> Work {
    let mut work = Work::new();
    let mut start = Instant::now();
    let mut number = worker;
    for _ in 0..MAX_CALLS {
        let result = target.call(row, worker, number).await;
        let end = Instant::now();
        match result {
            Ok(bytes) => {
                work.latencies.record(end - start);
                work.reply_bytes = bytes;
            }
            Err(error) => {
                work.failed += 1;
                work.failure.get_or_insert(error);
            }
        }
        if end >= until {
            break;
        }
        start = end;
        number += workers;
    }
    work
}

// === impl Work ===

impl Work {
    pub(crate) fn new() -> Work {
        Work { latencies: Latencies::new(), failed: 0, failure: None, reply_bytes: 0 }
    }

    pub(crate) fn add(&mut self, other: Work) {
        self.latencies.add(&other.latencies);
        self.failed += other.failed;
        self.failure = self.failure.take().or(other.failure);
        self.reply_bytes = other.reply_bytes;
    }
}

// === impl Pids ===

impl Pids {
    fn cpu(&self) -> Result<Duration, Error> {
        let all = [self.service, self.generator].into_iter().chain(self.others.iter().copied());
        Ok(all.map(machine::cpu).sum::<Result<Duration, _>>()? + self.of_valkey()?)
    }

    /// Sum over all nodes.
    fn of_valkey(&self) -> Result<Duration, Error> {
        self.valkeys.iter().map(|pid| machine::cpu(*pid)).sum()
    }
}
