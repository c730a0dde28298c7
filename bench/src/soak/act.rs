//! Part of a run: starts everything, calls it, and makes it fail.

use std::ops::RangeBounds;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{sleep, timeout};

use super::Options;
use super::book::Book;
use super::clock::{Phase, STALL};
use super::flat::Flat;
use super::fleet::{EACH, Fleet, Instance, SERVICES};
use super::gateway::{self, Front};
use super::ledger::Invariant;
use super::limits::{Limits, POLICIES};
use super::load::Callers;
use super::plan::{Deck, Ground, Pace};
use super::progress::Progress;
use super::report::Part;
use super::sessions::{self, Sessions};
use super::stage::Store;
use super::strike::Strike;
use super::tokens::Tokens;
use super::watches::{self, Board, Watcher};
use super::yardstick::Yardstick;
use crate::cores::Confined;
use crate::dice::Dice;
use crate::{Error, cores, machine};

/// Part of a run.
pub(super) struct Act<'a> {
    pub(super) ground: Ground,
    pub(super) length: Duration,
    pub(super) pace: Pace,
    pub(super) options: &'a Options,
    pub(super) seed: u64,
    pub(super) progress: &'a Progress,
}

/// Part before the first fault.
struct Baseline {
    /// Cores that the services, the store and the generator used.
    cores: [f64; 3],
    /// Machine too busy to judge the times after it.
    busy: bool,
}

/// Time between two counts of charges, and of progress.
const TICK: Duration = Duration::from_millis(500);
/// Attempts at a baseline on a machine that is busy.
const BASELINES: u32 = 10;
/// Time beyond its length after which a part is ended, and longest check of all revocations after it.
const OVERRUN: Duration = Duration::from_mins(10);
const SWEEP: Duration = Duration::from_mins(3);
/// Lines of each log that are shown.
const LINES: usize = 12;
/// Time until an instance that is not ready is asked once more.
const AGAIN: Duration = Duration::from_millis(500);
/// Growth of the services' CPU time that is allowed after a fault, the larger of the two: a factor, and cores.
const TIMES: f64 = 1.5;
const PLUS: f64 = 0.3;

// === impl Act ===

