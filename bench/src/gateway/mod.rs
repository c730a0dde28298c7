//! `gateway`: the price of the guard of JSON bodies.
//!
//! Sessions are made, read, changed and deleted as JSON through a real Envoy: with the shipped configuration, and with the
//! same one without the guard and its buffer. Two processes of each configuration take turns, so that what two equals differ by is known too.

mod checker;
mod front;
mod kind;
mod lines;
mod plain;
mod report;
mod turn;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use clap::Args;
use keyplane_engine::Valkey;
use keyplane_local::{Grant, Issuer};
use serde::Serialize;
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::load::TENANT;
use crate::machine::{self, Cores, Machine};
use crate::rig::{self, Services};
use crate::serve::Service;
use crate::{Error, load};
use front::{Arm, Front, Site};
use kind::{Caller, Kind};
use lines::Line;
pub(crate) use report::Report;
use turn::Turn;

/// Load on the gateways.
#[derive(Clone, Copy, Debug, Args, Serialize)]
pub(crate) struct Options {
    /// Requests a second, in an open loop.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Requests in flight at full load.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Rounds: in each, every kind of request has a turn at every gateway.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Length of a turn.
    #[arg(long, default_value = "1500ms", value_parser = crate::report::duration)]
    #[serde(rename = "slice_ms", serialize_with = "crate::closed::millis")]
    slice: Duration,
    /// Checks only that everything works: short turns, and figures that say little.
    #[arg(long)]
    quick: bool,
}

/// Equipment of a run.
struct Rig {
    services: [Services; 3],
    fronts: Vec<Front>,
    caller: Caller,
    channels: Vec<Channel>,
    _folder: TempDir,
}

/// Gateways, by their place in [`Rig::fronts`].
const FRONTS: [Arm; 4] = [Arm::Shipped, Arm::Shipped, Arm::Plain, Arm::Plain];
/// Order of turns, in even rounds and in odd ones: whatever drifts meets both configurations alike.
const ORDERS: [[usize; 4]; 2] = [[0, 2, 3, 1], [3, 1, 0, 2]];
/// Sessions that are read and changed, one a user.
const SESSIONS: usize = 1000;
/// Users whose sessions are deleted.
const LEAVING: usize = 1000;
/// Tokens, each of a user of its own.
const TOKENS: usize = 100;
/// Requests a second that no gateway reaches here, for which there are sessions to delete.
const FASTEST: u32 = 10_000;
const PATIENCE: Duration = Duration::from_secs(10);
/// Policies: one limit that every request counts against, and none reaches.
const POLICIES: &str = "policies:
  - {id: user-api, domain: keyplane, entries: [tenant, user], limit: {amount: 1000000000, per: 1h}}
";

/// Runs all turns and returns the report. Takes about `32 * (rounds + 1) * slice`.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let options = match options.quick {
        true => Options { rate: 40, concurrency: 4, rounds: 1, slice: Duration::from_millis(250), ..*options },
        false => *options,
    };
    let checked = checker::measure(options.slice)?;
    let valkey = rig::valkey()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let machine = Machine::here(rig::info(&valkey, "server", "valkey_version")?);
        let rig = Rig::start(&valkey, options.quick).await?;
        let (lines, others_cpu) = rig.measure(options, &valkey).await?;
        Ok(Report { machine, options, others_cpu, checked, lines })
    })
}

// === impl Rig ===

impl Rig {
    async fn start(valkey: &Valkey, patient: bool) -> Result<Rig, Error> {
        let folder = tempfile::tempdir()?;
        let services = start_services(valkey, &folder).await?;
        let issuer = Issuer::create(folder.path())?;
        let mint = |number| issuer.mint(&Grant::new(TENANT, format!("caller-{number}")));
        let tokens = (0..TOKENS).map(mint).collect::<Result<Vec<_>, _>>()?;
        let infos = [&keyplane_auth_revocation::SERVICE, &keyplane_rate_limiting::SERVICE, &keyplane_session::SERVICE];
        let at = services.iter().map(|services| services.addresses.service);
        let site = Site { services: infos.iter().map(|info| info.name).zip(at).collect(), issuer: &issuer };
        let start =
            |(number, arm): (usize, &Arm)| Front::start(*arm, &site, &folder.path().join(format!("gateway-{number}")));
        let fronts = FRONTS.iter().enumerate().map(start).collect::<Result<Vec<_>, _>>()?;

        let channels = rig::channels(services[2].addresses.service, 4).await?;
        let caller = Caller {
            http: reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?,
            url: String::new(),
            tokens: tokens.into(),
            sessions: load::make_sessions(&channels, SESSIONS).await?.into(),
            doomed: Arc::default(),
            paths: Arc::new(AtomicU64::default()),
            patient,
        };
        Ok(Rig { services, fronts, caller, channels, _folder: folder })
    }

