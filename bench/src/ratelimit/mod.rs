//! `ratelimit`: limits beside an empty echo, their own script, and envoyproxy/ratelimit.

mod duel;
mod extra;
mod generator;
mod open;
mod peer;
mod policies;
mod report;
mod row;
mod target;
mod window;
mod wire;
mod zipf;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use keyplane_contracts::ratelimit::v1::rate_limit_service_client::RateLimitServiceClient;
use keyplane_engine::{Cluster, Toolbox, Valkey};
use keyplane_rate_limiting::store::{BatchSettings, BucketStore};
use keyplane_valkey::{App, Settings};
use tempfile::TempDir;

use crate::Error;
use crate::closed::{self, Lines, Row as _, Shape};
use crate::decide::Decide;
use crate::machine::Machine;
use crate::pb::echo_service_client::EchoServiceClient;
use crate::rig::{self, APP, Services};
use crate::serve::Service;
use duel::{Duel, Load};
use open::Schedule;
pub(crate) use report::Report;
use report::{Duels, Open, Rest};
use row::Row;
pub(crate) use target::envoy;
use target::{Tally, Target};
use window::Windows;
use zipf::Zipf;

/// Measurement of the rows, and of the rest.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    shape: Shape,
    /// Users whose calls are admitted, each with a bucket.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    users: u32,
    /// Rows to run, such as `echo-decide,acquire`; all unless given.
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<Row>,
    /// Program of envoyproxy/ratelimit; looked for where `go install` puts it, and on the PATH, unless given.
    #[arg(long, value_name = "FILE")]
    peer: Option<PathBuf>,
    /// Callers in the open loop.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    callers: u32,
    /// Users of the calls.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    zipf_users: u32,
    /// Their calls a second together; 60 % of what the row Acquire reached unless given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Length of the open loop.
    #[arg(long, default_value = "20s", value_parser = crate::report::duration)]
    duration: Duration,
    /// Calls in flight beside envoyproxy/ratelimit.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=1024))]
    peer_concurrency: u16,
    /// Runs only the rows: no envoyproxy/ratelimit, cluster, open loop, flood or memory.
    #[arg(long)]
    only_rows: bool,
    /// Runs only the rows and the comparison with envoyproxy/ratelimit.
    #[arg(long, conflicts_with = "only_rows")]
    only_peer: bool,
    /// Checks only that everything works: short turns, few calls, and figures that say little.
    #[arg(long)]
    quick: bool,
}

/// Amounts of the parts besides the rows.
struct Size {
    flood: usize,
    memory: usize,
    duration: Duration,
    callers: u32,
    herds: u32,
    tries: Duration,
}

/// Room for the callers of the open loop: by default 1,024 calls at a time are let in. And the patience of envoyproxy/ratelimit, whose
/// calls may wait for the store for 10 s; by default ours give up after 8 ms.
const ROOM: [(&str, &str); 3] = [
    ("KEYPLANE_MAX_IN_FLIGHT", "32768"),
    ("KEYPLANE_RATELIMIT_QUEUE", "32768"),
    ("KEYPLANE_RATELIMIT_ENVOY_DEADLINE", "10s"),
];
/// Streams of one connection, as the service allows them by default, with some to spare.
const STREAMS: u32 = 800;
/// Share of the closed loop's throughput that the open one is driven at.
const SHARE: f64 = 0.6;
/// Calls a second where the row Acquire was not measured.
const RATE: f64 = 5_000.0;

/// Runs everything and returns the report. Takes some six minutes.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let valkey = rig::valkey()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(options, &valkey))
}

async fn measure(options: &Options, engine: &Valkey) -> Result<Report, Error> {
    let shape = match options.shape.or_quick(options.quick) {
        shape if options.quick => Shape { slice: Duration::from_millis(100), ..shape },
        shape => shape,
    };
    let size = Size::of(options);
    let machine = Machine::here(rig::info(engine, "server", "valkey_version")?);
    let folder = TempDir::new()?;
    let services = start(&engine.url(), folder.path()).await?;
    let mut target = target(&engine.url(), &services, options, shape).await?;
    target.windows = Some(Arc::new(Windows::connect(engine, shape.concurrency.into()).await?));

    let rows = if options.rows.is_empty() { Row::ALL.to_vec() } else { options.rows.clone() };
    let lines = closed::run(shape, &rows, &target, &services, std::slice::from_ref(engine)).await?;
    let duels = match options.only_rows {
        true => None,
        false => duels(options, engine, &services, shape, size.tries, folder.path()).await?,
    };
    let (rest, cluster) = match options.only_rows || options.only_peer {
        true => (None, None),
        false => {
            let rest = rest(options, engine, &services, &target, shape, &lines, &size).await?;
            drop(services);
            (Some(rest), Some(on_a_cluster(options, shape, folder.path()).await?))
        }
    };
    let answers = Row::ALL.iter().map(|row| (row.label(), target.tallies[*row as usize].snapshot()));
    Ok(Report { machine, shape, users: options.users, duels, answers: answers.collect(), lines, cluster, rest })
}