impl Act<'_> {
    /// Plays the part. Its result, and the store's version.
    pub(super) async fn play(&self) -> Result<(Part, String), Error> {
        let folder = tempfile::tempdir()?;
        let count = EACH * SERVICES.len();
        let store = block_in_place(|| Store::start(self.ground, count))?;
        let version = block_in_place(|| store.version())?;
        let fleet = Arc::new(Fleet::start(&store.urls(count), folder.path(), POLICIES).await?);
        let book = Arc::new(Book::new());
        let life = self.length + Duration::from_hours(1);
        let front = match self.options.no_gateway || self.ground == Ground::Cluster {
            true => None,
            false => Some(Arc::new(Front::start(Arc::clone(&book), Arc::clone(&fleet), folder.path(), life).await?)),
        };
        let yardstick = Arc::new(Yardstick::start().await?);
        let boards: Vec<_> = (0..sessions::WATCHED).map(|_| Arc::new(Board::default())).collect();
        let callers = Callers {
            sessions: Arc::new(Sessions::new(Arc::clone(&book), Arc::clone(&fleet), boards.clone())),
            tokens: Arc::new(Tokens::new(Arc::clone(&book), Arc::clone(&fleet), self.ground, life)),
            limits: Arc::new(Limits::new(Arc::clone(&book), Arc::clone(&fleet))),
            yardstick,
            book: Arc::clone(&book),
            front,
        };

        let (over, stop) = (Arc::new(AtomicBool::new(false)), watch::channel(false));
        let mut tasks = self.begin(&callers, &boards, &over, &stop.1)?;
        let mut flat = Flat::default();
        let mut before = None;
        let scenes = self.scenes(&callers, &store, &boards, &mut flat, &mut before);
        let late = |_| Err(format!("the part is not over {OVERRUN:?} after its time").into());
        let played = timeout(self.length + OVERRUN, scenes).await.unwrap_or_else(late);
        over.store(true, Ordering::Relaxed);
        stop.0.send_replace(true);
        while tasks.join_next().await.is_some() {}
        let mut stopped = played.err().map(|error| explain(&fleet, &store, &error));
        let Baseline { cores, busy } = before.unwrap_or(Baseline { cores: [0.0; 3], busy: true });

        // The last calm part is over: what follows comes at a pace of its own.
        book.clock.enter(Phase::Settle(book.clock.phase().number()));
        if timeout(SWEEP, callers.tokens.sweep()).await.is_err() {
            stopped.get_or_insert_with(|| format!("the revocations are not all checked within {SWEEP:?}"));
        }
        callers.limits.count(true);
        book.discard();
        self.compare(&book, 1..);
        book.judge(busy);
        let level = flat.judge(&book);
        let mut part = Part::new(self.ground, &book, callers.tokens.revocations(), level, cores);
        part.stopped = stopped;
        if book.ledger.broken() > 0 {
            self.progress.line(&logs(&fleet));
        }
        Ok((part, version))
    }

    /// Starts everybody who calls.
    fn begin(
        &self,
        callers: &Callers,
        boards: &[Arc<Board>],
        over: &Arc<AtomicBool>,
        stop: &watch::Receiver<bool>,
    ) -> Result<JoinSet<()>, Error> {
        let runtime = tokio::runtime::Handle::current();
        let (pacing, done) = (callers.clone(), Arc::clone(over));
        let dice = Dice::seeded(self.seed.wrapping_add(1));
        std::thread::Builder::new().name("pacer".to_owned()).spawn(move || pacing.pace(&runtime, dice, &done))?;
        for core in cores::each()? {
            let (book, done) = (Arc::clone(&callers.book), Arc::clone(over));
            let look = move || {
                let _confined = Confined::to(&core).ok();
                book.clock.watch_machine(|| done.load(Ordering::Relaxed));
            };
            std::thread::Builder::new().name("stalls".to_owned()).spawn(look)?;
        }
        let mut tasks = JoinSet::new();
        for (user, board) in boards.iter().enumerate() {
            let (book, fleet) = (Arc::clone(&callers.book), callers.sessions.fleet());
            let dice = Dice::seeded(self.seed.wrapping_add(100 + user as u64));
            let watcher = Watcher { book, fleet, user, board: Arc::clone(board), dice };
            tasks.spawn(watcher.run(stop.clone()));
        }
        Ok(tasks)
    }

    /// Baseline, then fault after fault.
    async fn scenes(
        &self,
        callers: &Callers,
        store: &Store,
        boards: &[Arc<Board>],
        flat: &mut Flat,
        before: &mut Option<Baseline>,
    ) -> Result<(), Error> {
        let (start, book) = (Instant::now(), &*callers.book);
        let fleet = callers.sessions.fleet();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        let strike = Strike { book, store, fleet: &fleet, pace: self.pace, spoiled: AtomicBool::new(false) };
        let (mut deck, mut dice) = (Deck::new(self.ground, &self.options.faults, self.length), Dice::seeded(self.seed));
        self.rest(callers, self.pace.warmup).await;
        let before = before.insert(self.baseline(callers, store, &fleet).await?);
        block_in_place(|| flat.look(&fleet, store))?;
        // Faults that take longer make the run longer.
        let scene = self.pace.settle + self.pace.calm + Duration::from_secs(3);
        while start.elapsed() + scene < self.length {
            let Some(fault) = deck.draw(&mut dice) else { break };
            let number = book.begin_fault(fault.label().to_owned());
            book.clock.enter(Phase::Fault(number));
            let description = strike.make(fault, &mut dice).await?;
            book.clock.enter(Phase::Settle(number));
            book.end_fault(number, &description);
            self.progress.line(&format!("fault {number}: {description}"));
            self.rest(callers, self.pace.settle).await;
            book.judge(book.is_busy() || before.busy);
            book.clock.enter(Phase::Calm(number));
            self.health(&http, book, &fleet).await;
            let cores = self.measure(callers, store, &fleet, self.pace.calm).await?;
            // A stall during the last calls is known then.
            sleep(STALL * 2).await;
            watches::sweep(book, boards);
            self.compare(book, number..=number);
            before.hold(book, cores);
            let busy = book.is_busy();
            book.close(busy || before.busy);
            if busy {
                book.samples.forget(number);
            }
            block_in_place(|| flat.look(&fleet, store))?;
        }
        Ok(())
    }

    /// Part before the first fault, again and again while the machine is too busy to say what is usual.
    async fn baseline(&self, callers: &Callers, store: &Store, fleet: &Fleet) -> Result<Baseline, Error> {
        let (book, mut attempts) = (&*callers.book, 0..BASELINES);
        loop {
            book.samples.forget(0);
            book.discard();
            book.clock.enter(Phase::Calm(0));
            let cores = self.measure(callers, store, fleet, self.pace.baseline).await?;
            let busy = book.is_busy() || self.options.hasty;
            book.close(busy);
            attempts.next();
            if !busy || attempts.is_empty() || self.options.hasty {
                return Ok(Baseline { cores, busy });
            }
            self.progress.line("the machine is busy with something else: once more");
        }
    }

    /// Rests. Cores that the services, the store and this process used meanwhile.
    async fn measure(
        &self,
        callers: &Callers,
        store: &Store,
        fleet: &Fleet,
        length: Duration,
    ) -> Result<[f64; 3], Error> {
        let (start, before) = (Instant::now(), times(store, fleet)?);
        self.rest(callers, length).await;
        let (spent, after) = (start.elapsed(), times(store, fleet)?);
        Ok([0, 1, 2].map(|who| after[who].saturating_sub(before[who]).div_duration_f64(spent)))
    }

    async fn rest(&self, callers: &Callers, length: Duration) {
        let until = Instant::now() + length;
        while Instant::now() < until {
            sleep(TICK.min(until - Instant::now())).await;
            callers.limits.count(false);
            self.progress.tick(&callers.book);
        }
    }

    async fn health(&self, http: &reqwest::Client, book: &Book, fleet: &Fleet) {
        for instance in &fleet.instances {
            let mut found = gateway::well(http, instance).await;
            if found.iter().any(Result::is_err) {
                sleep(AGAIN).await;
                found = gateway::well(http, instance).await;
            }
            let [ready, breaker] = found;
            book.check(Invariant::Ready, ready);
            book.check(Invariant::Breaker, breaker);
        }
    }

    fn compare(&self, book: &Book, parts: impl RangeBounds<usize>) {
        for finding in book.samples.compare(parts) {
            let invariant = if finding.tail { Invariant::Tail } else { Invariant::Median };
            book.hold(invariant, || (!finding.holds()).then(|| finding.to_string()));
        }
    }
}

