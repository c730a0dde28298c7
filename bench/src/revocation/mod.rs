//! `revocation`: checks beside an empty echo, the replica in this process, and what a million revocations cost.

mod fill;
mod memory;
mod report;
mod row;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use keyplane_engine::{Toolbox, Valkey};
use tokio::time::sleep;

use crate::Error;
use crate::closed::{self, Shape};
use crate::machine::{self, Machine};
use crate::rig::{self, Services};
use crate::serve::Service;
use crate::tokens::Mint;
use crate::usage::Commands;
pub(crate) use report::Report;
use row::{Row, Target};

/// Measurement of the rows, and number of revocations.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    shape: Shape,
    /// Revocations that are live meanwhile.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=20_000_000))]
    revocations: u64,
    /// Rows to run, such as `echo,check`; all unless given.
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<Row>,
    /// Checks only that everything works: short turns, few revocations, and figures that say little.
    #[arg(long)]
    quick: bool,
}

/// Idle time in which an instance's commands are counted.
const IDLE: Duration = Duration::from_secs(5);

/// Runs everything and returns the report. Takes two minutes and a half.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let (count, length, idle) = match options.quick {
        true => (20_000, Duration::from_millis(100), Duration::from_secs(1)),
        false => (options.revocations, Duration::from_secs(3), IDLE),
    };
    eprintln!("a replica in this process");
    // First of all: freed memory can't be distinguished from used memory later.
    let in_process = memory::measure(count, length)?;
    let valkey = Valkey::builder(&Toolbox::find()).modules(true).start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(options, &valkey, in_process, count, idle))
}

async fn measure(
    options: &Options,
    engine: &Valkey,
    in_process: memory::InProcess,
    count: u64,
    idle: Duration,
) -> Result<Report, Error> {
    let shape = options.shape.or_quick(options.quick);
    let machine = Machine::here(rig::info(engine, "server", "valkey_version")?);
    let (services, empty) = boot(engine, true).await?;
    let empty_rss = machine::rss(services.pid())?;
    eprintln!("an idle instance");
    let idle_commands = count_idle(engine, idle).await?;

    eprintln!("revoking {count} tokens");
    let channels = rig::channels(services.addresses.service, shape.connections.into()).await?;
    let mint = Mint::new();
    let filled = fill::fill(engine, &channels, services.pid(), &mint, count).await?;
    let (other, full) = boot(engine, false).await?;
    let full_rss = machine::rss(other.pid())?;
    drop(other);
    fill::add_cutoffs(&channels, &mint, count / 100).await?;

    let echo = services.addresses.echo.ok_or("the services came without the echo service")?;
    let target = Target::new(&rig::channels(echo, shape.connections.into()).await?, &channels, mint);
    let rows = if options.rows.is_empty() { Row::ALL.to_vec() } else { options.rows.clone() };
    let lines = closed::run(shape, &rows, &target, &services, std::slice::from_ref(engine)).await?;
    Ok(Report {
        machine,
        shape,
        boot_seconds: [empty, full],
        boot_rss: [empty_rss, full_rss],
        idle_commands,
        in_process,
        filled,
        lines,
    })
}

/// Starts an instance; how long it took until it was ready, in seconds.
async fn boot(engine: &Valkey, echo: bool) -> Result<(Services, f64), Error> {
    let start = Instant::now();
    let services = Services::start(Service::Revocation, &engine.url(), echo, &[]).await?;
    Ok((services, start.elapsed().as_secs_f64()))
}

/// Commands a second, by name, that the one instance there is makes while nobody calls it.
async fn count_idle(engine: &Valkey, length: Duration) -> Result<BTreeMap<String, f64>, Error> {
    sleep(Duration::from_millis(500)).await;
    let (start, before) = (Instant::now(), Commands::now(engine)?);
    sleep(length).await;
    let (after, seconds) = (Commands::now(engine)?, start.elapsed().as_secs_f64());
    Ok(after.calls_since(&before).into_iter().map(|(name, calls)| (name, calls as f64 / seconds)).collect())
}
