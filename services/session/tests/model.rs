//! The store against a small pure model: any sequence of calls leaves both in the same state, answers alike, and tells a
//! watcher of it.

mod support;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use keyplane_contracts::names::{Id, SessionId};
use keyplane_engine::Cluster;
use keyplane_session::domain::{Event, EventKind, Fields, Patch, Policy, Request, Session};
use keyplane_session::error::Error;
use keyplane_session::store::{Scope, Store, Watcher};
use keyplane_valkey::{Feature, Key, Script, Valkey};
use proptest::prelude::*;
use proptest::test_runner::Config;
use tokio::runtime::Runtime;

use support::{fresh_id, plain, policy, retention, user};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

static CLUSTER: LazyLock<Cluster> =
    LazyLock::new(|| Cluster::start(&keyplane_testkit::toolbox(), 3).expect("a cluster of three primaries"));

/// What a session's time does to it, at once: the hash is gone, the index does not know yet.
static EXPIRE: Script = Script::new(
    "test.expire",
    "for _, m in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
       if string.find(m, ARGV[1], 1, true) then redis.call('ZADD', KEYS[1], 'XX', 1, m) end
     end
     return redis.call('DEL', KEYS[2])",
);

/// How many keys of the app have no TTL.
static ETERNAL: Script = Script::new(
    "test.eternal",
    "local cursor, eternal = '0', {}
     repeat
       local page = redis.call('SCAN', cursor, 'MATCH', ARGV[1] .. ':*', 'COUNT', 1000)
       cursor = page[1]
       for _, key in ipairs(page[2]) do
         if redis.call('PTTL', key) == -1 then eternal[#eternal + 1] = key end
       end
     until cursor == '0'
     return eternal",
);

/// A call; sessions are chosen by their place among all that were ever made.
#[derive(Clone, Debug)]
enum Call {
    Create { fields: Fields, request: Option<u8> },
    Patch { session: usize, fields: Fields, removed: Vec<String>, version: Version },
    Touch(usize),
    Rotate(usize),
    Delete(usize),
    RevokeAll { except: Option<usize> },
    Expire(usize),
}

#[derive(Clone, Copy, Debug)]
enum Version {
    Any,
    Current,
    Stale,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Content {
    company_id: String,
    last_path: String,
    attributes: BTreeMap<String, String>,
    version: i32,
}

#[derive(Default)]
struct Model {
    live: BTreeMap<SessionId, Content>,
    requests: BTreeMap<u8, SessionId>,
}

// === impl Content ===

impl Content {
    fn merge(&mut self, fields: &Fields, removed: &[String]) -> bool {
        let before = self.clone();
        if let Some(company) = &fields.company_id {
            self.company_id.clone_from(company);
        }
        if let Some(path) = &fields.last_path {
            self.last_path.clone_from(path);
        }
        self.attributes.extend(fields.attributes.clone());
        self.attributes.retain(|key, _| !removed.contains(key));
        *self != before
    }
}

impl From<&Session> for Content {
    fn from(session: &Session) -> Content {
        Content {
            company_id: session.company_id.clone(),
            last_path: session.last_path.clone(),
            attributes: session.attributes.clone(),
            version: session.version,
        }
    }
}

// === one case ===

struct Case {
    valkey: Valkey,
    store: Store,
    policy: Policy,
    model: Model,
    made: Vec<SessionId>,
    watcher: Watcher,
    seen: BTreeMap<SessionId, Content>,
}

// === impl Case ===

impl Case {
    async fn new(url: &str) -> Case {
        let valkey = support::connect(url).await;
        let mut keep_all = retention();
        keep_all.events = 10_000;
        let store = Store::new(valkey.clone(), keep_all);
        let mut policy = policy();
        policy.max_sessions = 3;
        let watcher = store.watch(user(), Scope::User, None);
        let mut case = Case {
            valkey,
            store,
            policy,
            model: Model::default(),
            made: vec![fresh_id()],
            watcher,
            seen: BTreeMap::new(),
        };
        case.watcher.begin().await.expect("a watch begins");
        case
    }

    fn chosen(&self, place: usize) -> SessionId {
        self.made[place % self.made.len()].clone()
    }

    async fn run(&mut self, call: Call) {
        match call {
            Call::Create { fields, request } => self.create(fields, request).await,
            Call::Patch { session, fields, removed, version } => self.patch(session, fields, removed, version).await,
            Call::Touch(session) => {
                let id = self.chosen(session);
                let touched = self.store.touch(&user().session(id.clone())).await;
                match self.model.live.get(&id) {
                    Some(content) => {
                        assert_eq!(touched.expect("a live session is touched").version, content.version);
                    }
                    None => assert!(matches!(touched, Err(Error::NotFound))),
                }
            }
            Call::Rotate(session) => self.rotate(session).await,
            Call::Delete(session) => {
                let id = self.chosen(session);
                let deleted = self.store.delete(&user().session(id.clone())).await;
                assert_eq!(deleted.is_ok(), self.model.live.remove(&id).is_some(), "{deleted:?}");
            }
            Call::RevokeAll { except } => {
                let except = except.map(|place| self.chosen(place));
                let revoked = self.store.revoke_all(&user(), except.as_ref()).await.expect("revoking works");
                let before = self.model.live.len();
                self.model.live.retain(|id, _| Some(id) == except.as_ref());
                assert_eq!(usize::try_from(revoked).unwrap(), before - self.model.live.len());
            }
            Call::Expire(session) => {
                let id = self.chosen(session);
                let key = |parts: &[&str]| Key::tagged(self.valkey.app(), Feature::SESSION, "acme", "u-42", parts);
                let (index, hash) = (key(&["index"]), key(&["s", id.as_str()]));
                self.valkey.run(&EXPIRE, &[&index, &hash], &[id.as_str().into()]).await.expect("it is made to expire");
                self.model.live.remove(&id);
            }
        }
    }

    async fn create(&mut self, fields: Fields, request: Option<u8>) {
        let id = fresh_id();
        let mut new = plain(fields.clone());
        new.request = request.map(|n| Request {
            id: Id::parse(&format!("r{n}"), "request_id").unwrap(),
            fingerprint: "same".to_owned(),
        });
        let oldest = self.nearest_its_end().await;
        let created = self.store.create(&user(), id.clone(), &new, &self.policy).await;
        if let Some(first) = request.and_then(|n| self.model.requests.get(&n)).cloned() {
            match self.model.live.get(&first) {
                Some(content) => assert_eq!(Content::from(&created.expect("a retry finds it")), *content),
                None => assert!(matches!(created, Err(Error::NotFound))),
            }
            return;
        }
        let created = created.expect("a session is made");
        assert_eq!(created.name.session, id);
        let mut content = Content::default();
        content.merge(&fields, &[]);
        content.version = 1;
        if self.model.live.len() == 3 {
            self.model.live.remove(&oldest.expect("the store lists them"));
        }
        self.model.live.insert(id.clone(), content);
        if let Some(n) = request {
            self.model.requests.insert(n, id.clone());
        }
        self.made.push(id);
    }

    async fn patch(&mut self, session: usize, fields: Fields, removed: Vec<String>, version: Version) {
        let id = self.chosen(session);
        let current = self.model.live.get(&id).map_or(1, |content| content.version);
        let expected = match version {
            Version::Any => None,
            Version::Current => Some(current),
            Version::Stale => Some(current + 1),
        };
        let patch = Patch { fields: fields.clone(), removed_attributes: removed.clone(), version: expected };
        let patched = self.store.patch(&user().session(id.clone()), &patch).await;
        let Some(content) = self.model.live.get_mut(&id) else {
            assert!(matches!(patched, Err(Error::NotFound)), "an update made a session: {patched:?}");
            return;
        };
        if matches!(version, Version::Stale) {
            let found =
                matches!(patched, Err(Error::VersionMismatch { current: found }) if found == i64::from(current));
            assert!(found, "{patched:?}");
            return;
        }
        if content.merge(&fields, &removed) {
            content.version += 1;
        }
        assert_eq!(Content::from(&patched.expect("a live session is patched")), *content);
    }

    /// The session that a full user loses to a new one.
    async fn nearest_its_end(&self) -> Option<SessionId> {
        if self.model.live.len() < 3 {
            return None;
        }
        let page = self.store.list(&user(), 100, None).await.expect("a list");
        let nearest = page.sessions.into_iter().min_by_key(|s| (s.expires, s.created, s.name.session.clone()));
        nearest.map(|session| session.name.session)
    }

    async fn rotate(&mut self, session: usize) {
        let (id, new) = (self.chosen(session), fresh_id());
        let rotated = self.store.rotate(&user().session(id.clone()), new.clone(), None).await;
        let Some(mut content) = self.model.live.remove(&id) else {
            assert!(matches!(rotated, Err(Error::NotFound)));
            return;
        };
        content.version += 1;
        assert_eq!(Content::from(&rotated.expect("a live session is rotated")), content);
        self.model.live.insert(new.clone(), content);
        self.made.push(new);
    }

    /// The store lists what the model holds, and a watcher has been told of all of it.
    async fn compare(&mut self) {
        let page = self.store.list(&user(), 100, None).await.expect("a list");
        let listed: BTreeMap<_, _> = page.sessions.iter().map(|s| (s.name.session.clone(), Content::from(s))).collect();
        assert_eq!(listed, self.model.live, "what the store lists, and the model");
        // A deletion is the last event: when it comes, all others have come.
        let last = fresh_id();
        let mut roomy = self.policy.clone();
        roomy.max_sessions = 100;
        let made = self.store.create(&user(), last.clone(), &plain(Fields::default()), &roomy).await;
        self.store.delete(&made.expect("a last session").name).await.expect("it is deleted");
        loop {
            let event = self.watcher.next().await.expect("a user's watch has no end").expect("an event");
            if event.kind == EventKind::Deleted(last.clone()) {
                break;
            }
            self.apply(event);
        }
        self.seen.remove(&last);
        assert_eq!(self.seen, self.model.live, "what a watcher was told, and the model");
    }

    fn apply(&mut self, event: Event) {
        match event.kind {
            EventKind::Snapshot(sessions) => {
                self.seen = sessions.iter().map(|s| (s.name.session.clone(), Content::from(s))).collect();
            }
            EventKind::Created(session) => {
                self.seen.insert(session.name.session.clone(), Content::from(&*session));
            }
            EventKind::Updated { session, version, fields, removed_attributes, .. } => {
                let content = self.seen.get_mut(&session).expect("an update of a known session");
                content.merge(&fields, &removed_attributes);
                content.version = version;
            }
            EventKind::Rotated { session, new } => {
                let mut content = self.seen.remove(&session).expect("a rotation of a known session");
                content.version += 1;
                self.seen.insert(new, content);
            }
            EventKind::Deleted(session) | EventKind::Expired { session, .. } => {
                assert!(self.seen.remove(&session).is_some(), "the end of a known session");
            }
        }
    }

    async fn nothing_is_eternal(&self) {
        let any = Key::tagged(self.valkey.app(), Feature::SESSION, "acme", "u-42", &["index"]);
        let eternal = self.valkey.run(&ETERNAL, &[&any], &[self.valkey.app().as_str().into()]).await.expect("a scan");
        assert_eq!(eternal.array().expect("a list"), [], "keys without a TTL");
    }
}

// === strategies ===

fn fields() -> impl Strategy<Value = Fields> {
    let text = |choices: &'static [&'static str]| proptest::option::of(proptest::sample::select(choices));
    let attribute = (proptest::sample::select(&["a", "b", "c"][..]), proptest::sample::select(&["", "1", "2"][..]));
    (text(&["", "c-1", "c-2"]), text(&["", "/", "/x"]), proptest::collection::vec(attribute, 0..3)).prop_map(
        |(company, path, attributes)| Fields {
            company_id: company.map(str::to_owned),
            last_path: path.map(str::to_owned),
            attributes: attributes.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ..Fields::default()
        },
    )
}

fn call() -> impl Strategy<Value = Call> {
    let session = 0..32_usize;
    let version = proptest::sample::select(&[Version::Any, Version::Current, Version::Stale][..]);
    let removed = proptest::collection::vec(proptest::sample::select(&["a", "b", "c"][..]), 0..2);
    let patch = (session.clone(), fields(), removed, version).prop_map(|(session, mut fields, removed, version)| {
        let removed: Vec<String> = removed.into_iter().map(str::to_owned).collect();
        fields.attributes.retain(|key, _| !removed.contains(key));
        Call::Patch { session, fields, removed, version }
    });
    prop_oneof![
        4 => (fields(), proptest::option::of(0..3_u8)).prop_map(|(fields, request)| Call::Create { fields, request }),
        8 => patch,
        2 => session.clone().prop_map(Call::Touch),
        2 => session.clone().prop_map(Call::Rotate),
        2 => session.clone().prop_map(Call::Delete),
        1 => proptest::option::of(session.clone()).prop_map(|except| Call::RevokeAll { except }),
        2 => session.prop_map(Call::Expire),
    ]
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    proptest::collection::vec(call(), 1..40)
}

async fn hold_against_the_model(url: &str, calls: Vec<Call>) {
    let mut case = Case::new(url).await;
    for call in calls {
        case.run(call).await;
    }
    case.compare().await;
    case.nothing_is_eternal().await;
}

proptest! {
    #![proptest_config(Config { cases: 48, ..Config::default() })]

    #[test]
    fn the_store_does_what_the_model_does(calls in calls()) {
        RUNTIME.block_on(hold_against_the_model(&keyplane_testkit::valkey().url(), calls));
    }
}

proptest! {
    #![proptest_config(Config { cases: 12, ..Config::default() })]

    #[test]
    fn a_cluster_does_what_the_model_does(calls in calls()) {
        RUNTIME.block_on(hold_against_the_model(&CLUSTER.url(), calls));
    }
}

#[test]
fn concurrent_patches_of_different_fields_all_survive() {
    RUNTIME.block_on(async {
        let (_, store) = support::store().await;
        let made = store.create(&user(), fresh_id(), &plain(Fields::default()), &policy()).await.expect("a session");
        let writers = (0..16).map(|writer| {
            let (store, name) = (store.clone(), made.name.clone());
            tokio::spawn(async move {
                for round in 0..20 {
                    let attributes = [(format!("w{writer}"), round.to_string())].into();
                    let fields = Fields { attributes, ..Fields::default() };
                    store.patch(&name, &Patch { fields, ..Patch::default() }).await.expect("a patch");
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.expect("a writer");
        }
        let session = store.get(&made.name).await.expect("the session");
        assert_eq!(session.version, 1 + 16 * 20);
        assert_eq!(session.attributes.len(), 16);
        assert!(session.attributes.values().all(|value| value == "19"));
    });
}

#[test]
fn optimistic_writers_never_lose_an_update() {
    RUNTIME.block_on(async {
        let (_, store) = support::store().await;
        let made = store.create(&user(), fresh_id(), &plain(Fields::default()), &policy()).await.expect("a session");
        let writers = (0..8).map(|_| {
            let (store, name) = (store.clone(), made.name.clone());
            tokio::spawn(async move {
                let mut done = 0;
                while done < 10 {
                    let seen = store.get(&name).await.expect("the session");
                    let count: u32 = seen.attributes.get("n").map_or(0, |n| n.parse().expect("a number"));
                    let attributes = [("n".to_owned(), (count + 1).to_string())].into();
                    let fields = Fields { attributes, ..Fields::default() };
                    let patch = Patch { fields, version: Some(seen.version), ..Patch::default() };
                    match store.patch(&name, &patch).await {
                        Ok(_) => done += 1,
                        Err(Error::VersionMismatch { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.expect("a writer");
        }
        assert_eq!(store.get(&made.name).await.expect("the session").attributes["n"], "80");
    });
}
