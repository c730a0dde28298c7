//! Watches of one session across any sequence of rotations: a watcher that reconnects, under any of the session's names
//! and after any event, receives the same events as one that stayed connected.

mod support;

use std::time::Duration;

use futures::FutureExt as _;
use keyplane_contracts::names::SessionId;
use keyplane_session::app::Watcher;
use keyplane_session::domain::{Event, EventKind, Fields, Patch, Scope, WatchTarget};
use keyplane_session::error::Error;
use keyplane_session::store::{Retention, Store};
use proptest::prelude::*;
use proptest::test_runner::Config;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use support::{connect, fresh_id, plain, policy, retention, user};

/// Change of one of the live sessions.
#[derive(Clone, Copy, Debug)]
enum Step {
    Create,
    Patch(usize),
    Rotate(usize),
    Delete(usize),
}

/// Result of a reconnect: ids of events, or the session in a snapshot.
#[derive(Debug, PartialEq)]
enum Outcome {
    Events { ids: Vec<String>, ended: bool },
    Snapshot(SessionId),
    NotFound,
}

/// Sessions of a user, and the log of their events.
struct Case {
    store: Store,
    everything: Watcher,
    kept: usize,
    log: Vec<Event>,
    live: Vec<SessionId>,
    names: Vec<SessionId>,
}

// === impl Case ===

impl Case {
    /// Case on the shared server, which keeps the last `kept` events.
    async fn new(kept: usize) -> Case {
        let valkey = connect(&keyplane_testkit::valkey().url()).await;
        let events = u32::try_from(kept).expect("few");
        let store = Store::new(valkey, Retention { events, ..retention() });
        let mut everything = Watcher::new(&store, WatchTarget { user: user(), scope: Scope::User, after: None });
        // The snapshot of an empty stream adds a mark to it.
        let begin = everything.next().await.expect("no end").expect("a snapshot");
        Case { store, everything, kept, log: vec![begin], live: Vec::new(), names: Vec::new() }
    }

    async fn run(&mut self, step: Step) {
        let chosen = |case: &Case, place: usize| user().session(case.live[place % case.live.len()].clone());
        let step = if self.live.is_empty() { Step::Create } else { step };
        match step {
            Step::Create if self.live.len() < 3 => {
                let made = self.store.create(&user(), fresh_id(), &plain(Fields::default()), &policy()).await;
                self.add(made.expect("it is made").name.session);
            }
            Step::Create => return,
            Step::Patch(place) => {
                let fields = Fields { last_path: Some(format!("/{}", self.log.len())), ..Fields::default() };
                let patch = Patch { fields, ..Patch::default() };
                self.store.patch(&chosen(self, place), &patch).await.expect("it is changed");
            }
            Step::Rotate(place) => {
                let old = chosen(self, place);
                let rotated = self.store.rotate(&old, fresh_id(), None).await.expect("it is rotated");
                self.live.retain(|id| *id != old.session);
                self.add(rotated.name.session);
            }
            Step::Delete(place) => {
                let name = chosen(self, place);
                self.store.delete(&name, None).await.expect("it is deleted");
                self.live.retain(|id| *id != name.session);
            }
        }
        self.log.push(self.everything.next().await.expect("no end").expect("an event"));
    }

    fn add(&mut self, id: SessionId) {
        self.live.push(id.clone());
        self.names.push(id);
    }

    /// Outcome by the log for a watcher of `name` after the event `last`.
    fn expected(&self, name: &SessionId, last: &str) -> Outcome {
        let kept = &self.log[self.log.len().saturating_sub(self.kept)..];
        let held = kept.iter().position(|event| event.id == last);
        let (before, after) = kept.split_at(held.map_or(kept.len(), |place| place + 1));
        let known_by = if self.live.contains(name) { name.clone() } else { follow(name.clone(), before).0 };
        if held.is_none() {
            return if self.live.contains(&known_by) { Outcome::Snapshot(known_by) } else { Outcome::NotFound };
        }
        let (now, ids, ended) = follow(known_by, after);
        if ended || self.live.contains(&now) { Outcome::Events { ids, ended } } else { Outcome::NotFound }
    }

    /// Outcome of a reconnect to the store.
    async fn watch(&self, name: &SessionId, last: &str) -> Outcome {
        let mut watcher = Watcher::new(
            &self.store,
            WatchTarget { user: user(), scope: Scope::Session(name.clone()), after: Some(last.to_owned()) },
        );
        match watcher.begin().await {
            Ok(()) => {}
            Err(Error::NotFound) => return Outcome::NotFound,
            Err(error) => panic!("{error}"),
        }
        let mut ids = Vec::new();
        // Events from before the reconnect are ready at once.
        while let Some(next) = watcher.next().now_or_never() {
            let Some(event) = next else { return Outcome::Events { ids, ended: true } };
            let event = event.expect("an event");
            if let EventKind::Snapshot(sessions) = event.kind {
                let [session] = sessions.as_slice() else { panic!("one session: {sessions:?}") };
                return Outcome::Snapshot(session.name.session.clone());
            }
            ids.push(event.id);
        }
        Outcome::Events { ids, ended: false }
    }

    async fn compare(&self) {
        let unknown = ["1-1".to_owned(), "18446744073709551615-0".to_owned()];
        for name in &self.names {
            for last in self.log.iter().map(|event| &event.id).chain(&unknown) {
                let outcome = timeout(Duration::from_secs(20), self.watch(name, last)).await.expect("in time");
                assert_eq!(outcome, self.expected(name, last), "{name} after {last} of {:#?}", self.log);
            }
        }
    }
}

/// Final id of the session `id`, ids of its events, and whether it has ended.
fn follow(mut id: SessionId, events: &[Event]) -> (SessionId, Vec<String>, bool) {
    let mut ids = Vec::new();
    for event in events.iter().filter(|event| !matches!(event.kind, EventKind::Snapshot(_))) {
        if event.kind.session() != Some(&id) {
            continue;
        }
        ids.push(event.id.clone());
        if let EventKind::Rotated { new, .. } = &event.kind {
            id = new.clone();
        }
        if event.kind.ends_session() {
            return (id, ids, true);
        }
    }
    (id, ids, false)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || 0..3_usize;
    let step = prop_oneof![
        2 => Just(Step::Create),
        2 => place().prop_map(Step::Patch),
        4 => place().prop_map(Step::Rotate),
        1 => place().prop_map(Step::Delete),
    ];
    proptest::collection::vec(step, 1..16)
}

proptest! {
    #![proptest_config(Config { cases: 24, ..Config::default() })]

    #[test]
    fn watcher_reconnects_under_any_name(steps in steps(), kept in prop_oneof![Just(4_usize), Just(128)]) {
        Runtime::new().expect("a runtime").block_on(async {
            let mut case = Case::new(kept).await;
            for step in steps {
                case.run(step).await;
            }
            case.compare().await;
        });
    }
}
