//! `mesh`: the session calls beside what bounds them.
//!
//! Each row is a closed loop: a number of workers, each with one call at a time. The rows take turns in short slices,
//! forwards in one round and backwards in the next, so that whatever else the machine does hits all rows alike.

mod report;
mod row;

use std::time::Duration;

use clap::Args;
use futures::future::join_all;
use keyplane_valkey::{App, Settings, Valkey};
use tokio::time::Instant;

use crate::machine::{self, Cores, Machine};
use crate::numbers::Latencies;
use crate::rig::{self, APP, Services};
use crate::{Error, load};
pub(crate) use report::Report;
use row::{Row, Target};

/// How the rows are measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Calls in flight.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Connections that they share.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
    /// Turns of each row, after one that is not counted.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Length of a turn.
    #[arg(long, default_value = "1500ms", value_parser = crate::report::duration)]
    slice: Duration,
    /// Sessions that the calls go to, one a user.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sessions: u32,
    /// Only these rows, such as `echo-get,get`; all unless given.
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<Row>,
    /// Only checks that everything works: short turns, and figures that say little.
    #[arg(long)]
    quick: bool,
}

/// How many calls at a time, and for how long.
#[derive(Clone, Copy)]
struct Shape {
    concurrency: u16,
    rounds: u16,
    slice: Duration,
}

/// One turn of a row.
struct Slice {
    latencies: Latencies,
    elapsed: Duration,
    failed: u64,
    /// What the first call that failed said.
    failure: Option<String>,
    reply_bytes: u64,
    service_cpu: Duration,
    valkey_cpu: Duration,
    generator_cpu: Duration,
}

/// What a worker did in a slice.
struct Work {
    latencies: Latencies,
    failed: u64,
    failure: Option<String>,
    reply_bytes: u64,
}

/// The processes whose time is counted.
#[derive(Clone, Copy)]
struct Pids {
    service: u32,
    valkey: u32,
    generator: u32,
}

/// Calls of one worker in one slice, at most.
const MAX_CALLS: u64 = 5_000_000;

/// Runs all rows and tells of them. Takes about `rows * (rounds + 1) * slice`.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let valkey = rig::valkey()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(options, &valkey))
}

async fn measure(options: &Options, engine: &keyplane_engine::Valkey) -> Result<Report, Error> {
    let shape = match options.quick {
        true => Shape { concurrency: 4, rounds: 2, slice: Duration::from_millis(250) },
        false => Shape { concurrency: options.concurrency, rounds: options.rounds, slice: options.slice },
    };
    let machine = Machine::here(rig::info(engine, "server", "valkey_version")?);
    let idle_rss = rig::idle_rss(engine).await?;

    let services = Services::start(engine, true).await?;
    let echo = services.addresses.echo.ok_or("the services came without the echo service")?;
    let session = rig::channels(services.addresses.session, options.connections.into()).await?;
    let sessions = load::make_sessions(&session, usize::try_from(options.sessions)?).await?;
    let store = Valkey::connect(&Settings::new(engine.url()), App::new(APP)?)?;
    store.wait_ready(Duration::from_secs(5)).await?;
    let target = Target::new(&rig::channels(echo, options.connections.into()).await?, &session, store, sessions);
    let pids =
        Pids { service: services.pid(), valkey: engine.pid().ok_or("Valkey ended")?, generator: std::process::id() };

    let rows = if options.rows.is_empty() { Row::ALL.to_vec() } else { options.rows.clone() };
    let mut report = Report::new(machine, options, shape, &rows, idle_rss);
    for &row in &rows {
        turn(row, &target, shape.concurrency, shape.slice / 2, pids).await?;
    }
    let (start, cpu) = (Cores::now()?, pids.cpu()?);
    for round in 0..shape.rounds {
        eprintln!("round {} of {}", round + 1, shape.rounds);
        let mut order = rows.clone();
        if round % 2 == 1 {
            order.reverse();
        }
        for row in order {
            report.add(row, &turn(row, &target, shape.concurrency, shape.slice, pids).await?);
        }
    }
    report.others_cpu = Cores::now()?.used_by_others(start, pids.cpu()?.saturating_sub(cpu));
    report.busy_rss = machine::rss(services.pid())?;
    Ok(report)
}

/// One turn of a row.
async fn turn(row: Row, target: &Target, workers: u16, length: Duration, pids: Pids) -> Result<Slice, Error> {
    let before = [machine::cpu(pids.service)?, machine::cpu(pids.valkey)?, machine::cpu(pids.generator)?];
    let start = Instant::now();
    let until = start + length;
    let work = (0..usize::from(workers)).map(|worker| {
        let target = target.clone();
        tokio::spawn(async move { work(row, target, worker, usize::from(workers), until).await })
    });
    let done = join_all(work).await;
    let elapsed = start.elapsed();
    let mut slice = Slice {
        latencies: Latencies::new(),
        elapsed,
        failed: 0,
        failure: None,
        reply_bytes: 0,
        service_cpu: machine::cpu(pids.service)?.saturating_sub(before[0]),
        valkey_cpu: machine::cpu(pids.valkey)?.saturating_sub(before[1]),
        generator_cpu: machine::cpu(pids.generator)?.saturating_sub(before[2]),
    };
    for work in done {
        let work = work?;
        slice.latencies.add(&work.latencies);
        slice.failed += work.failed;
        slice.failure = slice.failure.or(work.failure);
        slice.reply_bytes = work.reply_bytes;
    }
    Ok(slice)
}

async fn work(row: Row, mut target: Target, worker: usize, workers: usize, until: Instant) -> Work {
    let mut work = Work { latencies: Latencies::new(), failed: 0, failure: None, reply_bytes: 0 };
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

// === impl Pids ===

impl Pids {
    fn cpu(self) -> Result<Duration, Error> {
        Ok(machine::cpu(self.service)? + machine::cpu(self.valkey)? + machine::cpu(self.generator)?)
    }
}
