//! `ShouldRateLimit` beside envoyproxy/ratelimit's: the same calls, limits, store and number in flight.
//!
//! Twice: with all programs on all cores; and with the service on a core of its own and the rest on the others, since what
//! generator and store cost, which is the same for both, else takes part of the difference.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;

use keyplane_engine::Valkey;
use rustix::thread::CpuSet;
use serde::Serialize;
use tokio::time::{Duration, Instant};

use super::generator::Generator;
use super::peer::{Peer, Tried};
use super::target::Tally;
use crate::Error;
use crate::closed::{self, Lines, Row as _, Shape, Work};
use crate::cores::{Confined, Split};
use crate::rig::Services;

/// Row of the report: a kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    Ours,
    Peer,
    OursDenied,
    PeerDenied,
}

/// Result of one arrangement.
#[derive(Debug, Serialize)]
pub(super) struct Duel {
    /// Settings that envoyproxy/ratelimit was tried with.
    pub(super) tried: Vec<Tried>,
    #[serde(flatten)]
    pub(super) lines: Lines,
    /// Share of the first row's calls that were admitted.
    pub(super) admitted: f64,
}

/// Calls and users of the load.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) shape: Shape,
    pub(super) users: usize,
    /// Time for each setting of envoyproxy/ratelimit.
    pub(super) tries: Duration,
}

struct Target {
    ours: SocketAddr,
    /// Peers without and with their cache.
    peers: [Peer; 2],
    generator: Generator,
    tally: Tally,
}

const ROWS: [Row; 4] = [Row::Ours, Row::Peer, Row::OursDenied, Row::PeerDenied];

// === impl Duel ===

impl Duel {
    /// Runs all programs on all cores.
    pub(super) async fn together(
        load: Load,
        program: &Path,
        valkey: &Valkey,
        services: &Services,
    ) -> Result<Duel, Error> {
        eprintln!("beside envoyproxy/ratelimit ({})", program.display());
        Duel::run(load, program, valkey, services, None).await
    }

    /// Service on a core of its own; `None` where there is one alone. `start` starts ours.
    pub(super) async fn apart(
        load: Load,
        program: &Path,
        valkey: &Valkey,
        start: impl Future<Output = Result<Services, Error>>,
    ) -> Result<Option<Duel>, Error> {
        let Some(split) = Split::new()? else { return Ok(None) };
        eprintln!("the same, each with a core of its own");
        let store = valkey.pid().ok_or("Valkey ended")?;
        split.move_aside(store)?;
        let confined = Confined::to(&split.one)?;
        let services = start.await?;
        let duel = Duel::run(load, program, valkey, &services, Some(split.others)).await?;
        drop(confined);
        split.move_back(store)?;
        Ok(Some(duel))
    }

    async fn run(
        load: Load,
        program: &Path,
        valkey: &Valkey,
        services: &Services,
        cores: Option<CpuSet>,
    ) -> Result<Duel, Error> {
        let generator = Generator::new(load.shape, load.users, cores);
        let (peers, tried) = Peer::best(program, valkey, &generator, load.shape.concurrency.into(), load.tries).await?;
        let target = Target { ours: services.addresses.service, peers, generator, tally: Tally::default() };
        let lines = closed::run(load.shape, &ROWS, &target, services, std::slice::from_ref(valkey)).await?;
        Ok(Duel { tried, lines, admitted: target.tally.admitted_share() })
    }

    /// Throughput and p99 of ours against theirs, of calls that are admitted.
    pub(super) fn ratios(&self) -> Option<(closed::Ratio, closed::Ratio)> {
        self.lines.ratios(Row::Ours.label())
    }

    /// Throughput and p99 of ours against theirs, of denied calls.
    pub(super) fn denied_ratios(&self) -> Option<(closed::Ratio, closed::Ratio)> {
        self.lines.ratios(Row::OursDenied.label())
    }
}

// === impl Target ===

impl closed::Target for Target {
    type Row = Row;

    async fn drive(&self, row: Row, in_flight: usize, until: Instant) -> Result<Vec<Work>, Error> {
        let [plain, caching] = &self.peers;
        let address = match row {
            Row::Ours | Row::OursDenied => self.ours,
            Row::Peer => plain.address,
            Row::PeerDenied => caching.address,
        };
        let made = match row {
            Row::Ours | Row::Peer => self.generator.admitted(address, in_flight, until).await?,
            Row::OursDenied | Row::PeerDenied => self.generator.denied(address, in_flight, until).await?,
        };
        if row == Row::Ours {
            self.tally.admitted.fetch_add(made.expected, Ordering::Relaxed);
            self.tally.denied.fetch_add(made.work.latencies.count() - made.expected, Ordering::Relaxed);
        }
        Ok(vec![made.work])
    }

    fn instead(&self, row: Row) -> Option<u32> {
        let [plain, caching] = &self.peers;
        match row {
            Row::Ours | Row::OursDenied => None,
            Row::Peer => Some(plain.pid()),
            Row::PeerDenied => Some(caching.pid()),
        }
    }
}

// === impl Row ===

impl closed::Row for Row {
    fn label(self) -> &'static str {
        match self {
            Row::Ours => "ShouldRateLimit",
            Row::Peer => "peer's",
            Row::OursDenied => "ShouldRateLimit, denied",
            Row::PeerDenied => "peer's, denied",
        }
    }

    fn limit(self) -> Option<Row> {
        match self {
            Row::Ours => Some(Row::Peer),
            Row::OursDenied => Some(Row::PeerDenied),
            Row::Peer | Row::PeerDenied => None,
        }
    }
}
