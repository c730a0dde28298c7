//! `sessions`: thousands of sessions, updated and watched at the same time, in an open loop.
//!
//! Updates are sent at fixed moments, whether or not earlier ones have been answered, and each latency counts from the
//! moment at which the update was due: a server that stalls can't hide it by slowing the generator down.

mod pacer;
mod report;
mod watchers;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::stream::{StreamExt as _, iter};
use keyplane_contracts::session::v1::GetSessionRequest;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use keyplane_valkey::App;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

use crate::load::Made;
use crate::machine::{self, Cores, Machine};
use crate::rig::{self, Services};
use crate::serve::Service;
use crate::{Error, load};
use pacer::{Plan, Updates};
pub(crate) use report::Report;
use watchers::Watchers;

/// Number of sessions, and their load.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Sessions, one a user; each is watched.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    sessions: u32,
    /// Time between two updates of one session.
    #[arg(long, default_value = "10s", value_parser = crate::report::duration)]
    interval: Duration,
    /// Time in which updates are sent; a minute or less keeps a run under two minutes.
    #[arg(long, default_value = "1m", value_parser = crate::report::duration)]
    duration: Duration,
    /// Checks only that everything works: few sessions, for a few seconds.
    #[arg(long)]
    quick: bool,
}

/// Memory along the way, in bytes.
#[derive(Debug, Default)]
struct Memory {
    idle_rss: u64,
    /// Valkey before and after the sessions were made, and after the updates.
    valkey: [u64; 3],
    /// Keys of one user with one session: hash, index, stream.
    keys: [u64; 3],
    /// Service before and after the watches were opened, and after the updates.
    service: [u64; 3],
}

/// Watches on one connection: the service allows 1024 streams by default.
const WATCHES: usize = 800;
/// Connections for updates.
const UPDATERS: usize = 4;
/// Longest time of the last updates and events.
const SETTLE: Duration = Duration::from_secs(10);
/// Sessions that are read at the same time for the final check.
const AT_A_TIME: usize = 32;

/// Runs the benchmark and returns the report. Takes the duration of the updates and about 20 seconds.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let valkey = rig::valkey()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(options, &valkey))
}

async fn measure(options: &Options, engine: &keyplane_engine::Valkey) -> Result<Report, Error> {
    let (count, interval, duration) = match options.quick {
        true => (100, Duration::from_secs(1), Duration::from_secs(3)),
        false => (usize::try_from(options.sessions)?, options.interval, options.duration),
    };
    let machine = Machine::here(rig::info(engine, "server", "valkey_version")?);
    let mut memory = Memory { idle_rss: rig::idle_rss(Service::Session, engine).await?, ..Memory::default() };
    let services = Services::start(Service::Session, &engine.url(), false, &[]).await?;
    let (service_pid, valkey_pid) = (services.pid(), engine.pid().ok_or("Valkey ended")?);
    let updaters = rig::channels(services.addresses.service, UPDATERS).await?;

    eprintln!("making {count} sessions");
    memory.valkey[0] = rig::used_memory(engine)?;
    let sessions: Arc<[Made]> = load::make_sessions(&updaters, count).await?.into();
    memory.valkey[1] = rig::used_memory(engine)?;
    memory.keys = keys(engine, &sessions[0])?;

    eprintln!("opening {count} watches");
    memory.service[0] = machine::rss(service_pid)?;
    let plan = Plan::new(count, interval, duration);
    let watching = rig::channels(services.addresses.service, count.div_ceil(WATCHES)).await?;
    let watchers = Watchers::open(&watching, &sessions, &plan).await?;
    memory.service[1] = machine::rss(service_pid)?;

    eprintln!("{:.0} updates a second for {} s", plan.rate(), duration.as_secs());
    let pids = [service_pid, valkey_pid, std::process::id()];
    let (cores, cpu, start) = (Cores::now()?, times(pids)?, Instant::now());
    let updates = Updates::send(&plan, &updaters, Arc::clone(&sessions), SETTLE).await?;
    watchers.settle(updates.acknowledged(), SETTLE).await;
    let spent: Vec<Duration> =
        times(pids)?.iter().zip(cpu).map(|(after, before)| after.saturating_sub(before)).collect();
    let others_cpu = Cores::now()?.used_by_others(cores, spent.iter().sum());
    let cpu_cores = spent.iter().map(|cpu| cpu.as_secs_f64() / start.elapsed().as_secs_f64()).collect();
    memory.valkey[2] = rig::used_memory(engine)?;
    memory.service[2] = machine::rss(service_pid)?;

    let lost = lost(&updaters, &sessions, &updates).await?;
    let seen = watchers.close().await;
    Ok(Report::new(machine, &plan, memory, &updates, &seen, report::Rest { others_cpu, cpu_cores, lost }))
}

/// Memory of the keys of one user with one session, by Valkey's own account.
fn keys(engine: &keyplane_engine::Valkey, made: &Made) -> Result<[u64; 3], Error> {
    let (place, app) = (made.place(), App::new(rig::APP)?);
    let size = |parts: &[&str]| {
        let reply = engine.command(&["MEMORY", "USAGE", place.key(&app, parts).as_str(), "SAMPLES", "0"])?;
        reply.int().and_then(|bytes| u64::try_from(bytes).ok()).ok_or_else(|| Error::from("a key is missing"))
    };
    Ok([size(&["s", place.session])?, size(&["index"])?, size(&["events"])?])
}

fn times(pids: [u32; 3]) -> Result<[Duration; 3], Error> {
    Ok([machine::cpu(pids[0])?, machine::cpu(pids[1])?, machine::cpu(pids[2])?])
}

/// Sessions that lack an update which was acknowledged: each makes one version.
async fn lost(channels: &[Channel], sessions: &[Made], updates: &Updates) -> Result<u64, Error> {
    let check = |number: usize| {
        let mut client = SessionServiceClient::new(channels[number % channels.len()].clone());
        let name = sessions[number].name.clone();
        async move {
            let version = client.get_session(GetSessionRequest { name }).await?.into_inner().version;
            Ok::<_, Error>(u64::from(i64::from(version) < 1 + i64::from(updates.of_session(number))))
        }
    };
    let mut checks = iter(0..sessions.len()).map(check).buffer_unordered(AT_A_TIME);
    let mut lost = 0;
    while let Some(one) = checks.next().await {
        lost += one?;
    }
    Ok(lost)
}

/// Waits until `condition` holds, at most `within`.
async fn until(within: Duration, condition: impl Fn() -> bool) {
    let end = Instant::now() + within;
    while !condition() && Instant::now() < end {
        sleep(Duration::from_millis(20)).await;
    }
}