// === impl Baseline ===

impl Baseline {
    /// Holds the cores of a calm part after a fault against those before.
    fn hold(&self, book: &Book, cores: [f64; 3]) {
        let ([before, ..], [after, ..]) = (self.cores, cores);
        let most = (before * TIMES).max(before + PLUS);
        book.hold(Invariant::Cores, || {
            (after > most).then(|| format!("the services use {after:.2} cores; {before:.2} before, {most:.2} allowed"))
        });
    }
}

/// CPU time of the services, of the store, and of this process.
fn times(store: &Store, fleet: &Fleet) -> Result<[Duration; 3], Error> {
    let sum = |pids: &mut dyn Iterator<Item = u32>| pids.map(machine::cpu).sum::<Result<Duration, Error>>();
    let services = sum(&mut fleet.instances.iter().filter_map(Instance::pid))?;
    let store = sum(&mut store.nodes().iter().filter_map(keyplane_engine::Valkey::pid))?;
    Ok([services, store, machine::cpu(std::process::id())?])
}

/// Error that ends the run, with what the instances and the store wrote last.
fn explain(fleet: &Fleet, store: &Store, error: &Error) -> String {
    let nodes = store.nodes().iter().map(|node| format!("\nstore at port {}:\n{}", node.port(), last(&node.log())));
    format!("{error}{}{}", logs(fleet), nodes.collect::<String>())
}

fn last(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

fn logs(fleet: &Fleet) -> String {
    let log = |instance: &Instance| format!("\n{}:\n{}", instance.name(), last(&instance.log()));
    fleet.instances.iter().map(log).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_that_stay_busy_after_a_fault_are_seen() {
        let broken = |before, after| {
            let book = Book::new();
            Baseline { cores: [before, 0.0, 0.0], busy: false }.hold(&book, [after, 0.0, 0.0]);
            book.close(false);
            book.ledger.account(Invariant::Cores).broken
        };
        assert_eq!([broken(0.2, 0.49), broken(0.2, 0.51), broken(0.8, 1.19), broken(0.8, 1.21)], [0, 1, 0, 1]);
    }
}
