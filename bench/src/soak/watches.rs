//! Watchers of users: each receives every event, once and in order, over any number of connections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::session::v1::session_event::{EndReason, Type};
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;

use super::book::Book;
use super::clock::{Mark, Phase};
use super::fleet::Fleet;
use super::ledger::Invariant;
use super::model::events::{Change, View};
use super::model::session::parent;
use super::outcome::{Failure, Kind};
use crate::dice::Dice;
use crate::serve::Service;

/// Changes that a user's watcher has to hear of.
#[derive(Default)]
pub(super) struct Board(Mutex<BTreeMap<(String, i32), Awaited>>);

/// Version of a session.
#[derive(Clone, Copy)]
struct Awaited {
    begin: Mark,
    /// Moment of the acknowledgement.
    acknowledged: Option<Instant>,
    /// Moment of the event.
    seen: Option<Instant>,
}

/// Watcher of one user.
pub(super) struct Watcher {
    pub(super) book: Arc<Book>,
    pub(super) fleet: Arc<Fleet>,
    pub(super) user: usize,
    pub(super) board: Arc<Board>,
    pub(super) dice: Dice,
}

/// Longest time from a change's acknowledgement to its arrival, and how long a change is remembered.
const ARRIVAL: Duration = Duration::from_secs(2);
const MEMORY: Duration = Duration::from_secs(30);
/// Time until an ended watch is opened again.
const RETRY: Duration = Duration::from_millis(200);

// === impl Board ===

impl Board {
    /// Change to this version is sent.
    pub(super) fn begin(&self, name: &str, version: i32, begin: Mark) {
        let awaited = Awaited { begin, acknowledged: None, seen: None };
        self.0.lock().entry((name.to_owned(), version)).or_insert(awaited);
    }

    pub(super) fn acknowledge(&self, name: &str, version: i32) {
        if let Some(awaited) = self.0.lock().get_mut(&(name.to_owned(), version)) {
            awaited.acknowledged.get_or_insert_with(Instant::now);
        }
    }

    /// Notes that the watcher received this version; returns the moment when the change was sent.
    fn see(&self, name: &str, version: i32) -> Option<Mark> {
        let mut all = self.0.lock();
        let awaited = all.get_mut(&(name.to_owned(), version))?;
        awaited.seen.get_or_insert_with(Instant::now);
        Some(awaited.begin)
    }

    /// Snapshot stands for all changes before it.
    fn see_up_to(&self, sessions: &[(String, i32)]) {
        let now = Instant::now();
        for ((name, version), awaited) in self.0.lock().iter_mut() {
            if !sessions.iter().any(|(other, at)| other == name && at < version) {
                awaited.seen.get_or_insert(now);
            }
        }
    }

    /// Forgets what is old; of what was acknowledged long enough ago, within `part`, whether it was seen in time.
    fn sweep(&self, part: Phase) -> Vec<Result<(), String>> {
        let mut outcomes = Vec::new();
        self.0.lock().retain(|(name, version), awaited| {
            let acknowledged = awaited.acknowledged.filter(|at| at.elapsed() > ARRIVAL);
            if let Some(at) = acknowledged
                && awaited.begin.phase == part
            {
                let took = awaited.seen.map(|seen| seen.saturating_duration_since(at));
                outcomes.push(match took {
                    Some(took) if took <= ARRIVAL => Ok(()),
                    Some(took) => Err(format!("version {version} of {name} reached its watcher after {took:.1?}")),
                    None => Err(format!("version {version} of {name} did not reach its watcher")),
                });
            }
            acknowledged.is_none() && awaited.begin.at.elapsed() < MEMORY
        });
        outcomes
    }
}

// === impl Watcher ===

