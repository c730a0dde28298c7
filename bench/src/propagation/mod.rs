//! `propagation`: no check that is begun 100 ms or more after the acknowledgement of a revocation answers ACTIVE.
//!
//! Several instances of the service, each a process. One revokes, token after token; each token is checked on all of
//! them from before its revocation to its rejection, while good tokens, and tokens that were revoked long ago, are
//! checked in the background. One clock, the generator's, times both the acknowledgement and the beginning of each check.
//! Then the same while something goes wrong; and once more with the rule switched off that a replica must be fresh to
//! answer, which must show late answers: else the run would not see one.

mod background;
mod board;
mod case;
mod follow;
mod report;
mod scenario;
mod stage;
mod sweep;
mod trouble;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Error;
use crate::dice::Dice;
use crate::machine::Machine;
use crate::rig;
use crate::tokens::Mint;
use background::Background;
use board::Board;
use case::Cases;
use follow::Pace;
pub(crate) use report::Report;
use report::Run;
use scenario::Scenario;
use stage::Stage;
use sweep::{Sweep, sweep};
use trouble::Trouble;
use writer::Writer;

/// Scenarios to play, and their length.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Scenarios to play, such as `calm,sigstop`; all unless given.
    #[arg(long, value_enum, value_delimiter = ',')]
    scenario: Vec<Scenario>,
    /// Revocations in each scenario.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    revocations: u64,
    /// Revocations a second, at most.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    rate: u32,
    /// Instances of the service.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=16))]
    instances: u16,
    /// Skips the second play, with the rule switched off.
    #[arg(long)]
    only_on: bool,
    /// Some hundreds of revocations in each scenario, in a minute and a half; the same is asserted.
    #[arg(long)]
    quick: bool,
}

/// Amounts of a run.
#[derive(Clone, Copy, Debug)]
struct Size {
    instances: usize,
    /// With the rule, and without it.
    revocations: [u64; 2],
    rate: f64,
    /// Checks a second and instance in the background: of good tokens, of revoked ones.
    background: [u32; 2],
    pace: Pace,
    /// Largest number of faults: of any kind, of lost primaries.
    strikes: [u32; 2],
}

/// Connections to each instance, for followers and for the background each.
const CONNECTIONS: usize = 3;

/// Plays all scenarios. Takes about `2 * scenarios * (revocations / rate)`.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    runtime.block_on(play(options))
}

async fn play(options: &Options) -> Result<Report, Error> {
    let size = Size::of(options);
    let scenarios = if options.scenario.is_empty() { Scenario::ALL.to_vec() } else { options.scenario.clone() };
    let engine = rig::valkey()?;
    let machine = Machine::here(rig::info(&engine, "server", "valkey_version")?);
    drop(engine);

    let mut runs = Vec::new();
    for scenario in scenarios {
        for rule in [true, false] {
            // In a hurry only what must be seen is looked for.
            let wanted = rule || !options.only_on && (!options.quick || scenario.shows_late_without_the_rule());
            if wanted {
                let run = act(scenario, rule, size).await?;
                eprintln!("{}", run.line());
                runs.push(run);
            }
        }
    }
    Ok(Report::new(machine, size.instances, size.rate, size.background, runs))
}

/// Plays one scenario.
async fn act(scenario: Scenario, rule: bool, size: Size) -> Result<Run, Error> {
    let stage = Stage::start(scenario, rule, size.instances, &[]).await?;
    let start = Instant::now();
    let replicated_only = scenario == Scenario::Cluster;
    let (mint, cases, board) =
        (Mint::new(), Arc::<Cases>::default(), Arc::new(Board::new(size.instances, replicated_only)));
    let (over, stop) = watch::channel(false);

    let mut loads = JoinSet::new();
    for (instance, clients) in stage.clients(CONNECTIONS).await?.into_iter().enumerate() {
        let background = Background {
            instance,
            clients,
            mint: mint.clone(),
            cases: Arc::clone(&cases),
            board: Arc::clone(&board),
            good: size.background[0],
            revoked: size.background[1],
        };
        loads.spawn(background.run(stop.clone()));
    }
    let followers = stage.clients(CONNECTIONS).await?;
    let writer = Writer {
        client: stage.clients(1).await?.swap_remove(0).swap_remove(0),
        followers: followers.clone(),
        mint,
        cases: Arc::clone(&cases),
        board: Arc::clone(&board),
        pace: size.pace,
    };
    let count = size.revocations[usize::from(!rule)];
    let writing = writer.run(count, size.rate, &over);
    let most = size.strikes[usize::from(scenario == Scenario::Cluster)];
    let trouble = Trouble { stage: &stage, board: &board, stop, most, dice: Dice::new(), times: 0 };
    let (written, strikes) = tokio::join!(writing, trouble.make(scenario));
    let (written, strikes) = match (written, strikes) {
        (Ok(written), Ok(strikes)) => (written, strikes),
        (Err(error), _) | (_, Err(error)) => return Err(stage.explain(scenario.label(), &error)),
    };
    while loads.join_next().await.is_some() {}
    let swept = match rule {
        true => sweep(&followers, &cases.all(), replicated_only)
            .await
            .map_err(|error| stage.explain(scenario.label(), &error))?,
        false => Sweep::default(),
    };
    Ok(Run::new(scenario, rule, start.elapsed().as_secs_f64(), strikes, written, board.counts(), &swept))
}

// === impl Size ===

impl Size {
    fn of(options: &Options) -> Size {
        let instances = options.instances.into();
        match options.quick {
            true => Size {
                instances,
                revocations: [250, 120],
                rate: 70.0,
                background: [30, 20],
                pace: Pace { fine: Duration::from_millis(3), eager: false, coarse: Duration::from_millis(5) },
                strikes: [20, 1],
            },
            false => Size {
                instances,
                revocations: [options.revocations, options.revocations.min(1_000)],
                rate: f64::from(options.rate),
                background: [500, 100],
                pace: Pace { fine: Duration::from_millis(1), eager: true, coarse: Duration::from_micros(500) },
                strikes: [u32::MAX, 10],
            },
        }
    }
}
