//! One case: the store, the model, and a watcher.

use std::collections::BTreeMap;
use std::time::Duration;

use keyplane_contracts::names::{Id, SessionId};
use keyplane_session::app::Watcher;
use keyplane_session::domain::{Event, EventKind, Fields, Patch, Policy, Request, Scope, Session, WatchTarget};
use keyplane_session::error::Error;
use keyplane_session::store::Store;
use keyplane_valkey::{Feature, Key, Script, Valkey};

use crate::call::{Call, Version};
use crate::support::{self, fresh_id, plain, policy, retention, user};

/// Expires a session at once: the hash is deleted, the index does not know yet.
static EXPIRE: Script = Script::new(
    "test.expire",
    "for _, m in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
       if string.find(m, ARGV[1], 1, true) then redis.call('ZADD', KEYS[1], 'XX', 1, m) end
     end
     return redis.call('DEL', KEYS[2])",
);

/// Number of the app's keys without a TTL.
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

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    company_id: String,
    last_path: String,
    attributes: BTreeMap<String, String>,
    version: i32,
}

#[derive(Default)]
pub(crate) struct Model {
    live: BTreeMap<SessionId, Content>,
    /// Sessions that were made, by their last use: the one used least recently first.
    uses: Vec<SessionId>,
    requests: BTreeMap<u8, SessionId>,
}

// === impl Model ===

impl Model {
    fn used(&mut self, id: &SessionId) {
        self.uses.retain(|used| used != id);
        self.uses.push(id.clone());
    }

    /// Ends the session that a full user loses to a new one.
    fn evict(&mut self) {
        let victim = self.uses.iter().find(|id| self.live.contains_key(*id)).cloned().expect("a live session");
        self.live.remove(&victim);
    }
}

// === impl Content ===