/// Service, with its policies and the yardsticks.
async fn start(url: &str, folder: &Path) -> Result<Services, Error> {
    let file = policies::write_ours(folder)?;
    let file = file.to_str().ok_or("the temporary folder's path is not UTF-8")?;
    let settings = [&[("KEYPLANE_RATELIMIT_POLICIES", file)], &ROOM[..]].concat();
    Services::start(Service::RateLimit, url, true, &settings).await
}

async fn target(url: &str, services: &Services, options: &Options, shape: Shape) -> Result<Target, Error> {
    let echo = services.addresses.echo.ok_or("the services came without the echo service")?;
    let (echo, own) = (
        rig::channels(echo, shape.connections.into()).await?,
        rig::channels(services.addresses.service, shape.connections.into()).await?,
    );
    let valkey = keyplane_valkey::Valkey::connect(&Settings::new(url), App::new(APP)?)?;
    valkey.wait_ready(Duration::from_secs(5)).await?;
    Ok(Target {
        echo: echo.into_iter().map(EchoServiceClient::new).collect(),
        service: own.into_iter().map(RateLimitServiceClient::new).collect(),
        decide: Decide::new(valkey.clone()),
        store: BucketStore::new(valkey, BatchSettings::default()),
        windows: None,
        users: usize::try_from(options.users)?,
        ids: Arc::default(),
        tallies: Arc::new(std::array::from_fn(|_| Tally::default())),
    })
}

/// Runs the comparison with envoyproxy/ratelimit, if that is installed.
async fn duels(
    options: &Options,
    engine: &Valkey,
    services: &Services,
    shape: Shape,
    tries: Duration,
    folder: &Path,
) -> Result<Option<Duels>, Error> {
    let Some(program) = peer::find(options.peer.as_deref())? else { return Ok(None) };
    let concurrency = if options.quick { shape.concurrency } else { options.peer_concurrency };
    let shape = Shape { concurrency, ..shape };
    let load = Load { shape, users: usize::try_from(options.users)?, tries };
    let together = Duel::together(load, &program, engine, services).await?;
    let url = engine.url();
    let apart = Duel::apart(load, &program, engine, start(&url, folder)).await?;
    Ok(Some(Duels { shape, together, apart }))
}

/// Runs the parts besides the rows: memory, the flood, the open loop.
async fn rest(
    options: &Options,
    engine: &Valkey,
    services: &Services,
    target: &Target,
    shape: Shape,
    lines: &Lines,
    size: &Size,
) -> Result<Rest, Error> {
    let channels = rig::channels(services.addresses.service, size.callers.div_ceil(STREAMS).max(4).try_into()?).await?;
    eprintln!("{} denied calls", size.flood);
    let flood = extra::flood(engine, target, size.flood, shape.concurrency.into()).await?;
    let reached = lines.line(Row::Acquire.label()).map_or(RATE, |line| line.calls_per_second * SHARE);
    let rate = options.rate.map_or(reached, f64::from);
    eprintln!("{} callers, {rate:.0} calls a second, in an open loop", size.callers);
    let zipf = Zipf::new(options.zipf_users);
    let spread = Schedule::spread(size.callers, rate, size.duration, &zipf).play(&channels).await?;
    eprintln!("{} callers at once, {} times", size.callers, size.herds);
    let herds = Schedule::herds(size.callers, size.herds, &zipf).play(&channels).await?;
    eprintln!("{} buckets", size.memory * 2);
    let memory = extra::memory(engine, &channels, size.memory).await?;
    Ok(Rest { flood, open: Open { callers: size.callers, users: options.zipf_users, rate, spread, herds }, memory })
}

/// Rows that mean something there, on three primaries.
async fn on_a_cluster(options: &Options, shape: Shape, folder: &Path) -> Result<Lines, Error> {
    eprintln!("a cluster of three primaries");
    let cluster = tokio::task::block_in_place(|| Cluster::start(&Toolbox::find(), 3))?;
    let services = start(&cluster.url(), folder).await?;
    let target = target(&cluster.url(), &services, options, shape).await?;
    closed::run(shape, &Row::CLUSTER, &target, &services, cluster.nodes()).await
}

// === impl Size ===

impl Size {
    fn of(options: &Options) -> Size {
        match options.quick {
            true => Size {
                flood: 2_000,
                memory: 1_000,
                duration: Duration::from_secs(1),
                callers: options.callers.min(1_000),
                herds: 1,
                tries: Duration::from_millis(50),
            },
            false => Size {
                flood: 100_000,
                memory: 100_000,
                duration: options.duration,
                callers: options.callers,
                herds: 5,
                tries: Duration::from_secs(2),
            },
        }
    }
}
