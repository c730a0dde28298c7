//! `soak`: the whole mesh under load and random faults, with every promise checked.
//!
//! Three instances of each service, each a process, on a primary with a replica and then on a cluster. Faults come in an order that the
//! seed gives, each followed by five seconds to recover and a calm part, in which every call must succeed and take as long as
//! before the first fault. Callers know what they were acknowledged and hold every answer against it.

mod act;
mod book;
mod call;
mod clock;
mod flat;
mod fleet;
mod gateway;
mod ledger;
mod limits;
mod load;
mod model;
mod outcome;
mod plan;
mod progress;
mod report;
mod samples;
mod sessions;
mod stage;
mod strike;
mod tokens;
mod watches;
mod yardstick;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;

use crate::Error;
use crate::dice::Dice;
use crate::machine::Machine;
use act::Act;
use plan::{Deck, Fault, Ground, Pace};
use progress::Progress;
pub(crate) use report::Report;

/// Length and faults of a run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Length of the run: two thirds on a primary with a replica, the rest on a cluster.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1_440))]
    minutes: u32,
    /// Ten minutes; `--minutes` says otherwise.
    #[arg(long)]
    quick: bool,
    /// Seconds, for a test of the soak itself: nothing that has to do with time is judged.
    #[arg(long, hide = true)]
    hasty: bool,
    /// Repeats the faults of another run; any, and printed, unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// Faults to play, such as `cut,store-stop`; all unless given.
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// Store to run on; both unless given.
    #[arg(long, value_enum)]
    ground: Option<Ground>,
    /// Makes no calls through the gateway.
    #[arg(long)]
    no_gateway: bool,
}

/// Plays the run, and returns the report.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    runtime.block_on(play(options))
}

/// Counts panics from now on, of all threads and tasks: nobody waits for most of them, and what they would have found is missing.
fn count_panics() -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let (counter, usual) = (Arc::clone(&count), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        counter.fetch_add(1, Ordering::Relaxed);
        usual(info);
    }));
    count
}

async fn play(options: &Options) -> Result<Report, Error> {
    let minutes = if options.quick && options.minutes == 60 { 10 } else { options.minutes };
    let length = if options.hasty { Duration::from_secs(18) } else { Duration::from_secs(60) * minutes };
    let pace = if options.hasty { Pace::hasty() } else { Pace::usual() };
    let seed = options.seed.unwrap_or_else(|| Dice::new().below(1_000_000));
    let repeat = options.repeat(minutes, seed);
    eprintln!("soak for {} s, seed {seed}: {repeat}", length.as_secs());

    let progress = Progress::start(length);
    let panics = count_panics();
    let (mut parts, mut stopped) = (Vec::new(), Vec::new());
    let mut version = String::new();
    let grounds: Vec<_> =
        [Ground::Single, Ground::Cluster].into_iter().filter(|ground| options.wants(*ground)).collect();
    for ground in &grounds {
        let share = match (grounds.len(), ground) {
            (1, _) => 1.0,
            (_, Ground::Single) => 0.65,
            (_, Ground::Cluster) => 0.35,
        };
        let act = Act { ground: *ground, length: length.mul_f64(share), pace, options, seed, progress: &progress };
        match act.play().await {
            Ok((part, valkey)) => {
                parts.push(part);
                version = valkey;
            }
            Err(error) => stopped.push(format!("on {ground:?}: {error}")),
        }
    }
    progress.finish();
    let whole = !options.hasty && options.faults.is_empty() && minutes >= 10 && !options.no_gateway;
    let mut report = Report::new(Machine::here(version), seed, repeat, parts, whole);
    report.add(stopped, panics.load(Ordering::Relaxed));
    Ok(report)
}

// === impl Options ===

impl Options {
    fn wants(&self, ground: Ground) -> bool {
        self.ground.is_none_or(|wanted| wanted == ground) && !Deck::new(ground, &self.faults, Duration::ZERO).is_empty()
    }

    fn repeat(&self, minutes: u32, seed: u64) -> String {
        let quick = if self.quick { "--quick " } else { "" };
        let mut line = format!("just soak {quick}--minutes {minutes} --seed {seed}");
        if !self.faults.is_empty() {
            let names: Vec<_> = self.faults.iter().filter_map(clap::ValueEnum::to_possible_value).collect();
            let names: Vec<_> = names.iter().map(clap::builder::PossibleValue::get_name).collect();
            line.push_str(&format!(" --faults {}", names.join(",")));
        }
        if let Some(ground) = self.ground.as_ref().and_then(clap::ValueEnum::to_possible_value) {
            line.push_str(&format!(" --ground {}", ground.get_name()));
        }
        if self.no_gateway {
            line.push_str(" --no-gateway");
        }
        line
    }
}