    /// Takes all turns; returns the share of the machine that others used, too.
    async fn measure(&self, options: Options, valkey: &Valkey) -> Result<(Vec<Line>, f64), Error> {
        eprintln!("a round that is not counted");
        let mut lines: Vec<Line> = Kind::ALL.into_iter().map(Line::new).collect();
        for kind in Kind::ALL {
            for front in 0..FRONTS.len() {
                self.turn(front, kind, options).await?;
            }
        }
        let (start, cpu) = (Cores::now()?, self.cpu(valkey)?);
        for round in 0..options.rounds {
            eprintln!("round {} of {}", round + 1, options.rounds);
            for line in &mut lines {
                let mut turns = Vec::new();
                for front in ORDERS[usize::from(round % 2)] {
                    turns.push((front, self.turn(front, line.kind, options).await?));
                }
                turns.sort_by_key(|(front, _)| *front);
                let turns = turns.into_iter().map(|(_, turn)| turn).collect::<Vec<_>>();
                line.add(turns.try_into().map_err(|_| "a gateway had no turn")?);
            }
        }
        let others_cpu = Cores::now()?.used_by_others(start, self.cpu(valkey)?.saturating_sub(cpu));
        Ok((lines, others_cpu))
    }

    async fn turn(&self, front: usize, kind: Kind, options: Options) -> Result<Turn, Error> {
        let front = &self.fronts[front];
        let rate = if kind == Kind::Full { FASTEST } else { options.rate };
        let doomed = (f64::from(rate) * options.slice.as_secs_f64() * kind.deletes()).ceil() as usize;
        let users = (0..doomed).map(|number| format!("leaving-{}", number % LEAVING));
        let doomed = load::make_sessions_of(&self.channels, users).await?;
        let caller = Caller { url: front.url.clone(), doomed: doomed.into(), ..self.caller.clone() };
        Turn::take(front, &caller, kind, options).await
    }

    /// Time that all processes of the run have used.
    fn cpu(&self, valkey: &Valkey) -> Result<Duration, Error> {
        let pids = self.services.iter().map(Services::pid);
        let pids = pids.chain([valkey.pid().ok_or("Valkey ended")?, std::process::id()]);
        let processes = pids.map(machine::cpu).sum::<Result<Duration, _>>()?;
        let fronts = self.fronts.iter().map(|front| front.cpu().map(|[envoy, guard]| envoy + guard));
        Ok(processes + fronts.sum::<Result<Duration, _>>()?)
    }
}

/// Revocation, limits and sessions.
async fn start_services(valkey: &Valkey, folder: &TempDir) -> Result<[Services; 3], Error> {
    let policies = folder.path().join("policies.yaml");
    std::fs::write(&policies, POLICIES)?;
    let policies = policies.display().to_string();
    let url = valkey.url();
    // As in the gateway's tests, and below as with `cargo up`: a pause of the machine must not cause a rejection.
    let staleness = [("KEYPLANE_REVOCATION_MAX_STALENESS", "1m")];
    let revocation = Services::start(Service::Revocation, &url, false, &staleness).await?;
    let limits = [("KEYPLANE_RATELIMIT_POLICIES", policies.as_str()), ("KEYPLANE_RATELIMIT_ENVOY_DEADLINE", "400ms")];
    let limits = Services::start(Service::RateLimit, &url, false, &limits).await?;
    let address: SocketAddr = revocation.addresses.service;
    let settings = [("KEYPLANE_SESSION_REVOCATION_URL", &*format!("http://{address}"))];
    let session = Services::start(Service::Session, &url, false, &settings).await?;
    Ok([revocation, limits, session])
}