impl Watcher {
    /// Watches until stopped.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let follow = async {
            let mut view = View::default();
            let mut since = self.book.clock.mark();
            loop {
                if !self.book.clock.kept_since(since) {
                    (view, since) = (View::default(), self.book.clock.mark());
                }
                self.watch(&mut view, since).await;
                sleep(RETRY).await;
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = follow => {}
        }
    }

    /// Connection of a watcher.
    async fn watch(&mut self, view: &mut View, since: Mark) {
        let instance = self.fleet.pick(Service::Session, self.dice.next() >> 8);
        let begin = self.book.clock.mark();
        let mut client = SessionServiceClient::new(instance.watches.clone());
        let request = pb::WatchSessionsRequest { name: parent(self.user), after: view.after().to_owned() };
        let ended = match client.watch_sessions(request).await {
            Ok(response) => {
                let mut stream = response.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(event)) if self.book.clock.kept_since(since) => self.take(view, &event),
                        Ok(Some(_)) => return,
                        Ok(None) => break None,
                        Err(status) => break Some(Failure::from(status)),
                    }
                }
            }
            Err(status) => Some(Failure::from(status)),
        };
        // A watch is long: what matters is what it is when it ends.
        let mark = self.book.clock.mark();
        let mark = if instance.disturbed_since(begin.at) { begin } else { mark };
        let who = || format!("the watch of {} at {}", parent(self.user), instance.name());
        if let Some(failure) = ended {
            self.book.outcome(Kind::Event, mark, Instant::now(), Some(&failure), who);
        }
    }

    fn take(&self, view: &mut View, event: &pb::SessionEvent) {
        let session = event.session.as_ref();
        let version = session.map_or(0, |session| session.version);
        let (id, name) = (event.id.as_str(), event.name.as_str());
        let outcome = match event.r#type() {
            Type::Snapshot => {
                let versions = event.sessions.iter().map(|session| (session.name.clone(), session.version));
                let versions: Vec<_> = versions.collect();
                self.board.see_up_to(&versions);
                view.snapshot(id, &versions)
            }
            Type::Created => view.change(id, Change::Created, name, version),
            Type::Updated => view.change(id, Change::Updated, name, version),
            Type::Deleted => view.change(id, Change::Ended, name, 0),
            Type::Expired if event.end_reason() == EndReason::Revoked => view.change(id, Change::Ended, name, 0),
            Type::Rotated | Type::Expired | Type::Unspecified => Err(format!(
                "event {id} of {name} is {:?}, reason {:?}, which nobody caused",
                event.r#type(),
                event.end_reason()
            )),
        };
        self.book.check(Invariant::Order, outcome);
        if event.r#type() == Type::Updated
            && let Some(begin) = self.board.see(name, version)
            && let Some(part) = self.book.clock.calm_since(begin)
        {
            self.book.samples.record(part, Kind::Event, begin.at.elapsed());
        }
    }
}

/// Looks for changes that did not arrive. To be called in each calm part, at its end.
pub(super) fn sweep(book: &Book, boards: &[Arc<Board>]) {
    let part = book.clock.phase();
    for outcome in boards.iter().flat_map(|board| board.sweep(part)) {
        book.check(Invariant::Arrival, outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_does_not_arrive_or_late_is_seen() {
        let (board, mark) = (Board::default(), Mark::calm());
        for version in [2, 3, 4] {
            board.begin("s", version, mark);
            board.acknowledge("s", version);
        }
        board.see("s", 2).unwrap();
        board.see("s", 4).unwrap();
        assert!(board.sweep(mark.phase).is_empty(), "too early");
        for ((_, version), awaited) in board.0.lock().iter_mut() {
            awaited.acknowledged = Instant::now().checked_sub(ARRIVAL * 2);
            // The first of them was in time.
            awaited.seen = awaited.seen.and_then(|at| if *version == 2 { at.checked_sub(ARRIVAL) } else { Some(at) });
        }
        let outcomes: Vec<_> = board.sweep(mark.phase).iter().map(Result::is_ok).collect();
        assert_eq!(outcomes, [true, false, false]);
    }

    #[test]
    fn a_snapshot_stands_for_what_came_before_it() {
        let (board, mark) = (Board::default(), Mark::calm());
        for version in [2, 3] {
            board.begin("s", version, mark);
        }
        board.see_up_to(&[("s".to_owned(), 2)]);
        let seen: Vec<_> = board.0.lock().values().map(|awaited| awaited.seen.is_some()).collect();
        assert_eq!(seen, [true, false]);
    }
}