impl Content {
    pub(crate) fn merge(&mut self, fields: &Fields, removed: &[String]) -> bool {
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

/// Number of writers.
const WRITERS: usize = 3;

pub(crate) struct Case {
    valkey: Valkey,
    /// Writers with a connection each, that take turns.
    writers: Vec<Store>,
    turn: usize,
    policy: Policy,
    model: Model,
    made: Vec<SessionId>,
    watcher: Watcher,
    seen: BTreeMap<SessionId, Content>,
}

// === impl Case ===

impl Case {
    pub(crate) async fn new(url: &str) -> Case {
        let app = keyplane_testkit::app();
        let mut keep_all = retention();
        keep_all.events = 10_000;
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            writers.push(Store::new(support::connect_as(&app, url).await, keep_all.clone()));
        }
        let valkey = support::connect_as(&app, url).await;
        let mut policy = policy();
        policy.max_sessions = 3;
        let watcher = Watcher::new(&writers[0], WatchTarget { user: user(), scope: Scope::User, after: None });
        let mut case = Case {
            valkey,
            writers,
            turn: 0,
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

    pub(crate) async fn run(&mut self, call: Call) {
        match call {
            Call::Create { fields, idle, request } => self.create(fields, idle, request).await,
            Call::Patch { session, fields, removed, version } => self.patch(session, fields, removed, version).await,
            Call::Touch(session) => {
                let id = self.chosen(session);
                let touched = self.writer().touch(&user().session(id.clone())).await;
                match self.model.live.get(&id) {
                    Some(content) => {
                        assert_eq!(touched.expect("a live session is touched").version, content.version);
                        self.model.used(&id);
                    }
                    None => assert!(matches!(touched, Err(Error::NotFound))),
                }
            }
            Call::Rotate(session) => self.rotate(session).await,
            Call::Delete(session, version) => self.delete(session, version).await,
            Call::RevokeAll { except, known } => self.revoke_all(except, known).await,
            Call::Expire(session) => {
                let id = self.chosen(session);
                let key = |parts: &[&str]| Key::tagged(self.valkey.app(), Feature::SESSION, "acme", "u-42", parts);
                let (index, hash) = (key(&["index"]), key(&["s", id.as_str()]));
                self.valkey.run(&EXPIRE, &[&index, &hash], &[id.as_str().into()]).await.expect("it is made to expire");
                self.model.live.remove(&id);
            }
        }
    }

    async fn create(&mut self, fields: Fields, idle: Option<Duration>, request: Option<u8>) {
        let id = fresh_id();
        let mut new = plain(fields.clone());
        new.timeouts.idle = idle;
        new.request = request.map(|n| Request {
            id: Id::parse(&format!("r{n}"), "request_id").unwrap(),
            fingerprint: "same".to_owned(),
        });
        let created = self.writer().create(&user(), id.clone(), &new, &self.policy).await;
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
            self.model.evict();
        }
        self.model.live.insert(id.clone(), content);
        self.model.used(&id);
        if let Some(n) = request {
            self.model.requests.insert(n, id.clone());
        }
        self.made.push(id);
    }

    async fn patch(&mut self, session: usize, fields: Fields, removed: Vec<String>, version: Version) {
        let id = self.chosen(session);
        let current = self.model.live.get(&id).map_or(1, |content| content.version);
        let expected = version.of(current);
        let patch = Patch {
            fields: fields.clone(),
            removed_attributes: removed.clone(),
            version: expected,
            ..Patch::default()
        };
        let patched = self.writer().patch(&user().session(id.clone()), &patch).await;
        let Some(content) = self.model.live.get_mut(&id) else {
            assert!(matches!(patched, Err(Error::NotFound)), "an update made a session: {patched:?}");
            return;
        };
        if matches!(version, Version::Stale) {
            let found = matches!(patched, Err(Error::StaleWrite { current: found }) if found == i64::from(current));
            assert!(found, "{patched:?}");
            return;
        }
        if content.merge(&fields, &removed) {
            content.version += 1;
        }
        assert_eq!(Content::from(&patched.expect("a live session is patched")), *content);
        self.model.used(&id);
    }

    async fn delete(&mut self, session: usize, version: Version) {
        let id = self.chosen(session);
        let current = self.model.live.get(&id).map(|content| content.version);
        let expected = version.of(current.unwrap_or(1));
        let deleted = self.writer().delete(&user().session(id.clone()), expected).await;
        match current {
            None => assert!(matches!(deleted, Err(Error::NotFound)), "{deleted:?}"),
            Some(current) if matches!(version, Version::Stale) => {
                let stale = matches!(deleted, Err(Error::StaleWrite { current: found }) if found == i64::from(current));
                assert!(stale, "{deleted:?}");
            }
            Some(_) => {
                deleted.expect("a live session is deleted");
                self.model.live.remove(&id);
            }
        }
    }

    async fn revoke_all(&mut self, except: Option<usize>, known: Version) {
        let except = except.map(|place| self.chosen(place));
        let mut listed = self.writer().list(&user(), 100, None).await.expect("a list").sessions;
        let ends = listed.iter().position(|session| Some(&session.name.session) != except.as_ref());
        if let (Version::Stale, Some(place)) = (known, ends) {
            // Either it has changed since, or it is new.
            if listed.len() % 2 == 0 { listed[place].version += 1 } else { drop(listed.remove(place)) }
        }
        let given = (!matches!(known, Version::Any)).then_some(listed.as_slice());
        let revoked = self.writer().revoke_all(&user(), except.as_ref(), given).await;
        if matches!(known, Version::Stale) && ends.is_some() {
            assert!(matches!(revoked, Err(Error::SessionsChanging)), "all or none: {revoked:?}");
            return;
        }
        let before = self.model.live.len();
        self.model.live.retain(|id, _| Some(id) == except.as_ref());
        assert_eq!(usize::try_from(revoked.expect("revoking works")).unwrap(), before - self.model.live.len());
    }

    async fn rotate(&mut self, session: usize) {
        let (id, new) = (self.chosen(session), fresh_id());
        let rotated = self.writer().rotate(&user().session(id.clone()), new.clone(), None).await;
        let Some(mut content) = self.model.live.remove(&id) else {
            assert!(matches!(rotated, Err(Error::NotFound)));
            return;
        };
        content.version += 1;
        assert_eq!(Content::from(&rotated.expect("a live session is rotated")), content);
        self.model.live.insert(new.clone(), content);
        self.model.used(&new);
        self.made.push(new);
    }

    /// Checks that the store lists the model's sessions, and that a watcher received all of them.
    pub(crate) async fn compare(&mut self) {
        let listed = self.settle().await;
        assert_eq!(listed, self.model.live, "what the store lists, and the model");
    }

    /// Lets the watcher catch up, and compares its sessions with the list of the store, which it returns.
    async fn settle(&mut self) -> BTreeMap<SessionId, Content> {
        let page = self.writer().list(&user(), 100, None).await.expect("a list");
        let listed: BTreeMap<_, _> = page.sessions.iter().map(|s| (s.name.session.clone(), Content::from(s))).collect();
        // A deletion is the last event: when it comes, all others have come.
        let last = fresh_id();
        let mut roomy = self.policy.clone();
        roomy.max_sessions = 100;
        let made = self.writer().create(&user(), last.clone(), &plain(Fields::default()), &roomy).await;
        self.writer().delete(&made.expect("a last session").name, None).await.expect("it is deleted");
        loop {
            let event = self.watcher.next().await.expect("a user's watch has no end").expect("an event");
            if event.kind == EventKind::Deleted(last.clone()) {
                break;
            }
            self.apply(event);
        }
        self.seen.remove(&last);
        assert_eq!(self.seen, listed, "sessions of the watcher, and of the store");
        listed
    }

    /// Runs `calls` by all writers at once, on sessions that they share. In whatever order they came, the events are
    /// that order: who follows them ends where the store is.
    pub(crate) async fn run_at_once(&mut self, calls: Vec<Call>) {
        for _ in 0..3 {
            self.create(Fields::default(), None, None).await;
        }
        let shares = (0..WRITERS).map(|writer| {
            let calls: Vec<Call> = calls.iter().skip(writer).step_by(WRITERS).cloned().collect();
            let (store, policy, made) = (self.writers[writer].clone(), self.policy.clone(), self.made.clone());
            tokio::spawn(async move {
                for call in calls {
                    let done = perform(&store, &policy, &made, call).await;
                    let expected = matches!(
                        done,
                        Ok(()) | Err(Error::NotFound | Error::StaleWrite { .. } | Error::SessionsChanging)
                    );
                    assert!(expected, "{done:?}");
                }
            })
        });
        for share in shares.collect::<Vec<_>>() {
            share.await.expect("a writer");
        }
        self.settle().await;
    }

    fn writer(&mut self) -> Store {
        self.turn += 1;
        self.writers[self.turn % WRITERS].clone()
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

    pub(crate) async fn nothing_is_eternal(&self) {
        let any = Key::tagged(self.valkey.app(), Feature::SESSION, "acme", "u-42", &["index"]);
        let eternal = self.valkey.run(&ETERNAL, &[&any], &[self.valkey.app().as_str().into()]).await.expect("a scan");
        assert_eq!(eternal.array().expect("a list"), [], "keys without a TTL");
    }
}

/// One call by a writer who knows nothing of the others.
async fn perform(store: &Store, policy: &Policy, made: &[SessionId], call: Call) -> Result<(), Error> {
    let name = |place: usize| user().session(made[place % made.len()].clone());
    match call {
        Call::Create { fields, .. } => store.create(&user(), fresh_id(), &plain(fields), policy).await.map(drop),
        Call::Patch { session, fields, removed, version } => {
            let version = matches!(version, Version::Stale).then_some(1);
            let patch = Patch { fields, removed_attributes: removed, version, ..Patch::default() };
            store.patch(&name(session), &patch).await.map(drop)
        }
        Call::Touch(session) => store.touch(&name(session)).await.map(drop),
        Call::Rotate(session) => store.rotate(&name(session), fresh_id(), None).await.map(drop),
        Call::Delete(session, version) => {
            let version = matches!(version, Version::Stale).then_some(1);
            store.delete(&name(session), version).await
        }
        Call::Expire(session) => store.delete(&name(session), None).await,
        Call::RevokeAll { except, known } => {
            let except = except.map(|place| name(place).session);
            let listed = store.list(&user(), 100, None).await?.sessions;
            let known = (!matches!(known, Version::Any)).then_some(listed.as_slice());
            store.revoke_all(&user(), except.as_ref(), known).await.map(drop)
        }
    }
}
